"""Embed once, prompt many times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from samkit.backends import Backend, create_backend
from samkit.backends.base import Memory
from samkit.errors import EmbeddingError, PromptError, WeightsError
from samkit.formats import ImageLike, read_image
from samkit.geometry import CoordMap
from samkit.models import Sam
from samkit.models.mask_decoder import AMBIGUOUS_MASKS, SINGLE_MASK, Attended
from samkit.predict.preprocess import normalise, resize_image
from samkit.predict.text_prompts import Corrections, Text, TextReader
from samkit.types import ImageEmbedding, MaskPrediction, Prompts
from samkit.weights.checkpoint import TextEncoder, weights_sha256, weights_sha256_of_bytes
from samkit.weights.load import load_model

if TYPE_CHECKING:  # transformers takes seconds to import
    from samkit.text import TextModel

DEFAULT_MODEL = "mobile_sam"
# Prompts decoded together. Each takes 4 MB for its image tokens and some 20 MB on the way, and on a
# CPU larger batches leave the cache and are slower for each prompt.
PROMPTS_AT_ONCE = 4
CONTEXTS_CACHED = 8


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
        embedding = predictor.embed("image.jpg")
        result = predictor.predict(embedding, points=[[500, 375]], labels=[1])
        result.best().masks

    Embeddings are values that may be kept, saved and reused; a predictor answers the same to the
    same, in any order, and may be called from several threads, of which one encodes and one decodes
    at a time.

    Attributes:
        model: the network in float32, in evaluation mode.
        model_name: its name in `samkit.models.CONFIGS`.
        backend: what runs the image encoder and the mask decoder.
        contexts_cached: most images of which the decoder's memory is kept, 10 MB each, while their
            embeddings are in use; a click on one that is not costs three times as much.
    """

    def __init__(
        self,
        model: Sam,
        *,
        model_name: str,
        backend: Backend | None = None,
        text_encoder: TextEncoder | None = None,
        text_model: TextModel | str | os.PathLike[str] | None = None,
    ) -> None:
        """Put a network into evaluation mode, and choose what runs it.

        Args:
            model: the network, float32.
            model_name: see above.
            backend: by default torch in float32.
            text_encoder: the CLIP that its text prompts are of; None without.
            text_model: what reads text, or its folder or name; see `load`.
        """
        self.model = model.eval()
        self.model_name = model_name
        self.backend = backend or create_backend(model, backend="torch", precision="float32")
        self._reader = TextReader(
            model_name, text_encoder, text_model, device=self.backend.info.device
        )
        self.contexts_cached = CONTEXTS_CACHED
        # What the decoder remembers of images while their embeddings are in use, last used last.
        self._contexts: WeakKeyDictionary[ImageEmbedding, Memory] = WeakKeyDictionary()
        # An engine serves one caller of its encoder and one of its decoder at a time: clicks need
        # not wait until another image is encoded.
        self._encoding, self._decoding = Lock(), Lock()

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str | None = None,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        text_model: str | os.PathLike[str] | None = None,
    ) -> Predictor:
        """Load a model by name or from a checkpoint file.

        Args:
            source: "mobile_sam" (in the package), "sam_vit_b", "sam_vit_l", "sam_vit_h" (fetched
                when they are not on this disk), or a `.safetensors`, `.pth` or `.pt` file.
            device: "cpu", "cuda", ...; by default a GPU where there is one.
            backend: "auto", "torch", "compile", "openvino" or "onnx"; see
                `samkit.backends.create_backend`.
            precision: "auto", "float32", "bfloat16" or "float16".
            threads: on a CPU; by default the backend's own choice.
            text_model: what reads text, a folder or a name on the hub, loaded when first needed: a
                CLIP for a model that takes text (by default its own), or a detector such as
                "IDEA-Research/grounding-dino-tiny" for any (by default that for other models).

        Raises:
            WeightsError: unknown, missing, damaged or unfitting weights.
            BackendError: the backend, precision or device is not to be had here.
        """
        loaded = load_model(source)
        chosen = create_backend(
            loaded.model, backend=backend, precision=precision, threads=threads, device=device
        )
        return cls(
            loaded.model,
            model_name=loaded.name,
            backend=chosen,
            text_encoder=loaded.text_encoder,
            text_model=text_model,
        )

    def describe(self) -> dict[str, str | int]:
        """What runs: model, backend, precision, device, threads (0: the backend's own choice)."""
        return {"model": self.model_name, **asdict(self.backend.info)}

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The CLIP that the network's text prompts are of; None for one that takes no text."""
        return self._reader.own

    @property
    def text_model(self) -> TextModel:
        """What reads text, loaded when first asked for; see `TextReader.model`."""
        return self._reader.model

    @property
    def reads_as_tokens(self) -> bool:
        """Whether words become prompt tokens; else a detector finds boxes."""
        from samkit.text import Detector

        return not isinstance(self.text_model, Detector)

    @cached_property
    def encoder_checksum(self) -> str:
        """SHA-256 of the image encoder's weights, which kept embeddings carry.

        Computed once: after training an encoder in place, make a new predictor.
        """
        return weights_sha256(self.model.image_encoder)

    @cached_property
    def former_checksum(self) -> str:
        """What embeddings of the same encoder carry that were saved by earlier versions."""
        return weights_sha256_of_bytes(self.model.image_encoder)

    def frames(self, image: npt.NDArray[np.uint8]) -> CoordMap:
        """The frames of an image (H, W, 3) for this model."""
        height, width = image.shape[:2]
        return CoordMap(original_hw=(height, width), model_size=self.model.config.image_size)

    @torch.no_grad()
    def embed(self, image: ImageLike) -> ImageEmbedding:
        """Run the image encoder: the expensive step, once for each image.

        Args:
            image: path, PIL image or array; see `samkit.formats.read_image`.

        Raises:
            ImageError: the image cannot be read.
        """
        rgb = read_image(image)
        coords = self.frames(rgb)
        pixels = normalise(resize_image(rgb, coords), coords.model_size)
        with self._encoding:
            features = self.backend.encode(pixels)
        embedding = ImageEmbedding(
            features=features,
            coords=coords,
            model_name=self.model_name,
            encoder_checksum=self.encoder_checksum,
        )
        with self._decoding:
            self._memory(embedding)  # so that the first prompt need not wait for it
        return embedding

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        text: Text | None = None,
        image: ImageLike | None = None,
        text_thresh: float | None = None,
        multimask: bool = True,
    ) -> MaskPrediction:
        """Answer one prompt, or a batch of P prompts with a leading axis.

        What a text is answered with always has a prompt axis. Words are answered with their phrase
        and a score for each prompt: one prompt for each phrase where the model takes text (the
        score is the predicted IoU), one for each thing that a detector finds, which may be none or
        many. What else is given goes with a single phrase, or, with a prompt axis, with each of
        several. With a detector, points correct the box that they are in, or stand alone where they
        are in none; a mask may go with them.

        Args:
            embedding: of the image, from `embed` of the same model.
            points: (N, 2) or (P, N, 2), xy in pixels of the image.
            labels: (N,) or (P, N): 1 foreground, 0 background.
            boxes: (4,) or (P, 4), x0 y0 x1 y1 in pixels of the image.
            mask_logits: (S, S), (1, S, S) or (P, 1, S, S) of an earlier answer's `logits`.
            text: a phrase or phrases, such as "a red car"; or CLIP's vectors (D,) or (P, D) of
                anything, also of a picture, for a model that takes text.
            image: the image itself, which a detector needs.
            text_thresh: least score of what a detector finds; by default the detector's own.
            multimask: three candidates, for prompts that may mean several things, such as a
                single click; else one.

        Returns:
            logits (M, S, S), iou_pred (M,) and masks (M, H, W), all with a leading P for a batch.

        Raises:
            PromptError: what does not make a prompt on this image.
            EmbeddingError: the embedding is another model's.
            ConfigError, WeightsError, DownloadError: of `text_model`.
        """
        if text is not None:
            corrections = Corrections(
                points=points, labels=labels, boxes=boxes, mask_logits=mask_logits
            )
            self.check_embedding(embedding)
            return self._reader.answer(
                self,
                embedding,
                text,
                corrections,
                image=image,
                thresh=text_thresh,
                multimask=multimask,
            )
        prompts = Prompts.of(points=points, labels=labels, boxes=boxes, mask_logits=mask_logits)
        return self.decode(embedding, prompts, multimask=multimask)

    @torch.no_grad()
    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool = True
    ) -> MaskPrediction:
        """Answer checked prompts; see `predict`."""
        self.check_embedding(embedding)
        prompts.check_fits(embedding.coords)
        self._check_text(prompts)
        chosen = AMBIGUOUS_MASKS if multimask else SINGLE_MASK
        logits, iou_pred = [], []
        with self._decoding:
            for attended in self._attend(embedding, prompts):
                masks = self.backend.upscale(attended.image, attended.kernels[:, chosen])
                logits.append(masks.cpu().numpy().copy())
                iou_pred.append(attended.iou_pred[:, chosen].cpu().numpy().copy())
        all_logits, all_iou = np.concatenate(logits), np.concatenate(iou_pred)
        return MaskPrediction(
            logits=all_logits if prompts.batched else all_logits[0],
            iou_pred=all_iou if prompts.batched else all_iou[0],
            coords=embedding.coords,
        )

    def _attend(self, embedding: ImageEmbedding, prompts: Prompts) -> Iterator[Attended]:
        """Run prompt encoder and decoder's transformer, a few prompts at a time."""
        coords, points, boxes = embedding.coords, prompts.points_xy, prompts.boxes_xyxy
        encoder = self.model.prompt_encoder
        sparse = encoder.embed_sparse(
            len(prompts),
            text_embeds=self._tensor(prompts.text_embeds),
            points_xy=self._tensor(None if points is None else coords.points_to_model(points)),
            labels=self._tensor(prompts.labels),
            boxes_xyxy=self._tensor(None if boxes is None else coords.boxes_to_model(boxes)),
        )
        memory = self._memory(embedding) if prompts.mask_logits is None else None
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            some = slice(start, start + PROMPTS_AT_ONCE)
            if prompts.mask_logits is None:
                yield self.backend.attend(sparse[some], memory)
            else:
                dense = encoder.embed_mask(self._tensor(prompts.mask_logits[some]))
                image = (embedding.features.to(sparse.device) + dense).flatten(2).transpose(1, 2)
                yield self.backend.attend_own(sparse[some], image)

    def _memory(self, embedding: ImageEmbedding) -> Memory:
        """What the decoder remembers of an image for prompts without a mask, made once."""
        memory = self._contexts.pop(embedding, None)
        if memory is None:
            dense = self.model.prompt_encoder.embed_mask(None)
            memory = self.backend.remember(embedding.features.to(dense.device), dense)
            too_many = max(0, len(self._contexts) + 1 - self.contexts_cached)
            for oldest in list(self._contexts)[:too_many]:
                del self._contexts[oldest]
        self._contexts[embedding] = memory
        return memory

    def _tensor(self, array: npt.NDArray[Any] | None) -> torch.Tensor | None:
        """An array as float32 on the prompt encoder's device."""
        if array is None:
            return None
        device = self.model.prompt_encoder.no_mask_embed.weight.device
        return torch.as_tensor(array, dtype=torch.float32, device=device)

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
            embedding: of the image.
            points_xy: (P, 2) in pixels of the image.
            iou_thresh: masks with a lower predicted IoU are left out, and cost less.

        Returns:
            the K masks that are left, ordered by point.
        """
        prompts = Prompts.of(points=points_xy[:, None], labels=np.ones((len(points_xy), 1)))
        self.check_embedding(embedding)
        prompts.check_fits(embedding.coords)
        side = embedding.coords.logits_size
        logits, iou_pred = [np.zeros((0, side, side), np.float32)], [np.zeros(0, np.float32)]
        points, start = [np.zeros(0, np.int64)], 0
        with self._decoding:
            for attended in self._attend(embedding, prompts):
                iou = attended.iou_pred[:, AMBIGUOUS_MASKS].cpu().numpy()
                confident = iou >= iou_thresh
                for some in runs(np.asarray(confident.any(axis=1))):  # only these are upscaled
                    kernels = attended.kernels[some, AMBIGUOUS_MASKS]
                    masks = self.backend.upscale(attended.image[some], kernels).cpu().numpy()
                    kept = confident[some]
                    logits.append(masks[kept])
                    iou_pred.append(iou[some][kept])
                    points.append(start + some.start + np.nonzero(kept)[0])
                start += len(iou)
        return PointMasks(
            logits=np.concatenate(logits),
            iou_pred=np.concatenate(iou_pred),
            point_index=np.concatenate(points),
        )

    def _check_text(self, prompts: Prompts) -> None:
        """Raise an error if prompts have text that the network does not take."""
        if prompts.text_embeds is None:
            return
        expected, got = self.model.config.text_dim, prompts.text_embeds.shape[1]
        if expected is None:
            raise WeightsError(
                f"{self.model_name} has no text weights, and takes no vectors of CLIP: train them"
                " (samkit train text), or give words and let a detector find boxes"
            )
        if got != expected:
            raise PromptError(f"text_embeds must be (P, {expected}) for this model; got (P, {got})")

    def check_embedding(self, embedding: ImageEmbedding) -> None:
        """Raise an EmbeddingError if an embedding is not of this model's image encoder."""
        # What is seldom needed is computed only then.
        checksum = embedding.encoder_checksum
        if checksum != self.encoder_checksum and checksum != self.former_checksum:  # noqa: PLR1714
            raise EmbeddingError(
                f"the embedding was made by {embedding.model_name}"
                f" ({embedding.encoder_checksum[:12]}), not by this {self.model_name}"
                f" ({self.encoder_checksum[:12]}): embed the image again with this model"
            )


def runs(flags: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """The stretches of true flags (N,), in order."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    for start, stop in edges.reshape(-1, 2).tolist():
        yield slice(start, stop)
