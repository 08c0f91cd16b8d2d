"""Numbers of the classes in a file, and what masks without a class are called there."""

from collections.abc import Collection, Iterable, Iterator

OBJECT, UNLABELLED = "object", "unlabelled"  # names of masks without a class


class Categories:
    """Numbers classes in order of appearance, known ones first.

    Masks without a class get a category of their own, but only once there is one: a file names
    no class that nobody has made.

    Attributes:
        unlabelled: number of the category of masks without a class; None if there are none.
    """

    def __init__(self, known: Iterable[str] = (), *, first: int = 1) -> None:
        """Number the known names, starting from `first`."""
        self.unlabelled: int | None = None
        self._first = first
        self._numbers: dict[str, int] = {}
        for name in known:
            self.number(name)

    def number(self, name: str | None) -> int:
        """Number of a name's category, or of that of masks without a class."""
        if name:
            return self._numbers.setdefault(name, self._next())
        if self.unlabelled is None:
            self.unlabelled = self._next()
        return self.unlabelled

    def items(self) -> Iterator[tuple[int, str]]:
        """Iterate over all numbers and names."""
        names = {number: name for name, number in self._numbers.items()}
        if self.unlabelled is not None:
            own = UNLABELLED if OBJECT in self._numbers else OBJECT
            names[self.unlabelled] = free_name(own, self._numbers)
        yield from sorted(names.items())

    def names(self) -> list[str]:
        """All names, in the order of their numbers."""
        return [name for _, name in self.items()]

    def _next(self) -> int:
        return self._first + len(self._numbers) + (self.unlabelled is not None)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or if it is taken, the first of "NAME 2", "NAME 3", ... that is not."""
    others = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return next(one for one in (name, *others) if one not in taken)
