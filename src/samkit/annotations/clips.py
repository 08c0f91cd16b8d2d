"""Tracks of videos from other programs: COCO video (YouTube-VIS), CVAT for video, DAVIS, MOT.

Each reader gives the videos of a file or folder one after another, as `ClipTracks`.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from samkit.annotations.cvat import cvat_attributes, cvat_shape, numeric_attributes
from samkit.annotations.model import BROKEN, ReadOptions
from samkit.annotations.numbers import number_or_none, to_integer
from samkit.annotations.segmentations import segmentation_rle
from samkit.annotations.xml_files import read_xml, xml_root
from samkit.errors import DataError
from samkit.files import read_json
from samkit.formats import (
    CROWD,
    ClipFrame,
    ClipTrack,
    ClipTracks,
    has_image_suffix,
    is_hidden,
    read_labels,
)
from samkit.geometry import Rle, encode_patch_rle, encode_rle

CLIP_FORMATS = ("coco-video", "cvat-video", "davis", "mot")
STATES = ("present", "uncertain", "absent")
KINDS = ("prompted", "confirmed", "propagated", "interpolated", "imported")
BOXES = ReadOptions(boxes=True)  # of a track they are its masks
DAVIS_FOLDERS = ("Annotations/480p", "Annotations", "masks")


def open_clips(
    path: Path, sizes_hw: Mapping[str, tuple[int, int]], file_format: str | None = None
) -> Iterator[ClipTracks]:
    """Read the videos of a file or folder.

    Args:
        path: a JSON, XML or text file, or a folder.
        sizes_hw: size of the frames of each video that is known, by name; MOT needs it.
        file_format: one of `CLIP_FORMATS`; None detects it.

    Raises:
        DataError: it is none of them, or damaged.
    """
    kind = detect_clip_format(path) if file_format is None else file_format
    if kind not in CLIP_FORMATS:
        raise DataError(f"a format of tracks is one of {', '.join(CLIP_FORMATS)}; got {kind!r:.40}")
    reader = {
        "coco-video": lambda: _each(path, ".json", read_coco_clips),
        "cvat-video": lambda: _each(path, ".xml", read_cvat_clip),
        "davis": lambda: read_davis_clips(path),
        "mot": lambda: read_mot_clips(path, sizes_hw),
    }
    return reader[kind]()


def detect_clip_format(path: Path) -> str:
    """The format of a file or folder.

    Raises:
        DataError: it is none that is known.
    """
    if path.is_dir():
        if any((path / one).is_dir() for one in DAVIS_FOLDERS):
            return "davis"
        if next(path.rglob("gt.txt"), None) is not None:
            return "mot"
        files = sorted(one for one in path.rglob("*") if one.suffix in (".json", ".xml"))
        if files:
            return detect_clip_format(files[0])
    elif path.suffix == ".json":
        return "coco-video"
    elif path.suffix == ".xml" and xml_root(path) == "annotations":
        return "cvat-video"
    elif path.suffix == ".txt":
        return "mot"
    raise DataError(
        f"{path} has no tracks of a video: expected COCO video (JSON), CVAT for video (XML),"
        " a folder of label images as DAVIS has them, or MOT's gt.txt"
    )


def _each(path: Path, suffix: str, read: Any) -> Iterator[ClipTracks]:
    files = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
    for file in files:
        yield from _unbroken(file, read)


def _unbroken(file: Path, read: Any) -> Iterator[ClipTracks]:
    try:
        yield from read(file)
    except BROKEN as error:
        raise DataError(f"{file} is damaged, or not what it should be: {error!r:.80}") from error


def read_coco_clips(path: Path) -> Iterator[ClipTracks]:
    """Read a COCO data set of videos.

    Raises:
        DataError: it is damaged, or has no videos.
    """
    document = read_json(path)
    if not isinstance(document, dict) or "videos" not in document:
        raise DataError(f'{path} is no COCO data set of videos: it has no "videos"')
    names = {
        to_integer(one["id"]): None if one.get("samkit", {}).get("unlabelled") else str(one["name"])
        for one in document.get("categories", [])
    }
    by_video: dict[int, list[dict[str, Any]]] = {}
    for one in document.get("annotations") or []:
        by_video.setdefault(to_integer(one["video_id"]), []).append(one)
    for video in document["videos"]:
        size_hw = to_integer(video["height"]), to_integer(video["width"])
        own = by_video.get(to_integer(video["id"]), [])
        file_names = [str(one) for one in video.get("file_names", [])]
        yield ClipTracks(
            name=str(video.get("name") or file_names[0].rpartition("/")[0]),
            size_hw=size_hw,
            file_names=file_names,
            tracks=tuple(
                _coco_track(one, number, names, size_hw) for number, one in enumerate(own, 1)
            ),
        )


def _coco_track(
    one: Mapping[str, Any], number: int, names: Mapping[int, str | None], size_hw: tuple[int, int]
) -> ClipTrack:
    segmentations = one["segmentations"]
    length = len(segmentations)
    states, kinds, scores = (
        one.get(name) or [None] * length for name in ("states", "kinds", "scores")
    )
    if not len(states) == len(kinds) == len(scores) == length:
        raise DataError(f"track {number}: its lists must have {length} frames")
    frames = {}
    for index, (segmentation, state, kind, score) in enumerate(
        zip(segmentations, states, kinds, scores, strict=True)
    ):
        if segmentation is None and state != "absent":
            continue
        rle = _empty(size_hw) if segmentation is None else segmentation_rle(segmentation, size_hw)
        frames[index] = ClipFrame(
            rle=rle,
            state=_choice(state, STATES, "present"),
            kind=_choice(kind, KINDS, "imported"),
            score=number_or_none(score),
        )
    attributes = {
        to_integer(frame): dict(values) for frame, values in (one.get("attributes") or {}).items()
    }
    if one.get("iscrowd") and not attributes:
        attributes = {0: {CROWD: True}}
    return ClipTrack(
        number=to_integer(one.get("track_id", number)),
        class_name=names.get(to_integer(one["category_id"])),
        attributes=attributes,
        frames=frames,
    )


def read_cvat_clip(path: Path) -> Iterator[ClipTracks]:
    """Read CVAT's XML of a video; boxes, polygons and ellipses are masks.

    A shape is there in the frames that are listed, as CVAT exports them, until it is outside.

    Raises:
        DataError: it is damaged, or not of a video.
    """
    root = read_xml(path)
    tracks = root.findall("track")
    if not tracks:
        raise DataError(f"{path} has no tracks: export the task as CVAT for video")
    size = root.find("meta//original_size")
    if size is None:
        raise DataError(f"{path} does not say how large the frames are: it has no original_size")
    size_hw = to_integer(size.findtext("height")), to_integer(size.findtext("width"))
    numeric = numeric_attributes(root)
    yield ClipTracks(
        name=root.findtext("meta/task/name") or root.findtext("meta/job/name") or path.stem,
        size_hw=size_hw,
        file_names=[],
        tracks=tuple(
            _cvat_track(one, number, size_hw, numeric) for number, one in enumerate(tracks, 1)
        ),
    )


def _cvat_track(
    track: ET.Element, number: int, size_hw: tuple[int, int], numeric: frozenset[str]
) -> ClipTrack:
    frames: dict[int, ClipFrame] = {}
    values: dict[int, dict[str, Any]] = {}
    for shape in track:
        if "frame" not in shape.attrib:
            continue
        index, is_key = to_integer(shape.attrib["frame"]), shape.get("keyframe") == "1"
        kind = "confirmed" if is_key else "imported"
        if shape.get("outside") == "1":
            if is_key:
                frames[index] = ClipFrame(rle=_empty(size_hw), state="absent", kind=kind)
            continue
        drawn = cvat_shape(shape, BOXES).draw(size_hw, size_hw)
        frames[index] = ClipFrame(rle=drawn.rle, kind=kind)
        values[index] = cvat_attributes(shape, numeric)
    given = to_integer(track.get("id", number))
    return ClipTrack(
        number=given if given > 0 else number,
        class_name=track.get("label") or None,
        attributes=changes_of(values),
        frames=frames,
    )


def changes_of(values: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Attributes of single frames as what holds from a frame on."""
    found: dict[int, Mapping[str, Any]] = {}
    before: Mapping[str, Any] = {}
    for index in sorted(values):
        if values[index] != before:
            found[index] = before = values[index]
    return found


