"""Functions for CVAT's auto-annotation: masks of everything, of a click, and of a shape followed.

    cvat-cli task auto-annotate 12 --function-module samkit.integrations.cvat -p classes=str:cell
    cvat-cli function create-native c --function-module samkit.integrations.cvat -p what=str:click

CVAT calls `create` with the parameters that are given as `-p NAME=TYPE:VALUE`.
Source: the protocols of `cvat_sdk.auto_annotation`, 2.80.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samkit.arrays import BoolArray
from samkit.errors import ConfigError, DataError
from samkit.extras import require_package
from samkit.geometry import mask_polygons
from samkit.integrations.maskers import OBJECT, make_masker, scores_of

if TYPE_CHECKING:
    from samkit.predict import Predictor
    from samkit.proposals import AutoMasker, ClassMasker
    from samkit.types import ImageEmbedding
    from samkit.video import VideoPredictor, VideoStream

DETECT, CLICK, TRACK = "detect", "click", "track"
FOLLOWED = ("mask", "rectangle")


def create(
    what: str = DETECT,
    *,
    model: str | None = None,
    preset: str = "instant",
    classes: str = OBJECT,
    text_model: str | None = None,
    threads: int | None = None,
) -> Detection | Click | Track:
    """Make a function for CVAT.

    Args:
        what: "detect" masks of everything, a mask of a "click" or box, or "track" a mask or box.
        model: as `samkit.Predictor.load` and `samkit.VideoPredictor.load` take it.
        preset: of `samkit auto`, for "detect".
        classes: names of CVAT labels, separated by commas. One without a text model names all
            masks; with a text model those that it finds.
        text_model: a detector or a CLIP, by its name on the hub or as a folder.
        threads: CPU threads; default: the backend's choice.

    Raises:
        ConfigError: a setting is unknown, or cvat_sdk is not installed.
        WeightsError, DownloadError: a model cannot be loaded.
    """
    require_package("cvat_sdk", "CVAT's functions")
    if what not in (DETECT, CLICK, TRACK):
        raise ConfigError(f"what must be {DETECT}, {CLICK} or {TRACK}; got {what!r}")
    named: dict[str, Any] = {} if model is None else {"source": model}
    if what == TRACK:
        from samkit.video import VideoPredictor

        return Track(VideoPredictor.load(**named, threads=threads))
    from samkit.predict import Predictor

    predictor = Predictor.load(**named, text_model=text_model, threads=threads)
    if what == CLICK:
        return Click(predictor)
    names = tuple(dict.fromkeys(name.strip() for name in classes.split(",") if name.strip()))
    return Detection(make_masker(predictor, preset, names, has_text=text_model is not None), names)


class Detection:
    """Masks of everything in an image, or of what is named."""

    def __init__(self, masker: AutoMasker | ClassMasker, classes: Sequence[str]) -> None:
        from cvat_sdk import auto_annotation

        self.masker = masker
        self.classes = tuple(classes)
        self.spec = auto_annotation.DetectionFunctionSpec(
            labels=[
                auto_annotation.label_spec(name, number, type="mask")
                for number, name in enumerate(self.classes)
            ]
        )

    def detect(self, context: Any, image: Any) -> list[Any]:
        """Shapes of an image (PIL); polygons if CVAT asks for them, which have no holes."""
        from cvat_sdk import auto_annotation

        masks = self.masker.generate(image)
        least = context.conf_threshold
        if least is not None:
            masks = masks.select(scores_of(masks) >= least)
        shapes = []
        for number, mask in enumerate(masks.to_arrays()):
            name = OBJECT if masks.phrases is None else masks.phrases[number]
            label = self.classes.index(name) if masks.phrases is not None else 0
            if context.conv_mask_to_poly:
                shapes += [auto_annotation.polygon(label, ring) for ring in rings(mask)]
            else:
                shapes.append(auto_annotation.mask(label, encode(mask)))
        return shapes


class Click:
    """The mask of points and a box; images are encoded once."""

    def __init__(self, predictor: Predictor) -> None:
        from cvat_sdk import auto_annotation

        self.predictor = predictor
        self.spec = auto_annotation.InteractionFunctionSpec(
            min_pos_points=0, min_neg_points=0, min_bounding_boxes=0
        )

    def preprocess_image(self, context: Any, image: Any) -> ImageEmbedding:  # noqa: ARG002
        """Encode an image (PIL)."""
        return self.predictor.embed(image)

    def detect(self, context: Any, pp_image: ImageEmbedding, prompts: Any) -> list[Any]:  # noqa: ARG002
        """The best mask of the prompts, with its predicted IoU as confidence; none without any."""
        from cvat_sdk import auto_annotation, models

        points = [*prompts.pos_points, *prompts.neg_points]
        box = prompts.bounding_box
        if not points and box is None:
            return []
        answer = self.predictor.predict(
            pp_image,
            points=points or None,
            labels=[1] * len(prompts.pos_points) + [0] * len(prompts.neg_points) or None,
            boxes=None if box is None else [*box[0], *box[1]],
            multimask=box is None and len(points) == 1,
        ).best()
        confidence = models.AttributeValRequest(
            spec_id=int(auto_annotation.InteractionResultAttributes.CONFIDENCE),
            value=f"{float(answer.iou_pred.clip(0, 1)[0]):.4f}",
        )
        [mask] = answer.masks
        shape = auto_annotation.InteractionResultShape(
            type="mask", points=encode(mask), attributes=[confidence]
        )
        return [shape] if mask.any() else []


@dataclass
class Followed:
    """A shape that is followed."""

    stream: VideoStream
    kind: str


class Track:
    """A mask or a box, followed from image to image; each shape is encoded for itself."""

    def __init__(self, tracker: VideoPredictor) -> None:
        from cvat_sdk import auto_annotation

        self.tracker = tracker
        self.spec = auto_annotation.TrackingFunctionSpec(supported_shape_types=set(FOLLOWED))

    def preprocess_image(self, context: Any, image: Any) -> npt.NDArray[np.uint8]:  # noqa: ARG002
        """Pixels of an image (PIL)."""
        return np.asarray(image.convert("RGB"))

    def init_tracking_state(
        self,
        context: Any,  # noqa: ARG002
        pp_image: npt.NDArray[np.uint8],
        shape: Any,
    ) -> Followed:
        """Begin to follow a shape."""
        stream = self.tracker.stream()
        stream.track(pp_image)
        if shape.type == "rectangle":
            stream.prompt(boxes=shape.points)
        elif shape.type == "mask":
            height, width = pp_image.shape[:2]
            stream.prompt(mask=decode(shape.points, (height, width)))
        else:
            raise DataError(f"a {shape.type} cannot be followed: draw a mask or a rectangle")
        return Followed(stream, shape.type)

    def track(
        self,
        context: Any,  # noqa: ARG002
        pp_image: npt.NDArray[np.uint8],
        state: Followed,
    ) -> Any:
        """The shape in the next image; None where it is not seen."""
        from cvat_sdk import auto_annotation

        answer = state.stream.track(pp_image)
        if not answer.present[0] or not answer.masks[0].any():
            return None
        if state.kind == "mask":
            points = encode(answer.masks[0])
        else:
            points = [float(value) for value in answer.results[0].box_xyxy]
        return auto_annotation.TrackableShape(type=state.kind, points=points)


def encode(mask: BoolArray) -> list[float]:
    """A mask (H, W) as CVAT's run lengths."""
    from cvat_sdk.masks import encode_mask

    points: list[float] = encode_mask(mask)
    return points


def decode(points: Sequence[float], size_hw: tuple[int, int]) -> BoolArray:
    """A mask (H, W) of CVAT's run lengths."""
    from cvat_sdk.masks import decode_mask

    height, width = size_hw
    mask: BoolArray = decode_mask(points, image_width=width, image_height=height)
    return mask


def rings(mask: BoolArray) -> list[list[float]]:
    """Outer outlines of the parts of a mask (H, W), along the edges of pixels, x and y in turns."""
    return [one.outer.astype(float).ravel().tolist() for one in mask_polygons(mask)]
