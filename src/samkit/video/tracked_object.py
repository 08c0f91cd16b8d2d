"""What a video knows of one object: its memory, prompts and results, and where these come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from samkit.types import Prompts
from samkit.video.answer import ObjectResult


@dataclass(kw_only=True, eq=False)
class TrackedObject:
    """One object.

    Between two confirmed frames both directions of propagation find results. That from the nearer
    confirmed frame is the one that counts, and of two that are as near the one in the direction of
    time, whichever came first: so the results do not depend on the order of the propagations.

    Attributes:
        memory: the tracker's own.
        moment: frame and direction (whether in reverse) that the memory is at; None if it has to be
            brought there.
        prompts: the prompts of confirmed frames.
        results: by frame.
        sources: by frame, the confirmed frame from which its result was tracked; none for confirmed
            frames, nor for results that a later prompt has made out of date.
    """

    memory: Any
    moment: tuple[int, bool] | None = None
    prompts: dict[int, Prompts] = field(default_factory=dict)
    results: dict[int, ObjectResult] = field(default_factory=dict)
    sources: dict[int, int] = field(default_factory=dict)

    def source(self, index: int, *, reverse: bool) -> int | None:
        """The confirmed frame from which a direction reaches a frame; None before the first one."""
        passed = [at for at in self.prompts if (at >= index if reverse else at <= index)]
        return min(passed, key=lambda at: abs(at - index), default=None)

    def has_begun(self, index: int, *, reverse: bool) -> bool:
        """Whether a confirmed frame lies at or before this one in the direction."""
        return self.source(index, reverse=reverse) is not None

    def is_settled(self, index: int, *, reverse: bool) -> bool:
        """Whether a frame has a result that this direction must not replace."""
        present, new = self.sources.get(index), self.source(index, reverse=reverse)
        if present is None or new is None or present == new:
            return False
        nearer = abs(present - index) - abs(new - index)
        return nearer < 0 or (nearer == 0 and reverse)

    def put(self, index: int, result: ObjectResult, *, reverse: bool) -> None:
        """Put the result of a tracked frame."""
        self.results[index] = result
        source = self.source(index, reverse=reverse)
        assert source is not None
        self.sources[index] = source

    def confirm(self, index: int, prompts: Prompts, result: ObjectResult) -> None:
        """Put prompts and their result; what was tracked from or past this frame is out of date."""
        self._outdate(index)
        self.prompts[index] = prompts
        self.results[index] = result

    def clear(self, index: int) -> None:
        """Take back the prompts of a confirmed frame with their result."""
        self._outdate(index)
        del self.prompts[index], self.results[index]

    def forget_results(self, *, before: int, after: int | None = None) -> None:
        """Forget the results of earlier frames, and of later ones."""
        outside = [at for at in self.results if at < before or (after is not None and at > after)]
        for index in outside:
            del self.results[index]
            self.sources.pop(index, None)

    def _outdate(self, index: int) -> None:
        self.sources = {
            at: source
            for at, source in self.sources.items()
            if not min(at, source) <= index <= max(at, source)
        }
