"""Tracks of a video between programs, and the documents that hold them.

A `ClipTracks` is what all formats of a video have in common: written here, read by
`samkit.annotations`. An object that is not in a frame has no `ClipFrame` there, or an absent one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from samkit.errors import FormatError
from samkit.formats.attributes import CROWD, OCCLUDED, Attributes, AttributeSpec
from samkit.formats.categories import Categories
from samkit.formats.cvat_writing import VERSION, attribute_values, label_definition
from samkit.geometry import Rle, decode_rle, decode_rle_patch, rle_area, rle_box_xyxy, rle_counts

MAX_DAVIS_OBJECT = 255  # numbers that an 8-bit label image has
ABSENT, CONFIRMED = "absent", "confirmed"


@dataclass(frozen=True, kw_only=True)
class ClipFrame:
    """An object in a frame.

    Attributes:
        rle: empty if it is absent.
        state: "present", "uncertain" or "absent".
        kind: where the mask is from, as the studio has it.
        score: from 0 to 1; None without.
    """

    rle: Rle
    state: str = "present"
    kind: str = "imported"
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClipTrack:
    """An object of a video.

    Attributes:
        number: names it in the video.
        class_name: None without a class.
        attributes: values by name from a frame on, by that frame.
        frames: by frame, from 0.
    """

    number: int
    class_name: str | None
    attributes: Mapping[int, Attributes] = field(default_factory=dict)
    frames: Mapping[int, ClipFrame] = field(default_factory=dict)

    def attributes_at(self, frame: int) -> Attributes:
        """The values in a frame."""
        known = [at for at in self.attributes if at <= frame]
        return self.attributes[max(known)] if known else {}


@dataclass(frozen=True, kw_only=True)
class ClipTracks:
    """The tracks of a video.

    Attributes:
        name: of the video.
        size_hw: of its frames; None where a file does not say.
        file_names: of its frames; empty where a file does not say.
        rate: frames per second; None without.
    """

    name: str
    size_hw: tuple[int, int] | None
    file_names: Sequence[str]
    tracks: tuple[ClipTrack, ...]
    rate: float | None = None


def coco_clips(clips: Iterable[ClipTracks], classes: Sequence[str]) -> Iterator[str]:
    """A COCO data set of videos, as YouTube-VIS has it, as pieces of JSON: one for each object.

    An object has a list over frames. Other programs do not read `track_id`, `states`, `kinds`,
    `scores` and `attributes`, from which tracks are read back as they are.
    """
    categories = Categories(classes)
    videos: list[dict[str, Any]] = []
    number = 0
    yield '{"info": {"description": "made by samkit"}, "annotations": ['
    for video_id, clip in enumerate(clips, start=1):
        height, width = _size_of(clip)
        size = {"width": width, "height": height, "length": len(clip.file_names)}
        names = [f"{clip.name}/{name}" for name in clip.file_names]
        videos.append({"id": video_id, "name": clip.name, **size, "file_names": names})
        for track in clip.tracks:
            number += 1
            own = _coco_track(track, len(clip.file_names))
            category = categories.number(track.class_name)
            ids = {"id": number, "video_id": video_id, "category_id": category}
            yield (", " if number > 1 else "") + json.dumps({**ids, **size, **own})
    entries = [
        {"id": one, "name": name, "supercategory": name}
        | ({"samkit": {"unlabelled": True}} if one == categories.unlabelled else {})
        for one, name in categories.items()
    ]
    yield f'], "videos": {json.dumps(videos)}, "categories": {json.dumps(entries)}}}'


def _coco_track(track: ClipTrack, length: int) -> dict[str, Any]:
    seen = [track.frames.get(index) for index in range(length)]
    rles = [None if one is None or not rle_area(one.rle) else one.rle for one in seen]
    boxes = [None if rle is None else rle_box_xyxy(rle) for rle in rles]
    return {
        "iscrowd": int(bool(track.attributes_at(length).get(CROWD))),
        "track_id": track.number,
        "segmentations": rles,
        "bboxes": [
            None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            for box in boxes
        ],
        "areas": [None if rle is None else rle_area(rle) for rle in rles],
        "states": [None if one is None else one.state for one in seen],
        "kinds": [None if one is None else one.kind for one in seen],
        "scores": [None if one is None else one.score for one in seen],
        "attributes": {str(frame): dict(values) for frame, values in track.attributes.items()},
    }


def mot_clip(clip: ClipTracks, classes: Sequence[str]) -> dict[str, str]:
    """The files of a video in MOT's layout, by name: boxes, names of the classes, and the video.

    A line is frame and object from 1, x, y, width, height, 1, class and visibility.
    """
    categories = Categories(classes)
    height, width = _size_of(clip)
    lines = []
    for track in clip.tracks:
        number = categories.number(track.class_name)
        for index, one in track.frames.items():
            x0, y0, x1, y1 = rle_box_xyxy(one.rle)
            if x1 > x0:
                box = f"{x0},{y0},{x1 - x0},{y1 - y0}"
                lines.append((index, track.number, f"{box},1,{number},1"))
    text = "".join(f"{index + 1},{number},{rest}\n" for index, number, rest in sorted(lines))
    sequence = (
        f"[Sequence]\nname={clip.name}\nimDir=img1\nframeRate={round(clip.rate or 0)}\n"
        f"seqLength={len(clip.file_names)}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n"
    )
    names = "".join(f"{name}\n" for name in categories.names())
    return {"gt/gt.txt": text, "gt/labels.txt": names, "seqinfo.ini": sequence}


def davis_label_image(clip: ClipTracks, index: int) -> npt.NDArray[np.uint8]:
    """The label image (H, W) of a frame; smaller masks cover larger ones.

    Raises:
        FormatError: an object has no number of 8 bits.
    """
    labels = np.zeros(_size_of(clip), np.uint8)
    there = [(one.number, one.frames[index].rle) for one in clip.tracks if index in one.frames]
    for number, rle in sorted(there, key=lambda one: -rle_area(one[1])):
        if not 1 <= number <= MAX_DAVIS_OBJECT:
            raise FormatError(
                f"{clip.name}: label images hold the objects 1 to {MAX_DAVIS_OBJECT}; got {number}:"
                " choose another format"
            )
        labels[decode_rle(rle)] = number
    return labels


def overlapping_frames(clip: ClipTracks) -> int:
    """Number of frames in which masks overlap, so that a label image cannot hold them."""
    height, width = _size_of(clip)
    count = 0
    for index in range(len(clip.file_names)):
        rles = [track.frames[index].rle for track in clip.tracks if index in track.frames]
        if len(rles) > 1:
            covered = np.zeros((height, width), bool)
            for rle in rles:
                covered |= decode_rle(rle)
            count += sum(map(rle_area, rles)) != int(covered.sum())
    return count


def davis_objects(clip: ClipTracks) -> dict[str, Any]:
    """What the objects of a video are, as YouTube-VOS's meta.json says it."""
    return {
        str(track.number): {
            "category": track.class_name or "",
            "frames": [
                clip.file_names[index].rpartition(".")[0]
                for index, one in sorted(track.frames.items())
                if rle_area(one.rle)
            ],
        }
        for track in clip.tracks
    }


