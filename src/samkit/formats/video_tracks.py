"""Objects of a video written for other programs: COCO video (YouTube-VIS), MOT, JSON lines.

A `TrackedMask` is one object in one frame; documents are made from those of all frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samkit.geometry import Rle, rle_area, rle_box_xyxy


@dataclass(frozen=True, kw_only=True)
class TrackedMask:
    """One object in one frame.

    Attributes:
        index: of the frame, from 0.
        object_id: names the object.
        rle: its mask, empty where it is not seen.
        score: from 0 to 1.
        state: "present", "uncertain" or "absent".
    """

    index: int
    object_id: int
    rle: Rle
    score: float
    state: str

    def to_json(self) -> dict[str, Any]:
        """As an object of a line of `frame_line`."""
        return {
            "id": self.object_id,
            "state": self.state,
            "score": round(self.score, 4),
            "segmentation": self.rle,
        }

    @classmethod
    def from_json(cls, index: int, content: Mapping[str, Any]) -> TrackedMask:
        """The inverse of `to_json`; wrong content raises KeyError, TypeError or ValueError."""
        rle = content["segmentation"]
        return cls(
            index=index,
            object_id=int(content["id"]),
            rle={"size": [int(side) for side in rle["size"]], "counts": str(rle["counts"])},
            score=float(content["score"]),
            state=str(content["state"]),
        )


def frame_line(index: int, masks: Iterable[TrackedMask]) -> dict[str, Any]:
    """A frame as a line of JSON: {"frame": 0, "objects": [{"id", "state", "score", ...}]}."""
    return {"frame": index, "objects": [mask.to_json() for mask in masks]}


def mot_lines(masks: Iterable[TrackedMask]) -> list[str]:
    """The text of MOT: frame from 1, object, x, y, width, height, score, -1, -1, -1.

    Frames in which an object is not seen have no line.
    """
    lines = []
    for mask in sorted(masks, key=lambda one: (one.index, one.object_id)):
        x0, y0, x1, y1 = rle_box_xyxy(mask.rle)
        if x1 > x0:
            box = f"{x0},{y0},{x1 - x0},{y1 - y0}"
            lines.append(f"{mask.index + 1},{mask.object_id},{box},{mask.score:.4f},-1,-1,-1")
    return lines


def coco_video(
    masks: Iterable[TrackedMask],
    *,
    file_names: Sequence[str],
    size_hw: tuple[int, int],
    name: str,
) -> dict[str, Any]:
    """A COCO data set of one video, as YouTube-VIS has it: a list over frames for each object.

    Args:
        masks: of all frames.
        file_names: of all frames of the video.
        size_hw: size of the frames.
        name: of the video.
    """
    height, width = size_hw
    objects: dict[int, dict[int, TrackedMask]] = {}
    for mask in masks:
        objects.setdefault(mask.object_id, {})[mask.index] = mask
    annotations = []
    for number, (object_id, own) in enumerate(sorted(objects.items()), 1):
        seen = [own.get(index) for index in range(len(file_names))]
        shown = [mask if mask is not None and rle_area(mask.rle) else None for mask in seen]
        boxes = [None if mask is None else rle_box_xyxy(mask.rle) for mask in shown]
        scores = [mask.score for mask in shown if mask is not None]
        annotations.append(
            {
                "id": number,
                "video_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "track_id": object_id,
                "width": width,
                "height": height,
                "length": len(file_names),
                "segmentations": [None if mask is None else mask.rle for mask in shown],
                "bboxes": [
                    None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                    for box in boxes
                ],
                "areas": [None if mask is None else rle_area(mask.rle) for mask in shown],
                "score": sum(scores) / len(scores) if scores else 0.0,
            }
        )
    return {
        "info": {"description": "made by samkit"},
        "videos": [
            {
                "id": 1,
                "name": name,
                "width": width,
                "height": height,
                "length": len(file_names),
                "file_names": list(file_names),
            }
        ],
        "categories": [{"id": 1, "name": "object", "supercategory": "object"}],
        "annotations": annotations,
    }
