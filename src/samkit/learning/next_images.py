"""Which images people should annotate next: those that the model would likely learn most from.

Two signs say how much: how far the three answers to a click disagree, and how unsure it is that
people would accept the best one. Images are then chosen one after another by farthest-point
sampling, weighted by these signs: each is unlike those before it and those that are finished.

Shape legend: N images, K finished images, C channels of an embedding, P points of a grid, H and W
the part of the logits space that shows the image.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from samkit.dataengine import (
    FINISHED,
    StoredImage,
    all_items,
    list_images,
    set_next_images,
)
from samkit.errors import DatabaseError, ImageError, StoreError
from samkit.learning.confidence import Confidence, mask_features
from samkit.learning.embedding import embed_image
from samkit.types import MaskPrediction

if TYPE_CHECKING:  # torch takes seconds to import
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from samkit.learning.learner import Learner
    from samkit.predict import Predictor
    from samkit.types import ImageEmbedding

POINTS_PER_SIDE = 8
# Images that are looked at for one choice: each takes about as long as an embedding.
MOST_LOOKED_AT = 500
MOST_FINISHED = 500
NUM_CHOSEN = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSigns:
    """What says how much a model would learn from an image.

    Attributes:
        disagreement: 1 - the mean IoU of two of the three answers to a point, mean over points.
        doubt: 4 p (1 - p), where p is how likely people accept the best answer to a point, mean
            over points: 1 if that is open for all.
        vector: (C,) mean of the image's embedding.
    """

    disagreement: float
    doubt: float
    vector: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Images that people get next.

    Attributes:
        image_ids: the best one first.
        num_waiting: number of images that nobody has finished.
        faults: one line for each image that cannot be read.
    """

    image_ids: tuple[int, ...]
    num_waiting: int
    faults: tuple[str, ...]


