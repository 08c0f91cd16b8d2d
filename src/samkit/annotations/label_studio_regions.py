"""Regions of a task of Label Studio: which image each is on, its shape and its class.

A region may be several results of one id: its shape, its labels, and answers of forms about it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samkit.annotations.label_studio_shapes import GEOMETRY, has_shape, region_shape
from samkit.annotations.model import (
    BROKEN,
    AnnotatedImage,
    AnnotatedMask,
    Fault,
    ReadOptions,
    fault_of,
    words_of,
)
from samkit.annotations.numbers import stated_size, to_integer
from samkit.errors import DataError
from samkit.formats import FLAGS_NAME, TAGS_NAME, has_image_suffix

LOCAL_FILE = "?d="  # in URLs of files on Label Studio's own disk
INLINE = "data:"  # URLs that are the image, and do not name it
IN_TEXT = re.compile(r"\s\S*://|\n")  # of a text that only mentions a URL
UNSURE = "it is on one of the task's {} images, which one is not known"

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An image of a task: its URL, and where the task's data have it."""

    url: str
    key: str
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Region:
    """Results of one region; the first has its shape."""

    where: str
    results: tuple[dict[str, Any], ...]
    size_hw: Size


def read_regions(
    results: Sequence[Any], data: dict[str, Any], file: Path, where: str, options: ReadOptions
) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Read a task's regions.

    Args:
        results: as in the file.
        data: the task's `data`, which have the images' URLs.
        file: the annotation file.
        where: names the task in faults.
        options: what annotations are read as.

    Returns:
        the task's images, with or without masks; and faults of what belongs to none of them.
    """
    images = list(_find_images(data))
    by_image: list[list[_Region]] = [[] for _ in images]
    faults: list[tuple[int | None, Fault]] = []
    tagged = [one for one in results if len(images) == 1 and _is_tagging(one)]
    for group in _group([one for one in results if one not in tagged]):
        named = f"{where}, region {group[0].get('id', '')!s:.20}".rstrip()
        try:
            place = _image_of(group[0], images)
        except DataError as error:
            faults.append((None, fault_of(error, named, len(group))))
            continue
        try:
            region = _Region(where=named, results=tuple(group), size_hw=_size(group[0]))
            by_image[place].append(region)
        except (DataError, *BROKEN) as error:
            faults.append((place, fault_of(error, named, len(group))))
    others = [one for one in results if not isinstance(one, dict)]
    if others:
        text = f"{where}: {len(others)} results are not regions, such as {others[0]!r:.40}"
        faults.append((None, Fault(text=text, num_annotations=len(others))))
    read = [
        _read_image(image, regions, file, options, [one for at, one in faults if at == place])
        for place, (image, regions) in enumerate(zip(images, by_image, strict=True))
    ]
    tags = tuple(dict.fromkeys(tag for one in tagged for tag in words_of(_value(one)["choices"])))
    read = [replace(one, tags=tags) for one in read] if tags else read
    return read, [one for at, one in faults if at is None]


def _is_tagging(result: Any) -> bool:
    """Whether a result has tags of the image, as exports write them."""
    return (
        isinstance(result, dict)
        and result.get("from_name") == TAGS_NAME
        and not has_shape(_value(result))
        and isinstance(_value(result).get("choices"), list)
    )


def _find_images(data: dict[str, Any]) -> Iterator[_Image]:
    """Values of a task's data that are images' URLs; if none look like it, its only URL."""
    urls = list(_urls(data))
    seem = [one for one in urls if _seems_image(one.url)]
    if seem or len(urls) == 1:
        yield from seem or urls


def _urls(data: dict[str, Any]) -> Iterator[_Image]:
    for key, value in data.items():
        if isinstance(value, str) and _may_be_url(value):
            yield _Image(url=value, key=key)
        for index, one in enumerate(value if isinstance(value, list) else ()):
            if isinstance(one, str) and _may_be_url(one):
                yield _Image(url=one, key=key, index=index)


def _may_be_url(value: str) -> bool:
    if value.startswith(INLINE) or IN_TEXT.search(value):
        return False
    return "/" in value or has_image_suffix(value)


def _seems_image(url: str) -> bool:
    path = url if LOCAL_FILE in url else url.partition("?")[0].partition("#")[0]
    return has_image_suffix(path)


def _group(results: Sequence[Any]) -> Iterator[list[dict[str, Any]]]:
    """Results of each region: those of one id, but for other shapes of it. Shapes come first."""
    by_id: dict[object, list[dict[str, Any]]] = {}
    for number, one in enumerate(one for one in results if isinstance(one, dict)):
        key = one.get("id")
        known = isinstance(key, str | int)
        by_id.setdefault(("id", key) if known else ("no.", number), []).append(one)
    for group in by_id.values():
        shaped = [one for one in group if has_shape(_value(one))]
        first = shaped[0] if shaped else group[0]
        other = [one for one in shaped if _geometry(one) != _geometry(first)]
        yield [first, *(one for one in group if one is not first and one not in other)]
        yield from ([one] for one in other)


def _value(result: dict[str, Any]) -> dict[str, Any]:
    found = result.get("value")
    return found if isinstance(found, dict) else {}


def _geometry(result: dict[str, Any]) -> list[Any]:
    return [_value(result).get(one) for one in GEOMETRY]


def _image_of(result: dict[str, Any], images: Sequence[_Image]) -> int:
    """Index of the image that a region is on."""
    if not images:
        raise DataError("its task has no image that can be named")
    places = list(range(len(images)))
    if len(places) > 1:
        places = [at for at in places if images[at].key == result.get("to_name")] or places
    if len(places) > 1 and (wanted := result.get("item_index")) is not None:
        places = [at for at in places if images[at].index == wanted] or places
    if len(places) > 1:
        raise DataError(UNSURE.format(len(places)))
    return places[0]


def _size(result: dict[str, Any]) -> Size:
    if not has_shape(_value(result)):
        raise DataError(f"{result.get('type', '')!s:.30} is not a mask".strip())
    if to_integer(result.get("image_rotation") or 0):
        raise DataError("it was made on an image that was turned in Label Studio")
    size_hw = stated_size(result.get("original_height"), result.get("original_width"))
    if size_hw is None:
        raise DataError("it does not state the image's size")
    return size_hw


def _read_image(
    image: _Image,
    regions: Sequence[_Region],
    file: Path,
    options: ReadOptions,
    faults: list[Fault],
) -> AnnotatedImage:
    sizes = Counter(one.size_hw for one in regions).most_common(1)
    size_hw = sizes[0][0] if sizes else None
    masks = []
    for one in regions:
        count = len(one.results)
        if one.size_hw != size_hw:
            text = f"{one.where}: it states another size of the image than others do"
            faults.append(Fault(text=text, num_annotations=count))
            continue
        try:
            masks.append(_mask(one, options, faults))
        except (DataError, *BROKEN) as error:
            faults.append(fault_of(error, one.where, count))
    return AnnotatedImage(
        name=image.url, file=file, size_hw=size_hw, masks=tuple(masks), faults=tuple(faults)
    )


def _mask(region: _Region, options: ReadOptions, faults: list[Fault]) -> AnnotatedMask:
    """A region's mask; add a fault if it has more classes than one."""
    shape = region_shape(_value(region.results[0]), region.size_hw, boxes=options.boxes)
    labels = list(dict.fromkeys(label for one in region.results for label in _labels(one)))
    if len(labels) > 1:
        named = ", ".join(labels)
        text = f"{region.where}: of its labels {named:.80} only the first is its class"
        faults.append(Fault(text=text, num_annotations=0))
    return AnnotatedMask(
        where=region.where,
        shape=shape,
        class_name=labels[0] if labels else None,
        num_annotations=len(region.results),
        attributes=_attributes(region, faults),
    )


def _attributes(region: _Region, faults: list[Fault]) -> dict[str, Any]:
    """Answers of forms about a region, by the names of the forms' controls."""
    found: dict[str, Any] = {}
    for one in region.results:
        name, value = one.get("from_name"), _value(one)
        if not isinstance(name, str):
            continue
        chosen = words_of(value.get("choices"))
        if name == FLAGS_NAME:
            found |= dict.fromkeys(chosen, True)
            continue
        text = value.get("text")
        texts = words_of([text] if isinstance(text, str) else text)
        answers = [*chosen, *texts, *([value["number"]] if "number" in value else [])]
        if answers:
            found[name] = answers[0]
        if len(answers) > 1:
            reason = f"{region.where}: of the answers to {name!r:.40} only the first is read"
            faults.append(Fault(text=reason, num_annotations=0))
    return found


def _labels(result: dict[str, Any]) -> list[str]:
    """A result's labels, in a list whose name tells the shape, such as `brushlabels`."""
    lists = (value for key, value in _value(result).items() if key.endswith("labels"))
    return [one for found in lists if isinstance(found, list) for one in found if _is_label(one)]


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