def read_davis_clips(path: Path) -> Iterator[ClipTracks]:
    """Read a folder of label images by video, with the classes of YouTube-VOS's meta.json.

    Raises:
        DataError: there are none, or one is damaged.
    """
    folder = next((path / one for one in DAVIS_FOLDERS if (path / one).is_dir()), path)
    meta = read_json(path / "meta.json") if (path / "meta.json").exists() else {}
    for own in sorted(one for one in folder.iterdir() if one.is_dir()):
        objects = meta.get("videos", {}).get(own.name, {}).get("objects", {})
        yield _davis_clip(own, objects)


def _davis_clip(folder: Path, objects: Mapping[str, Any]) -> ClipTracks:
    files = sorted(
        one for one in folder.iterdir() if has_image_suffix(one.name) and not is_hidden(one.name)
    )
    frames: dict[int, dict[int, ClipFrame]] = {}
    size_hw = None
    for index, file in enumerate(files):
        labels = read_labels(file).labels
        size_hw = (labels.shape[0], labels.shape[1])
        for number in np.unique(labels):
            if number:
                one = ClipFrame(rle=encode_rle(labels == number))
                frames.setdefault(int(number), {})[index] = one
    return ClipTracks(
        name=folder.name,
        size_hw=size_hw,
        file_names=[one.name for one in files],
        tracks=tuple(
            ClipTrack(
                number=number,
                class_name=objects.get(str(number), {}).get("category") or None,
                frames=own,
            )
            for number, own in sorted(frames.items())
        ),
    )


