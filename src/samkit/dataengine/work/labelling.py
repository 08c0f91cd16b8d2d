"""What people can say of masks and images besides classes: attributes of masks, tags of images.

Values are stored by the attribute's name, so that they stay readable when it is no longer offered.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from samkit.dataengine.database import Store
from samkit.dataengine.rows import find, find_locked
from samkit.dataengine.schema import AnnotationRow, ImageRow, ProjectRow
from samkit.dataengine.values import check_choice, check_label
from samkit.errors import StoreError

AttributeKind = Literal["flag", "choice", "number", "text"]
AttributeValue: TypeAlias = bool | int | float | str

# Flags of each project's masks: the words of VOC, COCO (`iscrowd`) and CVAT.
FLAGS = ("crowd", "difficult", "occluded", "truncated")
MAX_NAMES = 100  # attributes, tags, or choices of an attribute
MAX_NAME = 100  # characters
MAX_TEXT = 1000
MAX_EXACT = 2**53  # of a number in the browser
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute of a project's masks.

    Attributes:
        choices: the values of a choice, in their order.
    """

    name: str
    kind: AttributeKind
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_label("an attribute's name", self.name, MAX_NAME)
        check_choice("an attribute's kind", self.kind, get_args(AttributeKind))
        if self.name in FLAGS and self.kind != "flag":
            raise StoreError(f"the attribute {self.name!r} is a flag of every project")
        _check_names(f"choices of {self.name!r:.40}", self.choices)
        if (self.kind == "choice") != bool(self.choices):
            raise StoreError(
                f"an attribute has choices if it is a choice, and only then; {self.name!r:.40} is a"
                f" {self.kind} with {len(self.choices)}"
            )

    def check(self, value: object) -> AttributeValue | None:
        """Return a value as it is stored; None for one that says nothing, such as an empty text.

        Words of files that know only text are understood: "true", "7".

        Raises:
            StoreError: it is of another kind, or not among the choices.
        """
        if value is None or value == "":
            return None
        checked = {"flag": _flag, "number": _number, "choice": self._choice, "text": _text}[
            self.kind
        ](value)
        if checked is None:
            wanted = f"one of {', '.join(self.choices)}" if self.choices else f"a {self.kind}"
            raise StoreError(f"the attribute {self.name!r:.40} is {wanted}; got {value!r:.40}")
        return None if checked is False else checked

    def _choice(self, value: object) -> str | None:
        return value if isinstance(value, str) and value in self.choices else None


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What a project's people are asked for besides masks.

    Attributes:
        attributes: of masks, besides `FLAGS`, in their order.
        tags: of images, in their order.
        class_required: whether an image may only be submitted if each of its masks has a class.
    """

    attributes: tuple[Attribute, ...] = ()
    tags: tuple[str, ...] = ()
    class_required: bool = False

    def __post_init__(self) -> None:
        names = tuple(one.name for one in self.attributes)
        _check_names("attributes", names)
        _check_names("tags", self.tags)
        if own := sorted({*names} & {*FLAGS}):
            raise StoreError(f"{', '.join(own)}: every project has this flag already")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Labelling:
        """Read what `asdict` made of one."""
        attributes = tuple(
            Attribute(name=one["name"], kind=one["kind"], choices=tuple(one["choices"]))
            for one in stored.get("attributes", ())
        )
        tags = tuple(stored.get("tags", ()))
        required = bool(stored.get("class_required", False))
        return cls(attributes=attributes, tags=tags, class_required=required)

    def find(self, name: str) -> Attribute | None:
        """The attribute of a name, also one of `FLAGS`."""
        if name in FLAGS:
            return Attribute(name=name, kind="flag")
        return next((one for one in self.attributes if one.name == name), None)

    def with_attribute(self, name: str, kind: AttributeKind) -> Labelling:
        """With an attribute of this name, that which is there if there is one."""
        if self.find(name):
            return self
        return replace(self, attributes=(*self.attributes, Attribute(name=name, kind=kind)))

    def with_tag(self, tag: str) -> Labelling:
        """With a tag of this name."""
        return self if tag in self.tags else replace(self, tags=(*self.tags, tag))

    def check(
        self, values: Mapping[str, object], *, present: Mapping[str, AttributeValue] | None = None
    ) -> dict[str, AttributeValue]:
        """Return the values of a mask as they are stored: without those that say nothing.

        Args:
            present: what the mask has now, which may stay though it is no longer offered.

        Raises:
            StoreError: an attribute is not the project's, or its value does not fit it.
        """
        checked: dict[str, AttributeValue] = {}
        for name in sorted(values):
            value = values[name]
            found: AttributeValue | None
            if present and name in present and present[name] == value:
                found = present[name]
            elif attribute := self.find(name):
                found = attribute.check(value)
            else:
                raise StoreError(f"the project has no attribute {name!r:.40}")
            if found is not None:
                checked[name] = found
        return checked


@dataclass(frozen=True, kw_only=True)
class ValueCount:
    """How many masks have a value of an attribute, or how many images a tag.

    Attributes:
        name: the attribute; empty for a tag.
        value: a flag's is true; numbers and texts are counted together, as null.
    """

    name: str
    value: str | bool | None
    count: int


def get_labelling(store: Store, project_id: int) -> Labelling:
    """Return what a project's people are asked for.

    Raises:
        MissingError: no such project.
    """
    with store.read() as session:
        return labelling_of(session, project_id)


def labelling_of(session: Session, project_id: int) -> Labelling:
    """Return what a project's people are asked for, in the session's transaction."""
    return Labelling.of(find(session, ProjectRow, project_id, "project").labelling)


def set_labelling(store: Store, project_id: int, labelling: Labelling) -> None:
    """Set what a project's people are asked for.

    Masks and images keep the values that are no longer offered.

    Raises:
        MissingError: no such project.
    """
    with store.write() as session:
        find_locked(session, ProjectRow, project_id, "project").labelling = asdict(labelling)


def add_to_labelling(
    store: Store, project_id: int, attributes: Mapping[str, AttributeKind], tags: set[str]
) -> tuple[Labelling, list[str]]:
    """Offer attributes and tags that a project does not have yet, as files have them.

    Args:
        attributes: kinds by name, but for choices.

    Returns:
        what is offered now, and one line for each that cannot be.
    """
    faults: list[str] = []
    with store.write() as session:
        row = find_locked(session, ProjectRow, project_id, "project")
        labelling = Labelling.of(row.labelling)
        for what, name, kind in (
            *(("attribute", name, kind) for name, kind in attributes.items()),
            *(("tag", tag, None) for tag in sorted(tags)),
        ):
            try:
                labelling = (
                    labelling.with_tag(name)
                    if kind is None
                    else labelling.with_attribute(name, kind)
                )
            except StoreError as error:  # noqa: PERF203 - few names
                faults.append(f"{what} {name!r:.40}: {error}")
        row.labelling = asdict(labelling)
    return labelling, faults


def count_values(store: Store, project_id: int) -> tuple[ValueCount, ...]:
    """Count the masks that have each value of an attribute, and the images that have each tag."""
    stored = cast(AnnotationRow.attributes, Text)
    masks = (
        select(stored, func.count())
        .where(AnnotationRow.project_id == project_id, ~AnnotationRow.deleted, stored != "{}")
        .group_by(stored)
    )
    tagged = cast(ImageRow.tags, Text)
    images = (
        select(tagged, func.count())
        .where(ImageRow.project_id == project_id, tagged != "[]")
        .group_by(tagged)
    )
    with store.read() as session:
        labelling = labelling_of(session, project_id)
        values = [(json.loads(text), count) for text, count in session.execute(masks)]
        tags = [(json.loads(text), count) for text, count in session.execute(images)]
    free = {one.name for one in labelling.attributes if one.kind in ("number", "text")}
    found: Counter[tuple[str, str | bool | None]] = Counter()
    for attributes, count in values:
        for name, value in attributes.items():
            counted = isinstance(value, bool | str) and name not in free
            found[name, value if counted else None] += count
    for names, count in tags:
        for name in names:
            found["", name] += count
    return tuple(
        ValueCount(name=name, value=value, count=count)
        for (name, value), count in sorted(found.items(), key=lambda one: (one[0][0], str(one[0])))
    )


def kind_of(value: object) -> AttributeKind:
    """The kind of an attribute that nobody has defined, by one of its values."""
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else "text"


def check_tags(tags: tuple[str, ...]) -> None:
    """Check the tags of an image.

    Raises:
        StoreError: one is not a name, or there twice, or there are too many.
    """
    _check_names("tags", tags)


def _check_names(what: str, names: tuple[str, ...]) -> None:
    for name in names:
        check_label(f"the name of one of the {what}", name, MAX_NAME)
    if len({*names}) != len(names):
        raise StoreError(f"the {what} must differ; got {', '.join(names)!r:.80}")
    if len(names) > MAX_NAMES:
        raise StoreError(f"at most {MAX_NAMES} {what}; got {len(names)}")


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return WORDS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT else number


def _text(value: object) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}"
    if not isinstance(value, str):
        return None
    check_label("a text", value, MAX_TEXT)
    return value
