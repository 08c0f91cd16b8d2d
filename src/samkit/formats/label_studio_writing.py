"""Label Studio's JSON tasks with brush masks, and the labelling interface that shows them."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from samkit.arrays import BoolArray
from samkit.files import replacing
from samkit.formats.attributes import Attributes, AttributeSpec
from samkit.formats.json_list import JsonList, json_list
from samkit.geometry import decode_rle
from samkit.types import Masks

FROM_NAME, TO_NAME = "label", "image"
FLAGS_NAME, TAGS_NAME = "flags", "tags"  # controls of masks' flags, and of the image's tags
SIZE_BITS = (3, 4, 8, 16)  # of a run's length; the first that suffices is taken


class BrushCode:
    """Numbers of the code of brush strokes, for its writer and its reader.

    A stream of bits, high ones first: how many values there are, the bits of a value less one, and
    four times the bits of a run's length less one. Then, for each run, a 1, which of the four
    lengths, the run's length less one, and its value; a 0 instead of the 1 for as many values of
    their own.

    Source: @thi.ng/rle-pack.
    """

    CHANNELS = 4  # red, green, blue and alpha: samkit writes all alike, and reads alpha
    VALUE_BITS = 8
    # Widths of the head's fields.
    COUNT_FIELD, VALUE_FIELD, LENGTH_FIELD, NUM_LENGTHS = 32, 5, 4, 4


@contextmanager
def label_studio_writer(path: str | os.PathLike[str]) -> Iterator[JsonList]:
    """Open a file for the tasks of `label_studio_task`; on any error, nothing is written.

    Raises:
        OutputError: the file cannot be written.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        json_list(file) as tasks,
    ):
        yield tasks


def label_studio_config(
    labels: Iterable[str], *, attributes: Iterable[AttributeSpec] = (), tags: Iterable[str] = ()
) -> str:
    """Build the labelling interface for `label_studio_task`: an image, and a brush per class.

    Source: labelstud.io, tags Image, BrushLabels, Choices, Number and TextArea.
    """
    brushes = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return (
        f'<View>\n  <Image name="{TO_NAME}" value="${TO_NAME}"/>\n'
        f'  <BrushLabels name="{FROM_NAME}" toName="{TO_NAME}">\n{brushes}  </BrushLabels>\n'
        f"{''.join(_controls(list(attributes), list(tags)))}</View>\n"
    )


def _controls(attributes: Sequence[AttributeSpec], tags: Sequence[str]) -> Iterator[str]:
    flags = [one.name for one in attributes if one.kind == "flag"]
    if flags:
        yield _choices(FLAGS_NAME, flags, 'choice="multiple" perRegion="true"')
    for one in attributes:
        control = f'name={quoteattr(one.name)} toName="{TO_NAME}" perRegion="true"'
        if one.kind == "choice":
            yield _choices(one.name, one.choices, 'choice="single" perRegion="true"')
        elif one.kind != "flag":
            yield f"  <{'Number' if one.kind == 'number' else 'TextArea'} {control}/>\n"
    if tags:
        yield _choices(TAGS_NAME, tags, 'choice="multiple"')


def _choices(name: str, values: Iterable[str], how: str) -> str:
    choices = "".join(f"    <Choice value={quoteattr(one)}/>\n" for one in values)
    return f'  <Choices name={quoteattr(name)} toName="{TO_NAME}" {how}>\n{choices}  </Choices>\n'


def local_file_url(path: str) -> str:
    """URL of an image in Label Studio's local storage.

    Args:
        path: below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
    """
    return f"/data/local-files/?d={quote(path, errors='surrogateescape')}"


def label_studio_task(
    number: int,
    url: str,
    masks: Masks,
    labels: Sequence[str],
    *,
    extras: dict[str, Any],
    attributes: Sequence[Attributes] | None = None,
    choices: Collection[str] = (),
    tags: Sequence[str] = (),
) -> dict[str, Any]:
    """Build a task with one annotation, ready for JSON.

    Args:
        number: the task's id, from 1.
        url: where Label Studio finds the image.
        masks: M masks.
        labels: the M masks' classes.
        extras: more of the image, for the task's `meta`.
        attributes: the M masks' values by name: results of their own, with the mask's id.
        choices: names of attributes that are choices; other words are texts.
        tags: of the image.

    Source: labelstud.io, "Label Studio JSON format of annotated tasks".
    """
    height, width = masks.size_hw
    result = [
        {
            "id": f"{number}-{index}",
            "type": "brushlabels",
            "from_name": FROM_NAME,
            "to_name": TO_NAME,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "origin": "manual",
            "value": {"format": "rle", "rle": brush_rle(decode_rle(rle)), "brushlabels": [label]},
        }
        for index, (rle, label) in enumerate(zip(masks.rles, labels, strict=True), start=1)
    ]
    for index, values in enumerate(attributes or (), start=1):
        result += [_answer(f"{number}-{index}", *one) for one in _answers(values, choices)]
    if tags:
        result.append(_answer(f"{number}-{TAGS_NAME}", TAGS_NAME, "choices", list(tags)))
    annotation = {"result": result, "was_cancelled": False, "ground_truth": False}
    return {"id": number, "data": {TO_NAME: url}, "annotations": [annotation], "meta": extras}


def _answers(values: Attributes, choices: Collection[str]) -> Iterator[tuple[str, str, Any]]:
    """Control, type and value of each result of a mask's attributes."""
    flags = [name for name, value in values.items() if value is True]
    if flags:
        yield FLAGS_NAME, "choices", flags
    for name, value in values.items():
        if isinstance(value, str):
            yield name, "choices" if name in choices else "textarea", [value]
        elif not isinstance(value, bool):
            yield name, "number", value


def _answer(region: str, name: str, kind: str, value: Any) -> dict[str, Any]:
    key = "text" if kind == "textarea" else kind
    ids = {"id": region, "type": kind, "from_name": name, "to_name": TO_NAME}
    return ids | {"value": {key: value}}


def brush_rle(mask: BoolArray) -> list[int]:
    """Encode a mask (H, W) as Label Studio's brushes do, into bytes.

    See `BrushCode`.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(starts, append=len(flat)) * BrushCode.CHANNELS
    bits = [
        f"{len(flat) * BrushCode.CHANNELS:0{BrushCode.COUNT_FIELD}b}",
        f"{BrushCode.VALUE_BITS - 1:0{BrushCode.VALUE_FIELD}b}",
    ]
    bits += [f"{width - 1:0{BrushCode.LENGTH_FIELD}b}" for width in SIZE_BITS]
    longest = 2 ** SIZE_BITS[-1]
    for length, is_inside in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        value = "1" * BrushCode.VALUE_BITS if is_inside else "0" * BrushCode.VALUE_BITS
        full, rest = divmod(length, longest)
        bits += [_run(longest) + value] * full
        if rest:
            bits.append(_run(rest) + value)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _run(length: int) -> str:
    """Head of a run: repeated, which width, its length - 1."""
    size = next(i for i, width in enumerate(SIZE_BITS) if length <= 2**width)
    return f"1{size:02b}{length - 1:0{SIZE_BITS[size]}b}"
