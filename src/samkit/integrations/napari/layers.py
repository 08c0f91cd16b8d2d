"""The layers of the napari plugin: points and boxes as prompts, and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from samkit.integrations.napari.planes import Plane, level_of_full_size, to_image_places

POINTS, BOXES, LABELS = "points", "boxes", "masks"  # names of the layers
PROMPT = "prompt"  # the feature of points that says what a point means
POSITIVE, NEGATIVE = "positive", "negative"
COLORS = {POSITIVE: "lime", NEGATIVE: "red"}
LEAST_SIDE_PX = 2  # a box that is only begun is smaller


@dataclass(frozen=True, kw_only=True)
class ObjectPrompt:
    """What is said of one object, in pixels of a slice.

    Attributes:
        points_xy, labels: points; 1 positive, 0 negative.
        box_xyxy: None without a box.
    """

    points_xy: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None


def add_prompt_layers(viewer: Any, image: Any) -> tuple[Any, Any, Any]:
    """Add Labels, Shapes and Points layers over an image, with its scale and place."""
    transforms = {
        name: getattr(image, name) for name in ("scale", "translate", "rotate", "shear", "affine")
    }
    shape = level_of_full_size(image).shape[: image.ndim]
    labels = viewer.add_labels(np.zeros(shape, np.int32), name=LABELS, **transforms)
    labels.preserve_labels = True  # a mask takes no pixels from those before
    boxes = viewer.add_shapes(
        ndim=image.ndim, name=BOXES, face_color="transparent", edge_color="yellow", **transforms
    )
    boxes.mode = "add_rectangle"
    points = viewer.add_points(
        ndim=image.ndim,
        name=POINTS,
        property_choices={PROMPT: [POSITIVE, NEGATIVE]},
        face_color=PROMPT,
        face_color_cycle=[COLORS[POSITIVE], COLORS[NEGATIVE]],
        border_color="white",
        size=max(4, round(max(shape) / 64)),
        **transforms,
    )
    points.mode = "add"
    return points, boxes, labels


def meaning_of_next_point(points: Any) -> str:
    """Whether the next point will be positive or negative."""
    return str(points.feature_defaults[PROMPT].iloc[0])


def set_meaning_of_next_point(points: Any, meaning: str) -> None:
    """Choose whether the next points are positive or negative; those there stay as they are."""
    points.selected_data = set()  # napari would change the selected ones, too
    points.feature_defaults = {PROMPT: meaning}


def read_prompts(points: Any, boxes: Any, image: Any, plane: Plane) -> tuple[ObjectPrompt, ...]:
    """Read the prompts in a slice: one object for each box, or for all points without a box.

    With one box, all points refine its object. With several, a point belongs to the smallest box
    around it, and points outside of all boxes are one object more.
    """
    frames = []
    for vertices in boxes.data:
        places = to_image_places(boxes, image, vertices)
        if not plane.contains(places):
            continue
        xy = plane.to_xy(places)
        low, high = xy.min(axis=0), xy.max(axis=0)
        if (high - low >= LEAST_SIDE_PX).all():
            frames.append((*low.tolist(), *high.tolist()))
    members: list[list[tuple[tuple[float, float], int]]] = [[] for _ in (*frames, None)]
    for place, meaning in zip(
        to_image_places(points, image, points.data), points.features[PROMPT], strict=True
    ):
        if plane.contains(place[None]):
            x, y = plane.to_xy(place[None])[0].tolist()
            label = int(meaning != NEGATIVE)
            members[_box_of(x, y, frames)].append(((x, y), label))
    objects = [
        ObjectPrompt(
            points_xy=tuple(xy for xy, _ in own),
            labels=tuple(label for _, label in own),
            box_xyxy=box,
        )
        for box, own in zip([*frames, None], members, strict=True)
    ]
    return tuple(one for one in objects if one.box_xyxy is not None or 1 in one.labels)


def _box_of(x: float, y: float, boxes: list[tuple[float, float, float, float]]) -> int:
    """The number of the box that a point belongs to; that after the last for none."""
    if len(boxes) == 1:
        return 0
    around = [
        ((x1 - x0) * (y1 - y0), number)
        for number, (x0, y0, x1, y1) in enumerate(boxes)
        if x0 <= x <= x1 and y0 <= y <= y1
    ]
    return min(around)[1] if around else len(boxes)
