"""Predictor: embed an image once, prompt it many times."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from samkit.arrays import RgbImage
from samkit.backends import Backend, BackendChoice, create_backend, enter_process
from samkit.errors import EmbeddingError, WeightsError
from samkit.formats import ImageLike, RangeLike, read_image
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures, Sam
from samkit.predict.crops import CropCache
from samkit.predict.decoder import PointMasks, PromptDecoder
from samkit.predict.encoder import SharedEncoder
from samkit.predict.loading import load_network
from samkit.predict.origin import Origin, backend_choice, described, load_again
from samkit.predict.preprocess import normalise, resize_image
from samkit.predict.refine import Refine, Refiner, check_refine
from samkit.predict.session import ImageSession
from samkit.predict.text_prompts import Text, TextPrompts, TextReader, check_text_embeds
from samkit.types import ImageEmbedding, MaskPrediction, Prompts
from samkit.weights import (
    DEFAULT_MODEL,
    PUBLISHED_IOU_THRESH,
    TextEncoder,
    weights_sha256,
    weights_sha256_of_bytes,
)

if TYPE_CHECKING:  # transformers takes seconds to import
    from samkit.text import TextModel


class Predictor:
    """Segments images by prompts.

        predictor = samkit.Predictor.load()
        embedding = predictor.embed("image.jpg")
        result = predictor.predict(embedding, points=[[500, 375]], labels=[1])
        result.best().masks

    Embeddings are values that may be stored and reused. A predictor gives the same answer to the
    same prompt, in any order, and may be called from several threads; one can encode while another
    decodes. It works in forked processes, on the CPU with one thread of PyTorch. Pickled, such as
    for a spawned process, it is its source and settings, and is loaded again; a deep copy has its
    own network and shares the text model.

    Attributes:
        model: the network in float32, in evaluation mode.
        model_name: its name in the catalog, or, if it is of a file, in `samkit.models.CONFIGS`.
        backend: runs the image encoder and the mask decoder.
        decoder: decodes prompts, and caches what is prepared for the images used last.
        crops: embeds crops of images, for `refine="best"`.
        iou_thresh: predicted IoU from which automatic masks are taken; a model that predicts how
            likely a mask is meant needs a lower one than one that predicts how clean it is.
    """

    def __init__(
        self,
        model: Sam,
        *,
        model_name: str,
        backend: Backend | None = None,
        text_encoder: TextEncoder | None = None,
        text_model: TextModel | str | os.PathLike[str] | None = None,
        iou_thresh: float = PUBLISHED_IOU_THRESH,
    ) -> None:
        """Create a predictor; the network, in float32, is put into evaluation mode.

        Args:
            backend: default torch in float32.
            text_encoder: the CLIP of the network's text prompts; None without.
            text_model: a text model, or its folder or name; see `load`.
            iou_thresh: predicted IoU from which automatic masks are taken.
        """
        self.iou_thresh = iou_thresh
        self.model = model.eval()
        self.model_name = model_name
        self.backend = backend or create_backend(model, backend="torch", precision="float32")
        self._reader = TextReader(
            model_name, text_encoder, text_model, device=self.backend.info.device
        )
        self.decoder = PromptDecoder(model, self.backend)
        self._encoder = SharedEncoder(self.backend)
        self.crops = CropCache(self._encode)
        self._origin: Origin | None = None

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
            source: "mobile_sam_tuned" or, as published, "mobile_sam" (both in the package);
                "sam_vit_b", "sam_vit_l", "sam_vit_h", "sam2.1_hiera_tiny", ... (downloaded unless
                they are on this disk; `samkit models` lists them); a `.safetensors`, `.pth` or
                `.pt` file; or a folder that `samkit export` wrote, whose graphs are run (of
                programs of PyTorch, the weights alone are read).
            device: "cpu", "cuda", ...; default: a GPU if there is one.
            backend: "auto", "torch", "compile", "openvino" or "onnx"; see
                `samkit.backends.create_backend`.
            precision: "auto", "float32", "bfloat16" or "float16".
            threads: CPU threads; default: the backend's choice.
            text_model: folder or hub name of a text model, loaded when first needed: a CLIP for a
                model that takes text (default: its own), or a detector such as
                "IDEA-Research/grounding-dino-tiny" for any model (the default for models without
                text).

        Raises:
            WeightsError: the weights are unknown, missing, damaged or do not fit.
            BackendError: the backend, precision or device is not available here.
        """
        enter_process()
        choice = BackendChoice(device=device, backend=backend, precision=precision, threads=threads)
        loaded = load_network(source, choice)
        predictor = cls(
            loaded.model,
            model_name=loaded.model_name,
            backend=loaded.backend,
            text_encoder=loaded.text_encoder,
            text_model=text_model,
            iou_thresh=loaded.iou_thresh,
        )
        if loaded.exported:
            predictor.encoder_checksum = loaded.exported.encoder_checksum
            predictor.former_checksum = loaded.exported.former_checksum
        predictor._origin = Origin.of(source, text_model)
        return predictor

    def describe(self) -> dict[str, str | int]:
        """Model, backend, precision, device and threads (0: the backend's choice) in use."""
        return {"model": self.model_name, **asdict(self.backend.info)}

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The CLIP of the network's text prompts; None for a network that takes no text."""
        return self._reader.own

    @property
    def text_model(self) -> TextModel:
        """The text model, loaded on first access; see `TextReader.model`."""
        return self._reader.model

    @property
    def reads_as_tokens(self) -> bool:
        """Whether words become prompt tokens; otherwise a detector finds boxes."""
        from samkit.text import Detector

        return not isinstance(self.text_model, Detector)

    @cached_property
    def encoder_checksum(self) -> str:
        """SHA-256 of the image encoder's weights, which saved embeddings carry.

        Computed once: after training an encoder in place, create a new predictor.
        """
        return weights_sha256(self.model.image_encoder)

    @cached_property
    def former_checksum(self) -> str:
        """The checksum of the same encoder in embeddings saved by earlier versions."""
        return weights_sha256_of_bytes(self.model.image_encoder)

    def coord_map(self, image: npt.NDArray[np.uint8]) -> CoordMap:
        """The coordinate spaces of an image (H, W, 3) for this model."""
        return CoordMap.of((image.shape[0], image.shape[1]), self.model.image_spec)

    def encode(self, image: ImageLike, *, value_range: RangeLike = "auto") -> ImageEmbedding:
        """Run the image encoder alone; see `embed`, which also prepares the decoder for prompts."""
        self._enter()
        rgb = read_image(image, value_range=value_range)
        embedding = self._encode(rgb)
        # The caller may change an array later.
        self.crops.add(embedding, rgb, copy=not isinstance(image, str | os.PathLike))
        return embedding

    @torch.no_grad()
    def _encode(self, rgb: RgbImage) -> ImageEmbedding:
        """Run the image encoder on pixels."""
        coords = self.coord_map(rgb)
        pixels = normalise(resize_image(rgb, coords), self.model.image_spec)
        return ImageEmbedding(
            features=self._encoder.encode(pixels),
            coords=coords,
            model_name=self.model_name,
            encoder_checksum=self.encoder_checksum,
        )

    @torch.no_grad()
    def encode_levels(self, rgb: RgbImage) -> tuple[ImageEmbedding, ImageFeatures]:
        """Run the image encoder on pixels; also return its intermediate levels, finest first.

        The embedding is that of `encode`; a model without such levels returns none.
        """
        self._enter()
        coords = self.coord_map(rgb)
        pixels = normalise(resize_image(rgb, coords), self.model.image_spec)
        levels = self._encoder.encode_levels(pixels).levels
        embedding = ImageEmbedding(
            features=ImageFeatures(levels[-1:]),
            coords=coords,
            model_name=self.model_name,
            encoder_checksum=self.encoder_checksum,
        )
        return embedding, ImageFeatures(levels[:-1])

    def embed(self, image: ImageLike, *, value_range: RangeLike = "auto") -> ImageEmbedding:
        """Run the image encoder: the expensive step, once per image.

        Args:
            image: path, PIL image, array or tensor; see `samkit.formats.read_image`.
            value_range: which values become black and white, likewise.

        Raises:
            ImageError: the image cannot be read.
        """
        embedding = self.encode(image, value_range=value_range)
        self.decoder.prepare(embedding)  # so that the first prompt does not wait for it
        return embedding

    def session(
        self,
        image: ImageLike,
        *,
        value_range: RangeLike = "auto",
        refine: Refine = "none",
        fine: bool = False,
    ) -> ImageSession:
        """Embed an image for interactive segmentation by clicks and boxes, with undo.

        Args:
            refine, fine: see `predict`.

        Raises:
            ConfigError: `refine` is unknown.
            ImageError: the image cannot be read.
        """
        check_refine(refine)
        if refine != "best" and not fine:
            return ImageSession(self, self.embed(image, value_range=value_range), refine=refine)
        pixels = read_image(image, value_range=value_range)
        return ImageSession(self, self.embed(pixels), refine=refine, fine=fine, image=pixels)

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        multimask: bool = True,
        refine: Refine = "none",
        fine: bool = False,
        image: ImageLike | None = None,
    ) -> MaskPrediction:
        """Answer one prompt, or a batch of P prompts with a leading axis.

        Each prompt of a batch gets the answer that it gets alone, however many points others have;
        a batch of 0 gets an empty answer.

        Args:
            embedding: result of `embed` of the same model.
            points: (2,), (N, 2) or (P, N, 2), xy in pixels of the image; for prompts of different
                lengths a list of P arrays (N_i, 2).
            labels: (N,), (P, N) or a list of P arrays (N_i,): 1 foreground, 0 background, -1 for
                padding, which is left out; default: all foreground.
            boxes: (4,) or (P, 4), x0 y0 x1 y1 in pixels of the image.
            mask_logits: (L, L), (1, L, L) or (P, 1, L, L) of an earlier answer's `logits`; or a
                mask of booleans, also of the image's size.
            multimask: three candidates, for prompts that may mean several things, such as a single
                click; otherwise one.
            refine: how single answers, those without `multimask`, are refined: "fast" corrects the
                mask where it contradicts clicks, in about a millisecond; "best", from the third
                click on, also takes a second pass and looks closer at objects that are small in the
                image. It embeds crops around them, which takes as long as embedding an image but is
                cached. See docs/quality.md for gain and cost.
            fine: whether masks follow the image's edges more finely than their logits can, which
                takes some ten milliseconds for each mask that is looked at; `logits` stay the same.
            image: the image for "best" and `fine`, as pixels if it was embedded with a
                `value_range`; default: what was embedded, if it is among the last ones (128 MB of
                pixels). With `fine` the answer refers to it: an array must not be changed.

        Returns:
            logits (M, L, L), iou_pred (M,) and masks (M, H, W), all with a leading P for a batch.

        Raises:
            PromptError: shapes are wrong, a prompt lies outside the image, or the image is needed
                and not cached.
            EmbeddingError: the embedding is of another model.
            ConfigError: `refine` is unknown.
        """
        self.check_embedding(embedding)
        prompts = Prompts.of(points=points, labels=labels, boxes=boxes, mask_logits=mask_logits)
        return self.decode(
            embedding, prompts, multimask=multimask, refine=refine, fine=fine, image=image
        )

    def predict_text(
        self,
        embedding: ImageEmbedding,
        text: Text,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        image: ImageLike | None = None,
        value_range: RangeLike = "auto",
        text_thresh: float | None = None,
        multimask: bool = True,
        fine: bool = False,
    ) -> MaskPrediction:
        """Answer text prompts; the answer always has a prompt axis.

        A model that takes text answers each phrase as one prompt, scored by its predicted IoU. For
        other models a detector finds boxes: one prompt per box, scored by the detector; there may
        be none. Points, boxes and masks go with a single phrase, or, with a prompt axis, with each
        of several. With a detector, points correct the box that contains them, or are used alone if
        no box does; a mask may go with them.

        Args:
            embedding: result of `embed` of the same model.
            text: a phrase or phrases, such as "a red car"; or CLIP embeddings (D,) or (P, D) of
                text or images, for a model that takes text.
            points, labels, boxes, mask_logits: see `predict`.
            image: the image, which a detector needs; for `fine` see `predict`.
            value_range: which of its values become black and white; see `embed`.
            text_thresh: minimum score of a detector's boxes; default: the detector's.
            multimask: three candidates instead of one.
            fine: see `predict`.

        Returns:
            logits (P, M, L, L), iou_pred (P, M) and masks (P, M, H, W), with `phrases` and
            `phrase_scores`, which are None for CLIP embeddings.

        Raises:
            PromptError: the text is invalid, or the other prompts do not fit it.
            EmbeddingError: the embedding is of another model.
            ConfigError, WeightsError, DownloadError: the text model cannot be loaded.
        """
        self._enter()
        self.check_embedding(embedding)
        parts = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
        is_alone = all(part is None for part in parts.values())
        others = None if is_alone else Prompts.of(**parts)
        resolved = self._reader.resolve(
            embedding, text, others, image=image, value_range=value_range, thresh=text_thresh
        )
        answer = self.decode_text(embedding, resolved, multimask=multimask)
        if not fine:
            return answer
        pixels = self._pixels(embedding, image, value_range=value_range, needed_by="fine=True")
        return replace(answer, guide=pixels)

    def decode_text(
        self, embedding: ImageEmbedding, text: TextPrompts, *, multimask: bool = True
    ) -> MaskPrediction:
        """Answer resolved text prompts; see `predict_text`."""
        answer = self.decode(embedding, text.prompts, multimask=multimask)
        if text.phrases is None:
            return answer
        scores = text.scores
        if scores is None:
            scores = answer.iou_pred.max(axis=1).clip(0, 1)
        return replace(answer, phrases=text.phrases, phrase_scores=scores)

    @torch.no_grad()
    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = True,
        refine: Refine = "none",
        fine: bool = False,
        image: ImageLike | None = None,
    ) -> MaskPrediction:
        """Answer validated prompts; see `predict`."""
        self._enter()
        self._check(embedding, prompts)
        check_refine(refine)
        prompts = prompts.with_logits(embedding.coords)
        pixels = None
        if refine == "best" or fine:
            needed_by = 'refine="best"' if refine == "best" else "fine=True"
            pixels = self._pixels(embedding, image, needed_by=needed_by)
        if refine != "none" and not multimask:
            refiner = Refiner(decoder=self.decoder, crops=self.crops)
            looked_at = pixels if refine == "best" else None
            answer = refiner.answer(embedding, prompts, pixels=looked_at)
        else:
            answer = self.decoder.decode(embedding, prompts, multimask=multimask)
        return replace(answer, guide=pixels) if fine else answer

    def _pixels(
        self,
        embedding: ImageEmbedding,
        image: ImageLike | None,
        *,
        value_range: RangeLike = "auto",
        needed_by: str,
    ) -> RgbImage:
        """The pixels of an embedded image; see `CropCache.pixels`."""
        given = None if image is None else read_image(image, value_range=value_range)
        return self.crops.pixels(embedding, given, needed_by=needed_by)

    def decode_points(
        self,
        embedding: ImageEmbedding,
        points_xy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """Answer many single foreground points with three masks each; return the confident masks.

        Args:
            points_xy: (P, 2) in pixels of the image.
            iou_thresh: masks with a lower predicted IoU are dropped, before the costly upscaling.

        Returns:
            the K confident masks, ordered by point.
        """
        self._enter()
        prompts = Prompts.of(points=points_xy[:, None], labels=np.ones((len(points_xy), 1)))
        self._check(embedding, prompts)
        return self.decoder.decode_confident(embedding, prompts, iou_thresh=iou_thresh)

    def decode_boxes(
        self,
        embedding: ImageEmbedding,
        boxes_xyxy: npt.NDArray[np.float64],
        *,
        iou_thresh: float,
    ) -> PointMasks:
        """Answer many boxes with one mask each; return the confident masks.

        Args:
            boxes_xyxy: (P, 4) in pixels of the image.
            iou_thresh: masks with a lower predicted IoU are dropped, before the costly upscaling.

        Returns:
            the K confident masks, ordered by box.
        """
        self._enter()
        prompts = Prompts.of(boxes=boxes_xyxy)
        self._check(embedding, prompts)
        return self.decoder.decode_confident(
            embedding, prompts, iou_thresh=iou_thresh, multimask=False
        )

    def with_decoder(self, model: Sam, *, model_name: str | None = None) -> Predictor:
        """Create a predictor with another prompt encoder and decoder and the same image encoder.

        Embeddings serve both. For a decoder that was trained further while this one is in use.

        Raises:
            WeightsError: the model has another image encoder.
        """
        if model.image_encoder is not self.model.image_encoder:
            checksum = weights_sha256(model.image_encoder)
            if checksum != self.encoder_checksum:
                raise WeightsError(
                    f"the decoder belongs to another image encoder ({checksum[:12]}) than this"
                    f" predictor's ({self.encoder_checksum[:12]})"
                )
        other = self._with_model(model, model_name=model_name, encoder=self._encoder)
        other.crops = self.crops
        return other

    def with_network(self, model: Sam, *, model_name: str | None = None) -> Predictor:
        """Create a predictor with another network of the same kind, on a backend like this one's.

        Embeddings serve one of them only, unless their image encoders are the same: then
        `with_decoder` shares it.
        """
        return self._with_model(model, model_name=model_name)

    def _with_model(
        self,
        model: Sam,
        *,
        model_name: str | None = None,
        encoder: SharedEncoder | None = None,
        origin: Origin | None = None,
    ) -> Predictor:
        """Create a predictor with another network on a backend like this one's; share the text."""
        other = Predictor(
            model,
            model_name=model_name or self.model_name,
            backend=create_backend(model, **backend_choice(self.backend).options()),
            text_encoder=self.text_encoder,
            iou_thresh=self.iou_thresh,
        )
        other._reader = self._reader
        other._encoder = encoder or other._encoder
        other._origin = origin
        other.decoder.contexts_cached = self.decoder.contexts_cached
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Predictor:
        """Copy the network, so that changes of one do not change the other."""
        return self._with_model(copy.deepcopy(self.model, memo), origin=self._origin)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source, the settings and a checksum, not the weights.

        Raises:
            WeightsError: it was made of objects in memory, so that it cannot be loaded again.
        """
        description = described(self._origin, self.backend, self.model)
        return load_again, (Predictor.load, description)

    def _enter(self) -> None:
        """Prepare a forked process, or refuse it.

        Raises:
            BackendError: the backend does not work in forked processes.
        """
        enter_process()
        self.backend.check_process()

    def _check(self, embedding: ImageEmbedding, prompts: Prompts) -> None:
        self.check_embedding(embedding)
        prompts.check_fits(embedding.coords)
        if prompts.text_embeds is not None:
            expected = self.model.config.text_dim
            check_text_embeds(prompts.text_embeds, expected, self.model_name)

    def check_embedding(self, embedding: ImageEmbedding) -> None:
        """Check that an embedding is of this model's image encoder.

        Raises:
            EmbeddingError: it is not, or not an embedding at all.
        """
        if not isinstance(embedding, ImageEmbedding):
            raise EmbeddingError(
                f"the first argument must be an ImageEmbedding; got {type(embedding).__name__}:"
                " predictor.embed(image) makes one, once for all prompts of an image"
            )
        # The second checksum is computed only if the first one differs.
        checksum = embedding.encoder_checksum
        if checksum != self.encoder_checksum and checksum != self.former_checksum:  # noqa: PLR1714
            raise EmbeddingError(
                f"the embedding was made by {embedding.model_name}"
                f" ({embedding.encoder_checksum[:12]}), not by this {self.model_name}"
                f" ({self.encoder_checksum[:12]}): embed the image again with this model"
            )
