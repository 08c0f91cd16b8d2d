"""`RayCluster`: machines that are lost, results exactly once, and plain errors."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from samkit.batch import RayCluster
from samkit.errors import ConfigError

NODES = Path(__file__).with_name("ray_nodes.py")


@pytest.mark.slow
def test_a_node_that_is_killed_loses_and_doubles_nothing(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    done = subprocess.run([sys.executable, NODES, tmp_path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads((tmp_path / "report.json").read_text())
    expected = {
        str(number): f"{number} is round" if number % 50 == 0 else number**2
        for number in range(200)
    }
    assert report["found"] == expected
    assert set(report["committed"].values()) == {1}
    assert len(report["committed"]) == 196
    assert len(report["nodes"]) == 2  # both have worked


@pytest.mark.slow
def test_no_cluster_is_one_line():
    pytest.importorskip("ray", reason="ray is not installed")
    code = "from samkit.batch import RayCluster; RayCluster('auto').__enter__()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("samkit.errors.WorkerError: no Ray cluster at 'auto': ")
    assert last.endswith("start one by ray start --head")


def test_without_ray_it_is_told_how_to_install_it(monkeypatch, refusal):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "samkit.extras.find_spec", lambda name: None if name == "ray" else find_spec(name)
    )
    with refusal(ConfigError, "work on a Ray cluster needs ray: pip install '.[ray]'"):
        RayCluster("auto")


def test_threads_are_checked(monkeypatch, refusal):
    monkeypatch.setattr("samkit.extras.find_spec", lambda name: name)
    with refusal(ConfigError, "threads_per_worker must be at least 1; got 0"):
        RayCluster("auto", threads_per_worker=0)