def read_mot_clips(path: Path, sizes_hw: Mapping[str, tuple[int, int]]) -> Iterator[ClipTracks]:
    """Read MOT's boxes, which become filled masks.

    Args:
        path: a folder of sequences with gt/gt.txt, or a text file named like its video.
        sizes_hw: of videos whose folder has no seqinfo.ini.

    Raises:
        DataError: a line is no box, or nobody says how large the frames are.
    """
    files = sorted(path.rglob("gt.txt")) if path.is_dir() else [path]
    for file in files:
        folder = file.parent.parent if file.parent.name == "gt" else file.parent
        name = folder.name if path.is_dir() else file.stem
        size_hw, stated = _mot_sequence(folder / "seqinfo.ini")
        name = stated or name
        size_hw = size_hw or sizes_hw.get(name)
        if size_hw is None:
            raise DataError(f"{file}: there is no video {name!r:.60}, and no seqinfo.ini")
        labels = file.with_name("labels.txt")
        classes = labels.read_text(encoding="utf-8").splitlines() if labels.exists() else []
        yield ClipTracks(
            name=name,
            size_hw=size_hw,
            file_names=[],
            tracks=tuple(_mot_tracks(file, size_hw, classes)),
        )


def _mot_sequence(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    if not path.exists():
        return None, None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        own = parser["Sequence"]
        return (to_integer(own["imHeight"]), to_integer(own["imWidth"])), own.get("name")
    except (configparser.Error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no seqinfo.ini of MOT: {error!r:.80}") from error


def _mot_tracks(
    file: Path, size_hw: tuple[int, int], classes: Sequence[str]
) -> Iterable[ClipTrack]:
    frames: dict[int, dict[int, ClipFrame]] = {}
    class_of: dict[int, str | None] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = [float(one) for one in line.split(",")]
            index, name = to_integer(values[0]) - 1, to_integer(values[1])
            box = _pixels(values[2:6], size_hw)
        except (ValueError, OverflowError, IndexError) as error:
            raise DataError(f"{file}, line {number}: expected frame,id,x,y,w,h,...") from error
        if index < 0 or (
            len(values) > 6 and values[6] == 0
        ):  # 0: not to be counted, in MOT's truth
            continue
        x0, y0, x1, y1 = box
        if x1 <= x0 or y1 <= y0:
            continue
        rle = encode_patch_rle(np.ones((y1 - y0, x1 - x0), bool), (x0, y0), size_hw)
        frames.setdefault(name, {})[index] = ClipFrame(rle=rle)
        which = int(values[7]) if len(values) > 7 else 0
        class_of[name] = classes[which - 1] if 1 <= which <= len(classes) else None
    for name, own in sorted(frames.items()):
        yield ClipTrack(number=name, class_name=class_of[name], frames=own)


def _pixels(xywh: Sequence[float], size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y, width, height = xywh
    x0, x1 = (min(size_hw[1], max(0, round(one))) for one in (x, x + width))
    y0, y1 = (min(size_hw[0], max(0, round(one))) for one in (y, y + height))
    return x0, y0, x1, y1


def _choice(value: Any, known: Sequence[str], usual: str) -> str:
    return value if value in known else usual


def _empty(size_hw: tuple[int, int]) -> Rle:
    return encode_rle(np.zeros(size_hw, bool))
