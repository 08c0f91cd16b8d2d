"""Requests and answers as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from samkit.predict import Refine
from samkit.proposals import PRESETS, AutoMaskConfig
from samkit.serving.jobs import MaskFormat

MAX_INT32 = 2**31 - 1
MAX_PROMPTS = 256
MAX_PHRASES = 64
SHA256 = r"^[0-9a-f]{64}$"

Sha256 = Annotated[
    str, Field(pattern=SHA256, description="SHA-256 of an image's file, in hexadecimal")
]
Index = Annotated[int, Field(ge=0, le=MAX_INT32)]
Number = Annotated[float, Field(allow_inf_nan=False)]
# Lists, not tuples, of which the OpenAPI document could not say the same.
Point = Annotated[list[Number], Field(min_length=2, max_length=2)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
Size = Annotated[list[int], Field(min_length=2, max_length=2)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Array(Model):
    """Numbers of 32 bits: the shape, and the values in base64, little-endian, row by row."""

    shape: Annotated[list[Annotated[int, Field(ge=0, le=MAX_INT32)]], Field(max_length=4)]
    data: str


class ImageRequest(Model):
    image: Sha256 | None = Field(
        None, description="an image sent earlier; left out if the image itself is sent"
    )


class EmbedRequest(ImageRequest):
    pass


class PredictRequest(ImageRequest):
    points: list[Any] | None = Field(
        None,
        max_length=MAX_PROMPTS,
        description="[x, y] pixels of the image: points of one prompt, (N, 2), or of P prompts,"
        " (P, N, 2)",
        examples=[[[500, 375]]],
    )
    labels: list[Any] | None = Field(
        None,
        max_length=MAX_PROMPTS,
        description="1 foreground, 0 background, for each point; by default 1",
        examples=[[1]],
    )
    boxes: list[Any] | None = Field(
        None,
        max_length=MAX_PROMPTS,
        description="[x0, y0, x1, y1] of one prompt, or of P prompts, (P, 4)",
    )
    masks: list[dict[str, Any]] | None = Field(
        None,
        max_length=MAX_PROMPTS,
        description="COCO RLEs {size, counts} at the image's size, one for each prompt",
    )
    mask_logits: Array | None = Field(
        None, description="`logits` of an earlier answer: (1, L, L), or (P, 1, L, L)"
    )
    multimask: bool = Field(True, description="three candidates, for ambiguous prompts")
    refine: Refine = "none"
    fine: bool = Field(False, description="whether masks follow the image's edges")
    mask_format: MaskFormat = "rle"
    logits: bool = Field(False, description="whether the answer has the mask logits, too")


class TextRequest(ImageRequest):
    text: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(min_length=1, max_length=MAX_PHRASES),
    ]
    text_thresh: Annotated[float, Field(ge=0, le=1)] | None = None
    multimask: bool = True
    mask_format: MaskFormat = "rle"


class AutoRequest(Model):
    """Settings of automatic masks; see `samkit.AutoMaskConfig`."""

    preset: Literal["instant", "fast", "paper", "thorough"] | None = None
    points_per_side: Annotated[int, Field(ge=1, le=128)] | None = None
    crop_layers: Annotated[int, Field(ge=0, le=3)] | None = None
    iou_thresh: Annotated[float, Field(ge=0, le=1)] | None = None
    stability_thresh: Annotated[float, Field(ge=0, le=1)] | None = None
    box_nms_thresh: Annotated[float, Field(ge=0, le=1)] | None = None
    min_area_px: Index | None = None
    max_area_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    objectness_thresh: Annotated[float, Field(ge=0, le=1)] | None = None
    mask_format: MaskFormat = "rle"

    def config(self) -> AutoMaskConfig | None:
        """The configuration; None for the default."""
        given = self.model_dump(exclude={"preset", "mask_format"}, exclude_none=True)
        base = AutoMaskConfig() if self.preset is None else PRESETS[self.preset]
        if self.preset is None and not given:
            return None
        return AutoMaskConfig(**{**vars(base), **given})


class FramePrompt(Model):
    frame: Index
    object_id: Annotated[int, Field(ge=0, le=MAX_INT32)] = 1
    points: Annotated[list[Point], Field(max_length=MAX_PROMPTS)] | None = None
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MAX_PROMPTS)] | None = None
    box: Box | None = None

    def arguments(self) -> dict[str, Any]:
        """Arguments of `Video.prompt`."""
        return {
            "index": self.frame,
            "object_id": self.object_id,
            "points": self.points,
            "labels": self.labels,
            "boxes": self.box,
        }


class TrackRequest(Model):
    prompts: Annotated[list[FramePrompt], Field(min_length=1, max_length=MAX_PROMPTS)]
    reverse: bool = Field(False, description="whether to follow the objects backwards, too")
    non_overlapping: bool = False
    stop: Index | None = Field(None, description="frame to stop before")
    mask_format: MaskFormat = "rle"


class Rle(BaseModel):
    size: Size
    counts: str


class Mask(BaseModel):
    """A mask as COCO stores it; with `mask_format` png, `png` instead of `segmentation`."""

    segmentation: Rle | None = None
    png: str | None = Field(None, description="base64")
    area: int
    bbox: list[int] = Field(min_length=4, max_length=4, description="x, y, width, height")
    score: float = Field(description="predicted IoU")
    phrase: str | None = None
    phrase_score: float | None = None


class Candidates(BaseModel):
    masks: list[Mask]


class EmbedAnswer(BaseModel):
    image: str = Field(description="the hash by which requests may name the image")
    size_hw: Size
    cached: bool = Field(description="whether the embedding was there already")


class PredictAnswer(BaseModel):
    image: str
    size_hw: Size
    batched: bool = Field(description="whether the prompts had a prompt axis")
    answers: list[Candidates] = Field(description="one for each prompt")
    logits: Array | None = None


class ModelAnswer(BaseModel):
    """The model that is served, and the server's limits."""

    description: dict[str, str | int]
    encoder_checksum: str
    reads_text: bool
    workers_ready: int
    max_queue: int
    max_image_mb: int
    max_video_mb: int
    timeout_s: float


class Health(BaseModel):
    status: str


class Problem(BaseModel):
    """What is wrong, as RFC 9457 writes it."""

    type: str = Field(description="urn:samkit:error: and the name of the error")
    title: str
    status: int
    detail: str = Field(description="one line")


def body_of(settings: type[BaseModel], *, file: str) -> dict[str, Any]:
    """The forms of a request's body: settings with a file, settings alone, or a file alone."""
    schema = settings.model_json_schema()
    schema = inlined(schema, schema.pop("$defs", {}))
    upload = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {file: upload, "request": schema}}
    forms: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if "image" in settings.model_fields:
        forms["application/json"] = {"schema": schema}
    if not any(field.is_required() for field in settings.model_fields.values()):
        forms["application/octet-stream"] = {"schema": upload}
    return {"requestBody": {"required": True, "content": forms}}


def inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions in the place of references to them, which OpenAPI keeps elsewhere."""
    if isinstance(schema, list):
        return [inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: inlined(part, definitions) for name, part in schema.items()}


SETTINGS_OF = {
    "embed": body_of(EmbedRequest, file="image"),
    "predict": body_of(PredictRequest, file="image"),
    "text": body_of(TextRequest, file="image"),
    "auto": body_of(AutoRequest, file="image"),
    "track": body_of(TrackRequest, file="video"),
}