def cvat_clip(
    clip: ClipTracks, classes: Sequence[str], attributes: Sequence[AttributeSpec] = ()
) -> str:
    """A video's tracks as CVAT's XML "for video", version 1.1.

    Keyframes are what people have made. After its last mask, and in each gap, a track is outside.
    """
    categories = Categories(classes)
    for track in clip.tracks:
        categories.number(track.class_name)
    names = dict(categories.items())
    height, width = _size_of(clip)
    labels = "".join(label_definition(name, attributes, mutable=True) for name in names.values())
    head = (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
        f"  <version>{VERSION}</version>\n  <meta><task><name>{escape(clip.name)}</name>"
        f"<size>{len(clip.file_names)}</size><mode>interpolation</mode>"
        f"<labels>{labels}</labels><original_size><width>{width}</width>"
        f"<height>{height}</height></original_size></task></meta>\n"
    )
    parts = [head]
    for track in clip.tracks:
        label = quoteattr(names[categories.number(track.class_name)])
        parts.append(f'  <track id="{track.number}" label={label} source="manual">\n')
        parts += _cvat_masks(track, len(clip.file_names))
        parts.append("  </track>\n")
    parts.append("</annotations>\n")
    return "".join(parts)


def _cvat_masks(track: ClipTrack, length: int) -> Iterable[str]:
    box = (0, 0, 1, 1)
    for index, one in sorted(track.frames.items()):
        values = track.attributes_at(index)
        found = rle_box_xyxy(one.rle)
        is_outside = found[2] <= found[0]
        box = box if is_outside else found
        is_key = one.kind in ("prompted", CONFIRMED)
        runs = [0, (box[2] - box[0]) * (box[3] - box[1])]
        if not is_outside:
            runs = list(rle_counts(decode_rle_patch(one.rle, box).T))  # row by row
        yield _cvat_mask(index, runs, box, values, outside=is_outside, key=is_key)
        following = track.frames.get(index + 1)
        if following is None and not is_outside and index + 1 < length:
            yield _cvat_mask(index + 1, runs, box, values, outside=True, key=False)


def _cvat_mask(
    index: int,
    runs: Sequence[int],
    box: tuple[int, int, int, int],
    values: Attributes,
    *,
    outside: bool,
    key: bool,
) -> str:
    x0, y0, x1, y1 = box
    return (
        f'    <mask frame="{index}" keyframe="{int(key)}" outside="{int(outside)}"'
        f' occluded="{int(bool(values.get(OCCLUDED)))}" rle="{", ".join(map(str, runs))}"'
        f' left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}" z_order="0">'
        f"{attribute_values(values)}</mask>\n"
    )


def _size_of(clip: ClipTracks) -> tuple[int, int]:
    if clip.size_hw is None:
        raise FormatError(f"{clip.name}: the size of its frames is not known")
    return clip.size_hw
