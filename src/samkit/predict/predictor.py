"""Embed once, prompt many times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from samkit.errors import EmbeddingError, SamkitError
from samkit.formats import ImageLike, read_image
from samkit.geometry import CoordMap
from samkit.models import Sam
from samkit.predict.preprocess import normalise, resize_photo
from samkit.types import ImageEmbedding, MaskPrediction, Prompts
from samkit.weights.checkpoint import weights_sha256
from samkit.weights.load import load_model

DEFAULT_MODEL = "mobile_sam"
# Prompts decoded together: each takes about 30 MB while it is decoded, and on a CPU larger
# batches leave the cache and are slower for each prompt.
PROMPTS_AT_ONCE = 8
REASON_LENGTH = 120  # of what torch says of a device; some of it is a page


@dataclass(frozen=True, kw_only=True, eq=False)
class PointMasks:
    """Masks that lone points have been answered with.

    Attributes:
        logits: (K, S, S) float32.
        iou_pred: (K,).
        point_index: (K,) which of the points each mask answers.
    """

    logits: npt.NDArray[np.float32]
    iou_pred: npt.NDArray[np.float32]
    point_index: npt.NDArray[np.int64]


class Predictor:
    """Segments what prompts point at.

        predictor = samkit.Predictor.load()
        embedding = predictor.embed("photo.jpg")
        result = predictor.predict(embedding, points=[[500, 375]], labels=[1])
        result.best().masks

    A predictor keeps no state between calls; embeddings are values that may be kept, saved and
    reused.

    Attributes:
        model: the network, in evaluation mode.
        model_name: its name in `samkit.models.CONFIGS`.
        device: where it runs.
    """

    def __init__(self, model: Sam, *, model_name: str, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.model_name = model_name

    @classmethod
    def load(
        cls, source: str | os.PathLike[str] = DEFAULT_MODEL, *, device: str | None = None
    ) -> Predictor:
        """Load a model by name or from a checkpoint file.

        Args:
            source: "mobile_sam" (in the package), "sam_vit_b", "sam_vit_l", "sam_vit_h" (fetched
                when they are not on this disk), or a `.safetensors`, `.pth` or `.pt` file.
            device: "cpu", "cuda", ...; by default a GPU where there is one.

        Raises:
            WeightsError: unknown, missing, damaged or unfitting weights.
            SamkitError: the device is not there.
        """
        chosen = choose_device(device)
        loaded = load_model(source)
        return cls(loaded.model, model_name=loaded.name, device=chosen)

    @cached_property
    def encoder_checksum(self) -> str:
        """SHA-256 of the image encoder's weights, which kept embeddings carry.

        Computed once: after training an encoder in place, make a new predictor.
        """
        return weights_sha256(self.model.image_encoder)

    def frames(self, photo: npt.NDArray[np.uint8]) -> CoordMap:
        """The frames of a photo (H, W, 3) for this model."""
        height, width = photo.shape[:2]
        return CoordMap(original_hw=(height, width), model_size=self.model.config.image_size)

    @torch.no_grad()
    def embed(self, image: ImageLike) -> ImageEmbedding:
        """Run the image encoder: the expensive step, once for each photo.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.

        Raises:
            ImageError: the photo cannot be read.
        """
        photo = read_image(image)
        coords = self.frames(photo)
        pixels = normalise(resize_photo(photo, coords), coords.model_size)
        return ImageEmbedding(
            features=self.model.encode(pixels.to(self.device)),
            coords=coords,
            model_name=self.model_name,
            encoder_checksum=self.encoder_checksum,
        )

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        multimask: bool = True,
    ) -> MaskPrediction:
        """Answer one prompt, or a batch of P prompts with a leading axis.

        Args:
            embedding: of the photo, from `embed` of the same model.
            points: (N, 2) or (P, N, 2), xy in pixels of the photo.
            labels: (N,) or (P, N): 1 foreground, 0 background.
            boxes: (4,) or (P, 4), x0 y0 x1 y1 in pixels of the photo.
            mask_logits: (S, S), (1, S, S) or (P, 1, S, S) of an earlier answer's `logits`.
            multimask: three candidates, for prompts that may mean several things, such as a
                single click; else one.

        Returns:
            logits (M, S, S), iou_pred (M,) and masks (M, H, W), all with a leading P for a batch.

        Raises:
            PromptError: what does not make a prompt on this photo.
            EmbeddingError: the embedding is another model's.
        """
        prompts = Prompts.of(points=points, labels=labels, boxes=boxes, mask_logits=mask_logits)
        return self.decode(embedding, prompts, multimask=multimask)

    @torch.no_grad()
    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool = True
    ) -> MaskPrediction:
        """Answer checked prompts; see `predict`."""
        self.check_embedding(embedding)
        coords = embedding.coords
        prompts.check_fits(coords)
        features = embedding.features.to(self.device)
        points, boxes = prompts.points_xy, prompts.boxes_xyxy
        whole_batch = {
            "points_xy": self._tensor(None if points is None else coords.points_to_model(points)),
            "labels": None if prompts.labels is None else torch.as_tensor(prompts.labels),
            "boxes_xyxy": self._tensor(None if boxes is None else coords.boxes_to_model(boxes)),
            "mask_logits": self._tensor(prompts.mask_logits),
        }
        logits, iou_pred = [], []
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            chosen = slice(start, start + PROMPTS_AT_ONCE)
            part = {
                name: None if value is None else value[chosen].to(self.device)
                for name, value in whole_batch.items()
            }
            part_logits, part_iou = self.model.decode(features, **part, multimask=multimask)
            logits.append(part_logits.float().cpu().numpy())
            iou_pred.append(part_iou.float().cpu().numpy())
        all_logits, all_iou = np.concatenate(logits), np.concatenate(iou_pred)
        return MaskPrediction(
            logits=all_logits if prompts.batched else all_logits[0],
            iou_pred=all_iou if prompts.batched else all_iou[0],
            coords=coords,
        )

    @torch.no_grad()
    def decode_points(
        self,
        embedding: ImageEmbedding,
        points_xy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """Answer many lone foreground points, each with three masks; keep the confident masks.

        Args:
            embedding: of the photo.
            points_xy: (P, 2) in pixels of the photo.
            iou_thresh: masks with a lower predicted IoU are left out, and cost less.

        Returns:
            the K masks that are left, ordered by point.
        """
        answer = self.predict(
            embedding, points=points_xy[:, None], labels=np.ones((len(points_xy), 1))
        )
        point, candidate = np.nonzero(answer.iou_pred >= iou_thresh)
        return PointMasks(
            logits=answer.logits[point, candidate],
            iou_pred=answer.iou_pred[point, candidate],
            point_index=point,
        )

    def check_embedding(self, embedding: ImageEmbedding) -> None:
        """Raise an EmbeddingError if an embedding is not of this model's image encoder."""
        if embedding.encoder_checksum != self.encoder_checksum:
            raise EmbeddingError(
                f"the embedding was made by {embedding.model_name}"
                f" ({embedding.encoder_checksum[:12]}), not by this {self.model_name}"
                f" ({self.encoder_checksum[:12]}): embed the photo again with this model"
            )

    @staticmethod
    def _tensor(array: npt.NDArray[np.floating] | None) -> torch.Tensor | None:
        return None if array is None else torch.as_tensor(array, dtype=torch.float32)


def choose_device(device: str | None) -> torch.device:
    """The asked-for device, or the best there is.

    Raises:
        SamkitError: it is not there.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()  # also refuses "meta", which holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:  # as torch's back ends please
        reason = str(error).strip().split("\n")[0][:REASON_LENGTH]
        raise SamkitError(f"device {device!r} cannot be used: {reason}") from error
    return chosen
