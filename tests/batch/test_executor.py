"""`InProcess`: order, failing items, and errors that end the run."""

import pytest

from samkit.batch import Finished, InProcess
from samkit.errors import ImageError, OutputError, SamkitError


class Halves:
    """Halves even numbers; odd ones fail, negative ones are somebody else's, 0 is done already."""

    def __init__(self):
        self.steps = []

    def claim(self, item):
        self.steps.append(("claim", item))
        if item == 0:
            return Finished("nothing")
        return None if item < 0 else {"number": item}

    def generate(self, claim):
        number = claim["number"]
        self.steps.append(("generate", number))
        if number == 99:
            raise OutputError("the disk is full")
        if number % 2:
            raise ImageError(f"{number} is odd")
        return number // 2

    def commit(self, claim, output):
        self.steps.append(("commit", claim["number"]))
        return f"half of {claim['number']} is {output}"

    def is_fault(self, error: SamkitError) -> bool:
        return isinstance(error, ImageError)


def test_each_item_is_claimed_generated_and_committed_in_turn():
    work, started = Halves(), []
    outcomes = list(InProcess().run(work, [2, 4], on_start=started.append))
    assert [one.result for one in outcomes] == ["half of 2 is 1", "half of 4 is 2"]
    assert work.steps == [
        (step, number) for number in (2, 4) for step in ("claim", "generate", "commit")
    ]
    assert started == [2, 4]


def test_what_is_done_or_somebody_elses_is_not_generated():
    work, started = Halves(), []
    done, left = InProcess().run(work, [0, -1], on_start=started.append)
    assert (done.result, done.claim, done.error) == ("nothing", None, None)
    assert (left.result, left.claim, left.error) == (None, None, None)
    assert started == []
    assert work.steps == [("claim", 0), ("claim", -1)]


def test_an_item_that_fails_does_not_stop_the_others():
    failed, done = InProcess().run(Halves(), [3, 6])
    assert (str(failed.error), failed.claim, failed.result) == ("3 is odd", {"number": 3}, None)
    assert done.result == "half of 6 is 3"


def test_an_error_of_all_items_ends_the_run():
    work = Halves()
    outcomes = InProcess().run(work, [2, 99, 4])
    assert next(outcomes).result == "half of 2 is 1"
    with pytest.raises(OutputError, match="the disk is full"):
        next(outcomes)
    assert ("claim", 4) not in work.steps


def test_items_are_taken_one_at_a_time():
    """So that what is claimed late is seen as it is then, such as by a second run."""
    work = Halves()
    outcomes = InProcess().run(work, iter([2, 4]))
    next(outcomes)
    assert work.steps[-1] == ("commit", 2)
