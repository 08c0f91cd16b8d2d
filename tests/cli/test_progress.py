"""Progress lines without a terminal: when they are printed, and their estimates."""

from itertools import pairwise

import pytest

from samkit.cli.progress import FIRST_LINE_S, LINE_EVERY_S, Lines, Meter, on_step_of, progress
from samkit.cli.wording import counted, rough_time
from samkit.training.loop import Progress


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def written():
    return []


@pytest.fixture
def lines(clock, written):
    return Lines(clock, written.append)


@pytest.fixture
def meter(lines, clock):
    """Of ten images."""
    return Meter("image", 10, lines, clock)


def work(meter, clock, seconds):
    meter.start("a.jpg")
    clock.now += seconds
    meter.advance()


def test_short_work_prints_nothing(meter, clock, lines, written):
    for _ in range(10):
        work(meter, clock, 1)
    lines.finish()
    assert written == []


def test_a_long_estimate_is_printed_after_the_first_unit(meter, clock, written):
    work(meter, clock, 9)
    assert written == ["samkit: 1 of 10 images done, 9 s so far, about 1 min left"]


def test_lines_come_at_least_once_a_minute_and_not_more_often_than_promised(clock, lines, written):
    meter = Meter("image", 1000, lines, clock)
    times = []
    for _ in range(1000):
        before = len(written)
        work(meter, clock, 1)
        times += [clock.now] * (len(written) - before)
    gaps = [late - early for early, late in pairwise(times)]
    assert LINE_EVERY_S <= min(gaps) <= max(gaps) <= 60
    assert min(gaps) >= 15
    lines.finish()
    assert written[-1] == "samkit: 1,000 of 1,000 images done, 17 min so far"


def test_one_unit_that_takes_minutes_is_reported_meanwhile(meter, clock, lines, written):
    meter.start("huge.tif")
    meter.part(1, 8)
    for _ in range(30):
        clock.now += 5
        lines.tick()
    assert written[0] == (
        "samkit: 0 of 10 images done, huge.tif: 12%, 15 s so far, time left not known yet"
    )
    assert len(written) == 1 + (150 - FIRST_LINE_S) // LINE_EVERY_S


def test_the_first_unit_does_not_count_once_there_are_others(meter, clock):
    work(meter, clock, 100)  # compiles
    assert meter.left_s == pytest.approx(9 * 100)
    work(meter, clock, 10)
    assert meter.left_s == pytest.approx(8 * 10)


def test_images_of_an_earlier_run_make_no_estimate(meter, clock):
    for _ in range(5):
        meter.advance(worked=False)
    assert meter.left_s is None
    work(meter, clock, 4)
    assert meter.left_s == pytest.approx(4 * 4)


def test_a_resumed_training_is_measured_from_where_it_goes_on(lines, clock, written):
    meter = Meter("step", 1000, lines, clock)
    meter.start()
    on_step = on_step_of(meter)
    clock.now += 60  # loading
    on_step(Progress(step=501, steps=1000, values={"loss": 0.5}, scores={}))
    assert meter.left_s is None
    clock.now += 2
    on_step(Progress(step=502, steps=1000, values={"loss": 0.25}, scores={"miou": 0.75}))
    assert meter.left_s == pytest.approx(498 * 2)
    clock.now += LINE_EVERY_S
    lines.tick()
    assert written[-1].startswith("samkit: 502 of 1,000 steps done, 2 min so far, about ")
    assert written[-1].endswith(" left: loss 0.250, miou 0.750")


def test_of_meters_beside_each_other_the_latest_is_printed(meter, clock, lines, written):
    meter.start()
    other = meter.beside("embedding", 4)
    other.update(1)
    clock.now += 20
    lines.tick()
    assert written == ["samkit: 1 of 4 embeddings done, 20 s so far, time left not known yet"]


def test_only_the_first_process_shows_any(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    for rank, is_shown in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        with progress("image", 2) as meter:
            meter.start("a.jpg")
            meter.advance()
        assert ("1/2" in capsys.readouterr().err) is is_shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (25 * 60, "25 min"),
        (2 * 3600, "2 h"),
        (2 * 3600 + 600, "2 h 10 min"),
        (50 * 3600, "2 d 2 h"),
    ],
)
def test_rough_times(seconds, text):
    assert rough_time(seconds) == text


def test_counts_have_their_plural():
    assert [counted(n, "user") for n in (0, 1, 2000)] == ["0 users", "1 user", "2,000 users"]
