"""Reading Label Studio's JSON exports: lists of tasks in full, or short ones (JSON_MIN)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from samkit.annotations.label_studio_regions import read_regions
from samkit.annotations.model import (
    AnnotatedImage,
    AnnotationList,
    Fault,
    ReadOptions,
    find_files,
    read_each,
)
from samkit.errors import DataError
from samkit.files import read_json

FORMAT = "label-studio"
# Keys of lists of a person's work on a task, the second one of old versions.
WORK = ("annotations", "completions")


def is_label_studio(document: Any) -> bool:
    """Whether a JSON file's content is an export of Label Studio, or the task of one."""
    entries = document if isinstance(document, list) else [document]
    return any(_is_task(one) or _is_short(one) for one in entries if isinstance(one, dict))


def _is_task(entry: dict[str, Any]) -> bool:
    has_results = any(isinstance(entry.get(one), list) for one in WORK)
    return has_results and isinstance(entry.get("data"), dict)


def _is_short(entry: dict[str, Any]) -> bool:
    return "annotation_id" in entry and "annotator" in entry


def open_label_studio(path: Path, options: ReadOptions) -> AnnotationList:
    """Read an export, or all in a folder.

    Raises:
        DataError: there are none, or the file is not Label Studio's.
    """
    files = find_files(path, ".json") if path.is_dir() else [path]
    images: list[AnnotatedImage] = []
    faults: list[Fault] = []
    found = False
    for file, document in read_each(files, read_json, faults, raises=not path.is_dir()):
        if is_label_studio(document):
            found = True
            entries = document if isinstance(document, list) else [document]
            for number, entry in enumerate(entries, start=1):
                own, left_out = _read_entry(entry, f"task {number}", file, options)
                images += own
                faults += left_out
    if not found:
        raise DataError(f"{path} is not Label Studio's: export it as JSON or JSON-MIN")
    return AnnotationList(FORMAT, images, faults)


def _read_entry(
    entry: Any, where: str, file: Path, options: ReadOptions
) -> tuple[list[AnnotatedImage], list[Fault]]:
    """The images of a task, and faults of what belongs to none of them."""
    if not isinstance(entry, dict) or not (_is_task(entry) or _is_short(entry)):
        return [], [Fault(text=f"{where}: not a task: {entry!r:.60}")]
    if isinstance(number := entry.get("id"), int | str):
        where = f"task {number!s:.20}"
    faults: list[Fault] = []
    if _is_task(entry):
        (regions, faults), data = _chosen_regions(entry, where), entry["data"]
    else:
        regions, data = _short_regions(entry)
    images, left_out = read_regions(regions, data, file, where, options)
    if not images:
        return [], [*faults, *left_out]
    images[0] = replace(images[0], faults=(*faults, *images[0].faults))
    return images, left_out


def _chosen_regions(entry: dict[str, Any], where: str) -> tuple[list[Any], list[Fault]]:
    """Regions of one person's annotation of a task; faults of what others have made of it."""
    every = next(entry[one] for one in WORK if isinstance(entry.get(one), list))
    faults = []
    for kind in ("predictions", "drafts"):
        made = entry.get(kind)
        count = sum(len(_results(one)) for one in made) if isinstance(made, list) else 0
        if count:
            faults.append(Fault(text=f"{kind} of {where} are not read", num_annotations=count))
    candidates = []
    for one in every:
        if isinstance(one, dict) and not one.get("was_cancelled"):
            candidates.append(one)
        elif not isinstance(one, dict):
            faults.append(Fault(text=f"{where}: not an annotation: {one!r:.60}"))
        elif count := len(_results(one)):
            text = f"{where}, annotation {one.get('id')!s:.20}: it was cancelled"
            faults.append(Fault(text=text, num_annotations=count))
    if not candidates:
        return [], faults
    best = max(enumerate(candidates), key=lambda pair: (*_rank(pair[1]), pair[0]))[1]
    for one in candidates:
        if one is not best and (count := len(_results(one))):
            text = f"{where}, annotation {one.get('id')!s:.20}: annotation"
            text += f" {best.get('id')!s:.20} of the same task is read instead"
            faults.append(Fault(text=text, num_annotations=count))
    return _results(best), faults


def _results(annotation: Any) -> list[Any]:
    """An annotation's results, also if they are the text of a list: as databases hold them."""
    found = annotation.get("result") if isinstance(annotation, dict) else None
    if isinstance(found, str) and found.strip():
        try:
            parsed = json.loads(found)
        except (ValueError, RecursionError):
            return [found]  # told with what else is not a region
        return parsed if isinstance(parsed, list) else [parsed]
    return found if isinstance(found, list) else []


def _rank(annotation: dict[str, Any]) -> tuple[bool, str]:
    """By which the annotation that is read has the highest: ground truth, then the latest."""
    times = (annotation.get(one) for one in ("updated_at", "created_at"))
    latest = next((one for one in times if isinstance(one, str) and one), "")
    return bool(annotation.get("ground_truth")), latest


def _short_regions(entry: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Regions of a task in short form, as in the full one; and the rest, its data."""
    regions: list[Any] = []
    data: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            regions += [
                {**one, "value": one, "type": key} if isinstance(one, dict) else one
                for one in value
            ]
        else:
            data[key] = value
    return regions, data
