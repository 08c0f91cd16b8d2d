"""Decoding of prompts on embeddings, in small batches.

Shape legend: P prompts, M masks each, K masks in total, L side of the mask logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from samkit.backends import Backend, renew_in_children
from samkit.models import PromptTensors, Sam
from samkit.types import ImageEmbedding, MaskPrediction, Prompts

# Prompts decoded together. Each takes 4 MB for its image tokens and about 20 MB in passing; on a
# CPU larger batches leave the cache and are slower per prompt.
PROMPTS_AT_ONCE = 4
CONTEXTS_CACHED = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class PointMasks:
    """Confident masks of many prompts, each a point or a box.

    Attributes:
        logits: (K, L, L) float32.
        iou_pred: (K,).
        point_index: (K,) index of the prompt that each mask answers.
    """

    logits: npt.NDArray[np.float32]
    iou_pred: npt.NDArray[np.float32]
    point_index: npt.NDArray[np.int64]


class PromptDecoder:
    """Decodes prompts on a backend, for one caller at a time.

    Attributes:
        contexts_cached: number of images whose prepared form is cached, 10 MB each, while their
            embeddings are in use; a click on any other image takes three times as long.
    """

    def __init__(self, model: Sam, backend: Backend) -> None:
        self.model, self.backend = model, backend
        self.contexts_cached = CONTEXTS_CACHED
        # Least recently used first.
        self._contexts: WeakKeyDictionary[ImageEmbedding, Any] = WeakKeyDictionary()
        self._lock = Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Renew the lock in a forked process."""
        self._lock = Lock()

    @torch.no_grad()
    def prepare(self, embedding: ImageEmbedding) -> None:
        """Prepare an image, so that its first prompt does not wait for it."""
        with self._lock:
            self._context(embedding)

    @torch.no_grad()
    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool
    ) -> MaskPrediction:
        """Answer prompts that fit the embedding's image."""
        side = embedding.coords.logits_size
        num_masks = self.model.config.decoder.num_multimask if multimask else 1
        logits = np.empty((len(prompts), num_masks, side, side), np.float32)
        iou_pred = np.empty((len(prompts), num_masks), np.float32)
        with self._lock:
            for rows, attended, context in self._attend(embedding, prompts):
                selected = self.backend.select(attended, multimask=multimask)
                answer = self.backend.upscale(selected, context)
                logits[rows] = answer.logits.cpu().numpy()
                iou_pred[rows] = answer.iou_pred.cpu().numpy()
        return MaskPrediction(
            logits=logits if prompts.batched else logits[0],
            iou_pred=iou_pred if prompts.batched else iou_pred[0],
            coords=embedding.coords,
        )

    @torch.no_grad()
    def decode_confident(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        iou_thresh: float,
        multimask: bool = True,
    ) -> PointMasks:
        """Answer prompts with three masks each, or one; upscale and return the confident masks."""
        side = embedding.coords.logits_size
        logits, iou_pred = [np.zeros((0, side, side), np.float32)], [np.zeros(0, np.float32)]
        points = [np.zeros(0, np.int64)]
        with self._lock:
            for rows, attended, context in self._attend(embedding, prompts):
                selected = self.backend.select(attended, multimask=multimask)
                iou = selected.iou_pred.cpu().numpy()
                confident = iou >= iou_thresh
                for some in runs(np.asarray(confident.any(axis=1))):
                    answer = self.backend.upscale(selected.rows(some), context)
                    chosen = confident[some]
                    logits.append(answer.logits.cpu().numpy()[chosen])
                    iou_pred.append(iou[some][chosen])
                    points.append(rows[some][np.nonzero(chosen)[0]])
        return PointMasks(
            logits=np.concatenate(logits),
            iou_pred=np.concatenate(iou_pred),
            point_index=np.concatenate(points),
        )

    def _attend(
        self, embedding: ImageEmbedding, prompts: Prompts
    ) -> Iterator[tuple[npt.NDArray[np.int64], Any, Any]]:
        """Run the prompt encoder and the transformer; yield rows, results and contexts.

        Prompts with equally many points go together: padding tokens would change the answers, since
        the transformer attends to all tokens.
        """
        tensors = self._tensors(embedding, prompts)
        for num_points in np.unique(prompts.num_points).tolist():
            alike = np.flatnonzero(prompts.num_points == num_points)
            for start in range(0, len(alike), PROMPTS_AT_ONCE):
                rows = alike[start : start + PROMPTS_AT_ONCE]
                some = tensors.rows(torch.from_numpy(rows))
                sparse, dense = self.backend.embed_prompts(without_padding(some, num_points))
                if dense is None:
                    context = self._context(embedding)
                else:
                    context = self.backend.prepare(embedding.features, dense)
                yield rows, self.backend.attend(sparse, context), context

    def _context(self, embedding: ImageEmbedding) -> Any:
        """The prepared image for prompts without a mask, cached."""
        context = self._contexts.pop(embedding, None)
        if context is None:
            context = self.backend.prepare(embedding.features)
            too_many = max(0, len(self._contexts) + 1 - self.contexts_cached)
            for oldest in list(self._contexts)[:too_many]:
                del self._contexts[oldest]
        self._contexts[embedding] = context
        return context

    def _tensors(self, embedding: ImageEmbedding, prompts: Prompts) -> PromptTensors:
        """Convert prompts to the model space, on the prompt encoder's device."""
        coords, points, boxes = embedding.coords, prompts.points_xy, prompts.boxes_xyxy
        device = torch.device(self.backend.info.device)

        def tensor(array: npt.NDArray[Any] | None) -> torch.Tensor | None:
            if array is None:
                return None
            return torch.as_tensor(array, dtype=torch.float32, device=device)

        return PromptTensors(
            text_embeds=tensor(prompts.text_embeds),
            points_xy=tensor(None if points is None else coords.points_to_model(points)),
            labels=tensor(prompts.labels),
            boxes_xyxy=tensor(None if boxes is None else coords.boxes_to_model(boxes)),
            mask_logits=tensor(prompts.mask_logits),
        )


def without_padding(prompts: PromptTensors, num_points: int) -> PromptTensors:
    """Cut off the padding of prompts with equally many points."""
    points_xy, labels = prompts.points_xy, prompts.labels
    if points_xy is None or labels is None or num_points == 0:
        return prompts._replace(points_xy=None, labels=None)
    return prompts._replace(points_xy=points_xy[:, :num_points], labels=labels[:, :num_points])


def runs(flags: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the runs of true flags (N,), in order."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    for start, stop in edges.reshape(-1, 2).tolist():
        yield slice(start, stop)
