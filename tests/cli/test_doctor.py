"""`samkit doctor`: what is installed, what runs, and what is broken."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from samkit.cli import doctor
from samkit.cli.main import main
from samkit.weights import CATALOG


def report(capsys, expected=0):
    assert main(["doctor", "--json"]) == expected
    return json.loads(capsys.readouterr().out)


def test_it_says_what_runs(capsys):
    found = report(capsys)
    assert found["broken"] == []
    assert found["model"] == "mobile_sam_tuned"
    assert found["backend"] == "torch"  # tests run without OpenVINO
    assert found["environment"]["SAMKIT_BACKEND"] == "torch"
    assert set(found["missing"]) == set(doctor.EXTRAS)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "runs mobile_sam_tuned by torch" in text
    assert "nothing is broken" in text


def test_extras_are_those_of_the_project():
    declared = {
        line.split("extra ==")[1].strip(" '\"")
        for line in doctor.requires("samkit")
        if "extra ==" in line
    }
    assert set(doctor.EXTRAS) <= declared


def test_what_is_missing_has_its_command(capsys, monkeypatch):
    lines = [
        "click>=8",
        'no-such-package>=2; extra == "text"',
        'numpy>=999; extra == "openvino"',
        'numpy>=1; extra == "ray"',
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    missing = report(capsys)["missing"]
    assert missing["text"] == ["no-such-package"]
    assert "numpy (installed" in missing["openvino"][0]
    assert missing["ray"] == []
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "text: text prompts; not installed: pip install '.[text]'" in text
    assert "faster: OpenVINO, several times as fast on a CPU: pip install '.[openvino]'" in text


@pytest.mark.parametrize(("content", "what"), [(b"no weights", "damaged"), (None, "missing")])
def test_damaged_weights_are_told(capsys, monkeypatch, tmp_path, content, what):
    path = tmp_path / "mobile_sam.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setitem(CATALOG, "mobile_sam", replace(CATALOG["mobile_sam"], embedded=path))
    found = report(capsys, expected=1)
    assert found["broken"] == [
        f"the weights of mobile_sam in the package are {what}: install samkit again"
    ]
    assert main(["doctor"]) == 1
    assert "broken: the weights of mobile_sam" in capsys.readouterr().out


def test_a_full_disk_is_told(capsys, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**8))
    assert "space for the cache: 0.5 GB are free" in report(capsys)["faster"][-1]
