"""Weights of torch.export's programs: read as data, whatever else the file says."""

import logging
import zipfile

import pytest
import torch
from torch import nn

from samkit.errors import WeightsError
from samkit.weights import read_program_tensors

TABLE = "model_weights_config.json"


@pytest.fixture(scope="module")
def module():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    network[0].bias = nn.Parameter(network[0].weight.detach()[:, 1])  # a view of other bytes
    return network


@pytest.fixture(scope="module")
def program(module, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "part.pt2"
    with pytest.MonkeyPatch.context() as patch:
        # torch logs each step at length, which pytest would keep for its report.
        patch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
        torch.export.save(torch.export.export(module, (torch.zeros(2, 3),)), path)
    return path


def changed(path, to, change):
    """A copy of an archive whose files were changed."""
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(to, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    return to


def test_tensors_are_those_of_the_module(module, program):
    found, expected = read_program_tensors(program), module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], one) for name, one in expected.items())


def test_nothing_else_is_opened(module, program, tmp_path):
    """Neither the graph nor the sample inputs, of which loading by PyTorch would run some."""

    def damage(name, content):
        return content if "/data/weights/" in name else b"raise SystemExit"

    copy = changed(program, tmp_path / "part.pt2", damage)
    assert read_program_tensors(copy).keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', "has pickles, which samkit does not open"),
        (b'"sizes": [{"as_int": ', b'"sizes": [{"as_int": 9', "is damaged, or no program"),
        (b'"strides": [{"as_int": ', b'"strides": [{"as_int": -', "is damaged, or no program"),
        (b'"dtype": 7', b'"dtype": 99', "is damaged, or no program"),
        (b'"path_name": "weight', b'"path_name": "../weight', "is damaged, or no program"),
    ],
)
def test_tables_that_do_not_fit_are_refused(program, tmp_path, before, after, message):
    def change(name, content):
        return content.replace(before, after) if name.endswith(TABLE) else content

    copy = changed(program, tmp_path / "part.pt2", change)
    with pytest.raises(WeightsError, match=message):
        read_program_tensors(copy)


def test_files_of_anything_else_are_refused(tmp_path):
    (tmp_path / "x.pt2").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="is damaged, or no program"):
        read_program_tensors(tmp_path / "x.pt2")
    with pytest.raises(WeightsError, match="cannot read"):
        read_program_tensors(tmp_path / "missing.pt2")
