"""Timing in turns, and its reports."""

import itertools
import json
from functools import partial

import pytest

from samkit.benchmark import turns, works
from samkit.benchmark.machine import describe_machine
from samkit.benchmark.report import duration, markdown_report, table
from samkit.benchmark.training import make_batch, step_subject
from samkit.benchmark.turns import WARM_UP, Workload, measure
from samkit.cli.bench import WORK_NAMES, installed_backends, parse_backend
from samkit.cli.main import main


@pytest.fixture
def clock(monkeypatch):
    """A clock that subjects move themselves."""

    class Clock:
        now = 0.0

        def takes(self, seconds):
            series = iter(seconds)

            def subject():
                self.now += next(series)

            return subject

    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    return clock


def test_ratios_are_taken_within_turns(clock):
    warm = [0.0] * WARM_UP
    # The machine is ten times slower in the second turn: no ratio changes.
    work = Workload(
        name="work",
        subjects={
            "peer": clock.takes([*warm, 4.0, 40.0, 4.0]),
            "ours": clock.takes([*warm, 1.0, 10.0, 1.0]),
        },
    )
    result = measure(work, turns=3)
    assert result.timings["peer"].times_faster == 1
    assert result.timings["ours"].times_faster == 4
    assert result.timings["ours"].seconds == (1.0, 10.0, 1.0)
    assert result.timings["ours"].median_s == 1.0


def test_order_rotates_and_long_work_has_few_turns(clock):
    order = []

    def subject(name):
        order.append(name)
        clock.now += 1

    subjects = {name: partial(subject, name) for name in "abc"}
    measure(Workload(name="long", subjects=subjects, max_turns=3), turns=7)
    assert order == [*"abc", *"abc", *"bca", *"cab"]  # one to warm up, then three turns


def test_report_names_machine_and_results(clock):
    endless = itertools.repeat(2.0)
    work = Workload(
        name="embed", subjects={"peer": clock.takes(endless), "us": clock.takes([0.5] * 9)}
    )
    text = markdown_report(describe_machine(), [measure(work, turns=3)], {"us": 1.25})
    assert "| peer | 2.00 s | 1.00 |" in text
    assert "| us | 500 ms | 4.00 |" in text
    assert "| us | 1.25 |" in text
    assert f"{describe_machine()['cores']} cores" in text


def test_durations_read_well():
    assert [duration(s) for s in (12.345, 1.0, 0.0256)] == ["12.35 s", "1.00 s", "26 ms"]


def test_command_writes_report_and_picture(monkeypatch, tmp_path, capsys):
    def make(shop):
        return Workload(
            name="nothing", subjects=dict.fromkeys(["peer", "ours"], lambda: sum(range(99)))
        )

    monkeypatch.setitem(works.WORKS, "auto", make)
    args = ["bench", "--work", "auto", "--turns", "2", "--no-memory", "-o", str(tmp_path / "out")]
    assert main(args) == 0
    printed = capsys.readouterr().out
    assert "| nothing | median | times faster |" in printed
    content = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert list(content["results"][0]["timings"]) == ["peer", "ours"]
    assert (tmp_path / "out" / "bench.md").read_text() in printed
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_all_works_are_named_on_the_command_line():
    assert tuple(works.WORKS) == WORK_NAMES


def test_engines_are_read_and_found():
    assert parse_backend("openvino:bfloat16") == ("openvino", "bfloat16")
    assert parse_backend("onnx") == ("onnx", "float32")
    assert ("torch", "float32") in installed_backends()
    assert all(backend != "compile" for backend, _ in installed_backends())


def test_amounts_are_told_as_rates(clock):
    work = Workload(
        name="step",
        subjects={"slow": clock.takes([4.0] * 9), "fast": clock.takes([0.5] * 9)},
        amounts={"images": 2, "masks": 8},
    )
    assert table(measure(work, turns=3)).splitlines() == [
        "| step | median | times faster | images per second | masks per second |",
        "|---|---|---|---|---|",
        "| slow | 4.00 s | 1.00 | 0.50 | 2.00 |",
        "| fast | 500 ms | 8.00 | 4.00 | 16.00 |",
    ]


@pytest.mark.slow
def test_a_timed_step_of_training_changes_what_learns():
    batch = make_batch(works.benchmark_image(), with_pixels=False)
    assert batch.features.shape == (2, 256, 64, 64)
    assert batch.masks.flatten(1).any(1).all()
    step = step_subject(works.benchmark_image(), "decoder", "32-true")
    values = step()
    assert values["loss"] > 0
    assert values["gradient_norm"] > 0


def test_quick_measures_three_works_on_two_backends(monkeypatch, capsys):
    asked = []

    def make(name, shop):
        asked.append((name, tuple(shop.backends)))
        return Workload(name=name, subjects={"peer": lambda: None, "ours": lambda: None})

    for name in WORK_NAMES:
        monkeypatch.setitem(works.WORKS, name, partial(make, name))
    assert main(["bench", "--quick", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [name for name, _ in asked] == ["mobile-encode", "click", "64-points"]
    (backends,) = {backends for _, backends in asked}
    assert backends[0] == ("torch", "float32")
    assert len(backends) <= 2
    assert report["peak_memory_gb"] == {}
    assert all(rate > 0 for rate in report["machine"]["matmul_gflops"].values())
    assert set(report["machine"]["matmul_gflops"]) == {"float32", "bfloat16"}
