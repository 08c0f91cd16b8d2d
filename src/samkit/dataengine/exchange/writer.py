"""What a writer of exports is: it takes a project's images one by one, and writes one format."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from samkit.dataengine.exchange.records import ImageRecord
from samkit.dataengine.work import Attribute, AttributeKind, AttributeValue, Labelling, kind_of
from samkit.errors import OutputError
from samkit.formats import Categories

Opened = TypeVar("Opened")


class Writer(ABC):
    """Writes one format: `add` for each image, then `finish`.

    Attributes:
        first_number: of the classes.
        holds_attributes, holds_tags: whether the format has a place for them.
    """

    first_number: ClassVar[int] = 1
    holds_attributes: ClassVar[bool] = True
    holds_tags: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        splits: Sequence[str],
        classes: Iterable[str],
        stack: ExitStack,
        *,
        has_images: bool,
        labelling: Labelling,
    ) -> None:
        """Begin an export.

        Args:
            folder: an empty folder.
            splits: the data set's parts.
            classes: the project's classes, which have the first numbers.
            stack: closes the files that are written image by image.
            has_images: whether images are copied to where `image_path` says.
            labelling: the project's attributes and tags.
        """
        self.folder = folder
        self.splits = splits
        self.has_images = has_images
        self.categories = Categories(classes, first=self.first_number)
        self.labelling = labelling
        self._values: dict[str, dict[str, None]] = {}  # of attributes in words, in their order
        self._kinds: dict[str, AttributeKind] = {}
        self._stack = stack
        self._owners: dict[Path, str] = {}
        self._image_owners: dict[Path, str] = {}
        self.open()

    def open(self) -> None:  # noqa: B027 - most formats need nothing here
        """Open files that are written image by image."""

    def image_path(self, record: ImageRecord, split: str) -> Path:
        """Where an image belongs."""
        return self.folder / split / record.image.path

    @abstractmethod
    def add(self, record: ImageRecord, split: str) -> None:
        """Write an image's masks.

        Raises:
            FormatError: the format cannot hold them; nothing is written.
            OutputError: another image's masks have the same place.
        """

    def finish(self) -> None:  # noqa: B027 - as above
        """Write what is known at the end."""

    def is_readable(self, path: str) -> bool:  # noqa: ARG002 - for formats with few kinds of images
        """Whether the format's readers take an image of this name."""
        return True

    def place(self, name: str) -> Path:
        """Path of a file below the folder, in a folder that exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def enter(self, opened: AbstractContextManager[Opened]) -> Opened:
        return self._stack.enter_context(opened)

    def claim(self, name: str, record: ImageRecord) -> Path:
        """Take a place below the folder that only one image's masks may have."""
        path = self.place(name)
        owner = self._owners.setdefault(path, record.source)
        if owner != record.source:
            raise OutputError(
                f"the masks of {owner} and {record.source} would both be called {record.base} in"
                " this format: rename one, or export as coco"
            )
        return path

    def claim_image(self, record: ImageRecord, split: str) -> Path:
        """Take an image's place, also if images are not copied: the masks' files name it.

        Raises:
            OutputError: another image has it: a page of a file may be called as a file is.
        """
        path = self.image_path(record, split)
        owner = self._image_owners.setdefault(path, record.source)
        if owner != record.source:
            raise OutputError(
                f"{owner} and {record.source} would both be exported as {record.image.path}:"
                " rename one"
            )
        return path

    def attributes(self, record: ImageRecord) -> list[dict[str, AttributeValue]]:
        """Values of the masks' attributes, which `specs` names at the end."""
        for one in record.annotations:
            for name, value in one.attributes.items():
                self._kinds.setdefault(name, kind_of(value))
                if isinstance(value, str):
                    self._values.setdefault(name, {})[value] = None
        return [dict(one.attributes) for one in record.annotations]

    def specs(self) -> list[Attribute]:
        """The project's attributes, and others that masks have; choices with all their values."""
        known = {one.name: one for one in self.labelling.attributes}
        for name, kind in self._kinds.items():
            known.setdefault(name, Attribute(name=name, kind=kind))
        return [self._with_choices(one) for one in known.values()]

    def _with_choices(self, one: Attribute) -> Attribute:
        if one.kind != "choice":
            return one
        values = dict.fromkeys((*one.choices, *self._values.get(one.name, {})))
        return replace(one, choices=tuple(values))

    def numbers(self, record: ImageRecord) -> list[int]:
        return [self.categories.number(name) for name in record.class_names]

    def names(self, record: ImageRecord) -> list[str]:
        """Classes of the masks, as the format names them."""
        numbers = self.numbers(record)
        names = dict(self.categories.items())
        return [names[number] for number in numbers]