def choose_images(
    learner: Learner,
    project_id: int,
    confidence: Confidence | None,
    *,
    limit: int = NUM_CHOSEN,
    seed: int = 0,
    on_image: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> Choice:
    """Choose the images that people get next, and tell the queue.

    Of many waiting images a random sample is looked at.

    Args:
        confidence: of the model that answers; None takes the predicted IoU for it.
        limit: number of images to choose.
        seed: of the sample.
        on_image: called with the number of images looked at, and their total.

    Raises:
        StoreError: no such project.
    """
    predictor, _ = learner.serving(project_id)
    waiting = waiting_images(learner, project_id)
    finished = list(
        all_items(
            lambda after: list_images(
                learner.store, project_id, after=after, limit=1000, review=FINISHED
            )
        )
    )
    draw = random.Random(seed)  # noqa: S311
    looked_at = _sample(draw, waiting, MOST_LOOKED_AT)
    known = _sample(draw, finished, MOST_FINISHED)
    faults: list[str] = []
    ids: list[int] = []
    signs: list[ImageSigns] = []
    vectors: list[npt.NDArray[np.float64]] = []
    for done, image in enumerate([*looked_at, *known], start=1):
        try:
            embedding = embed_image(learner, image, predictor)
        except DatabaseError:
            raise
        except (ImageError, StoreError) as error:
            faults.append(" ".join(f"{image.path}: {error}".split()))
        else:
            if done > len(looked_at):
                vectors.append(image_vector(embedding))
            else:
                ids.append(image.id)
                signs.append(read_signs(predictor, embedding, confidence))
        on_image(done, len(looked_at) + len(known))
    order = choose(signs, vectors, limit)
    chosen = tuple(ids[index] for index in order)
    set_next_images(learner.store, project_id, chosen)
    return Choice(image_ids=chosen, num_waiting=len(waiting), faults=tuple(faults))


def waiting_images(learner: Learner, project_id: int) -> list[StoredImage]:
    """Images that the queue offers and nobody has submitted; prefilled ones are among them."""
    images = all_items(
        lambda after: list_images(learner.store, project_id, after=after, limit=1000, review="none")
    )
    return [image for image in images if image.open]


def read_signs(
    predictor: Predictor, embedding: ImageEmbedding, confidence: Confidence | None
) -> ImageSigns:
    """Click a grid of points on an image, and see how sure the model is."""
    height, width = embedding.coords.original_hw
    steps = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
    x, y = np.meshgrid(steps * width - 0.5, steps * height - 0.5)
    points = np.stack([x, y], axis=-1).reshape(-1, 1, 2).clip(0)
    answers = predictor.predict(embedding, points=points)
    coords = embedding.coords
    rows, columns = (-(-side // coords.logits_stride) for side in coords.resized_hw)
    masks = answers.logits[:, :, :rows, :columns] > 0  # (P, 3, H, W)
    best = answers.iou_pred.argmax(1)
    each = np.arange(len(best))
    scores = answers.iou_pred[each, best]
    if confidence is None:
        accepted = scores.astype(np.float64).clip(0, 1)
    else:
        fractions = masks[each, best].mean((1, 2))
        chosen = MaskPrediction(
            logits=answers.logits[each, best], iou_pred=scores, coords=embedding.coords
        )
        accepted = confidence.of(mask_features(scores, chosen.stability(), fractions))
    return ImageSigns(
        disagreement=float(disagreements(masks).mean()),
        doubt=float((4 * accepted * (1 - accepted)).mean()),
        vector=image_vector(embedding),
    )


def disagreements(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """1 - the mean IoU of each two of the candidates (P, M, H, W) of a prompt: (P,).

    Empty masks agree with each other.
    """
    flat = masks.reshape(*masks.shape[:2], -1).astype(np.float32)
    shared = (flat @ flat.transpose(0, 2, 1)).astype(np.float64)  # (P, M, M)
    areas = np.diagonal(shared, axis1=1, axis2=2)
    union = areas[:, :, None] + areas[:, None, :] - shared
    ious = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
    first, second = np.triu_indices(masks.shape[1], 1)
    result: npt.NDArray[np.float64] = 1 - ious[:, first, second].mean(1)
    return result


def image_vector(embedding: ImageEmbedding) -> npt.NDArray[np.float64]:
    """Mean (C,) of an image's embedding, without its padding."""
    grid = embedding.features.grid[0].float().cpu().numpy()
    cell = embedding.coords.model_size / grid.shape[-1]
    rows, columns = (max(1, round(side / cell)) for side in embedding.coords.resized_hw)
    result: npt.NDArray[np.float64] = grid[:, :rows, :columns].mean((1, 2), dtype=np.float64)
    return result


def choose(
    signs: Sequence[ImageSigns], finished: Sequence[npt.NDArray[np.float64]], limit: int
) -> list[int]:
    """Choose images by weighted farthest-point sampling.

    The weight of an image is its mean rank by the two signs, from 0 to 1; its distance is 1 - the
    cosine between centred embeddings, to the most similar of those chosen and finished.

    Args:
        signs: of N images.
        finished: vectors of K finished images.
        limit: number of images to choose.

    Returns:
        indices of at most `limit` images, the best one first.
    """
    if not signs:
        return []
    weights = (
        _ranks([one.disagreement for one in signs]) + _ranks([one.doubt for one in signs])
    ) / 2
    vectors = np.stack([*(one.vector for one in signs), *finished])
    vectors = vectors - vectors.mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    own, others = vectors[: len(signs)], vectors[len(signs) :]
    # From 0 to 2; the first choice of all is by weight alone.
    distances = 1 - (own @ others.T).max(1) if len(others) else np.full(len(own), 2.0)
    chosen: list[int] = []
    for _ in range(min(limit, len(own))):
        worth = weights * distances.clip(0)
        worth[chosen] = -1
        pick = int(worth.argmax())
        chosen.append(pick)
        distances = np.minimum(distances, 1 - own @ own[pick])
    return chosen


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Ranks from 1 / N to 1; equal values have the same one."""
    array = np.array(values)
    ordered = np.sort(array)
    result: npt.NDArray[np.float64] = np.searchsorted(ordered, array, side="right") / len(array)
    return result


def _sample(draw: random.Random, images: list[StoredImage], most: int) -> list[StoredImage]:
    if len(images) <= most:
        return images
    return sorted(draw.sample(images, most), key=lambda image: image.id)
