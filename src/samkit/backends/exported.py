"""Exported models: a folder with an image encoder and a decoder that takes prompts, and their run.

The decoder has the inputs that programs around SAM's ONNX files know, and answers a prompt in one
call; see `samkit.export` for the layout. Shape legend: P prompts, N points, M masks, C channels,
G side of the embedding, S side of the model space, L side of mask logits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from samkit.backends.base import BackendInfo
from samkit.backends.choose import check_installed, is_installed
from samkit.backends.runtimes import Part, open_part
from samkit.errors import BackendError, WeightsError
from samkit.models import (
    CONFIGS,
    ImageFeatures,
    MaskAnswer,
    PromptEmbeddings,
    PromptTensors,
    Sam2,
    build_sam,
    without_values,
)

METADATA = "samkit.json"
EXPORT_FORMAT = "samkit-export-1"
ENCODER, DECODER = "encoder", "decoder"
VIDEO_PARTS = (
    "memory_encoder",
    "memory_attention",
    "object_decoder",
    "object_pointers",
    "mask_prompt",
)
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
# Runtimes that read each format.
RUNTIMES = {"onnx": ("onnx", "openvino"), "openvino": ("openvino",), "torch": ("torch",)}
# Names of an image's features, the finest first; SAM has the last one.
FEATURES = ("high_res_feats_0", "high_res_feats_1", "image_embeddings")
# Labels of the decoder's points: background, foreground, the corners of a box, none.
TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 2, 3, -1


@dataclass(frozen=True, kw_only=True)
class ExportedFolder:
    """What an exported folder says of itself.

    Attributes:
        config: name in `samkit.models.CONFIGS`.
        model: name of the model that was exported.
        format: "onnx", "openvino" or "torch".
        precision: of its weights.
        encoder_checksum, former_checksum: of the image encoder's weights; see `samkit.Predictor`.
        iou_thresh: see `samkit.Predictor`.
    """

    folder: Path
    config: str
    model: str
    format: str
    precision: str
    encoder_checksum: str
    former_checksum: str
    iou_thresh: float

    @classmethod
    def read(cls, folder: Path) -> ExportedFolder:
        """Read a folder's metadata.

        Raises:
            WeightsError: it is no exported folder, or not complete.
        """
        path = folder / METADATA
        try:
            content = json.loads(path.read_bytes())
            found = cls(folder=folder, **content["samkit"])
            is_known = content["format"] == EXPORT_FORMAT
        except FileNotFoundError as error:
            raise WeightsError(
                f"{folder} is a folder without {METADATA}: give a checkpoint file, or a folder that"
                " samkit export wrote"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} is damaged, or of another version: {error}") from error
        if not is_known or found.config not in CONFIGS or found.format not in SUFFIXES:
            raise WeightsError(f"{path} is of another version of samkit: export the model again")
        for part in (ENCODER, DECODER):
            found.check(part, "encoder,decoder")
        return found

    def check(self, part: str, parts: str) -> None:
        """Raise a WeightsError that names the parts to export unless a part is there."""
        if not self.path(part).is_file():
            raise WeightsError(f"{self.path(part)} is missing: export with --parts {parts}")

    def path(self, part: str) -> Path:
        """File of a part."""
        return self.folder / f"{part}{SUFFIXES[self.format]}"


def is_exported(source: object) -> bool:
    """Whether a source of a model is a folder."""
    return isinstance(source, str | Path) and Path(source).is_dir()


class ExportedContext(NamedTuple):
    """An image, and the masks (P, 1, L, L) of prompts that have some."""

    features: ImageFeatures
    mask_logits: Tensor | None


class ExportedAnswer(NamedTuple):
    """Masks (P, M, L, L) and predicted IoUs (P, M) of some prompts."""

    logits: Tensor
    iou_pred: Tensor

    def rows(self, index: Any) -> ExportedAnswer:
        """Select prompts by a slice or an index."""
        return ExportedAnswer(self.logits[index], self.iou_pred[index])


class ExportedBackend:
    """Runs the parts of an exported folder on the CPU.

    Attributes:
        model: the network's shapes, without weights.
    """

    def __init__(self, exported: ExportedFolder, *, runtime: str, threads: int | None) -> None:
        """Open the parts.

        Args:
            runtime: "auto": that of the format, or OpenVINO if ONNX Runtime is not installed;
                "onnx" or "openvino".

        Raises:
            BackendError: the runtime is not installed, or does not read the format.
            WeightsError: a part is damaged.
        """
        chosen = choose_runtime(exported, runtime)
        self.exported = exported
        self.info = BackendInfo(
            backend=chosen, precision=exported.precision, device="cpu", threads=threads or 0
        )
        with without_values():
            self.model = build_sam(CONFIGS[exported.config])
        self._encoder, self._decoder = self.open(ENCODER), self.open(DECODER)

    def open(self, part: str) -> Part:
        """Open a part of the folder."""
        return open_part(
            self.exported.path(part), runtime=self.info.backend, threads=self.info.threads
        )

    def open_video(self) -> tuple[Part, ...]:
        """Open the parts for videos, in the order of `VIDEO_PARTS`.

        Raises:
            WeightsError: they were not exported, or are damaged.
        """
        for part in VIDEO_PARTS:
            self.exported.check(part, "encoder,decoder,video")
        return tuple(self.open(part) for part in VIDEO_PARTS)

    def check_process(self) -> None:
        """Nothing to check: parts are opened by each process."""

    def encode(self, pixels: Tensor) -> ImageFeatures:
        found = self._encoder({"images": pixels.numpy()})
        return ImageFeatures(
            tuple(torch.from_numpy(found[name]) for name in FEATURES if name in found)
        )

    def encode_levels(self, pixels: Tensor) -> ImageFeatures:
        """The features alone: exported encoders have no intermediate levels."""
        return self.encode(pixels)

    def embed_prompts(self, prompts: PromptTensors) -> PromptEmbeddings:
        """Points of all kinds (P, N, 3), see `as_points`; and masks."""
        return PromptEmbeddings(
            as_points(prompts, pads=not isinstance(self.model, Sam2)), prompts.mask_logits
        )

    def prepare(self, features: ImageFeatures, dense: Tensor | None = None) -> ExportedContext:
        return ExportedContext(features.to("cpu").float(), dense)

    def attend(self, sparse: Tensor, context: ExportedContext) -> ExportedAnswer:
        found = self._decoder(decoder_inputs(context.features, sparse, context.mask_logits))
        logits, iou_pred = found["low_res_masks"], found["iou_predictions"]
        return ExportedAnswer(torch.from_numpy(logits), torch.from_numpy(iou_pred))

    def select(self, attended: ExportedAnswer, *, multimask: bool) -> ExportedAnswer:
        masks = slice(1, None) if multimask else slice(0, 1)
        return ExportedAnswer(attended.logits[:, masks], attended.iou_pred[:, masks])

    def upscale(self, attended: ExportedAnswer, context: ExportedContext) -> MaskAnswer:  # noqa: ARG002
        return MaskAnswer(logits=attended.logits, iou_pred=attended.iou_pred)


def as_points(prompts: PromptTensors, *, pads: bool) -> Tensor:
    """Points of all kinds (P, N, 3), x, y and label, which an exported decoder embeds.

    Args:
        prompts: prompts in the model space.
        pads: whether prompts with points alone end with a padding point; decoders of a SAM 2 add
            it to all.
    """
    points = [torch.zeros(prompts.num_prompts, 0, 3)]
    if prompts.points_xy is not None and prompts.labels is not None:
        labels = prompts.labels[..., None].float()
        points.append(torch.cat([prompts.points_xy.float(), labels], dim=-1))
    if prompts.boxes_xyxy is not None:
        corners = prompts.boxes_xyxy.float().view(-1, 2, 2)
        labels = torch.tensor([[TOP_LEFT], [BOTTOM_RIGHT]]).expand(len(corners), 2, 1)
        points.append(torch.cat([corners, labels.float()], dim=-1))
    elif pads and len(points) > 1:
        points.append(torch.tensor([0.0, 0.0, NO_POINT]).expand(prompts.num_prompts, 1, 3))
    return torch.cat(points, dim=1)


def decoder_inputs(
    features: ImageFeatures, points: Tensor, mask_logits: Tensor | None
) -> dict[str, np.ndarray]:
    """Inputs of an exported decoder for prompts (P, N, 3) of points with labels."""
    side = 4 * features.grid.shape[-1]
    masks = torch.zeros(1, 1, side, side) if mask_logits is None else mask_logits
    names = FEATURES[-len(features.levels) :]
    return {
        **{name: level.numpy() for name, level in zip(names, features.levels, strict=True)},
        "point_coords": points[..., :2].contiguous().numpy(),
        "point_labels": points[..., 2].contiguous().numpy(),
        "mask_input": masks.float().contiguous().numpy(),
        "has_mask_input": np.array([float(mask_logits is not None)], np.float32),
        # The masks at an image's size are not used here: as small as can be.
        "orig_im_size": np.array([1.0, 1.0], np.float32),
    }


def choose_runtime(exported: ExportedFolder, runtime: str) -> str:
    """The runtime of an exported folder: the one that is asked for, or that of its format.

    Raises:
        BackendError: it is not installed, or does not read the format.
    """
    if runtime == "auto":
        runtime = exported.format
        if runtime == "onnx" and not is_installed("onnx") and is_installed("openvino"):
            runtime = "openvino"
    if runtime not in RUNTIMES[exported.format]:
        raise BackendError(
            f"{exported.folder} holds {exported.format} files, which backend {runtime!r} does not"
            f" run: leave it out"
        )
    check_installed(runtime)
    return runtime
