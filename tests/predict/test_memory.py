"""A long session takes no more memory than a short one (at length: benchmarks/memory_flat.py).

What a leak would hold is known: 4 MB of image tokens for each prompt, 10 MB for each image's
embedding and what the decoder remembers of it. The bound is far below all of them together, and far
above what allocators keep for themselves.
"""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from samkit import ImageEmbedding, Predictor
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures
from samkit.predict.decoder import CONTEXTS_CACHED

STATUS = Path("/proc/self/status")
WARM_UP, REPEATS = 5, 20
BOUND_MB = 50


def resident_mb() -> float:
    gc.collect()
    lines = STATUS.read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kilobytes * 1024 / 1e6


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load("mobile_sam", device="cpu", backend="torch", precision="float32")


def make_embedding(predictor: Predictor) -> ImageEmbedding:
    """An embedding as large as a real one, without the work of the image encoder."""
    return ImageEmbedding(
        features=ImageFeatures((torch.randn(1, 256, 64, 64),)),
        coords=CoordMap(original_hw=(60, 90), model_size=1024),
        model_name=predictor.model_name,
        encoder_checksum=predictor.encoder_checksum,
    )


def click(predictor: Predictor, embedding: ImageEmbedding, number: int) -> None:
    result = predictor.predict(embedding, points=[[number % 90, number % 60]], labels=[1])
    assert result.best().masks.shape == (1, 60, 90)


def test_what_is_remembered_of_a_image_goes_with_its_embedding(predictor: Predictor) -> None:
    embedding = make_embedding(predictor)
    click(predictor, embedding, 0)
    features = weakref.ref(embedding.features.grid)
    alive = weakref.ref(embedding)
    del embedding
    gc.collect()
    assert alive() is None
    assert features() is None


def test_of_many_images_in_use_only_the_last_are_remembered(predictor: Predictor) -> None:
    embeddings = [make_embedding(predictor) for _ in range(CONTEXTS_CACHED + 2)]
    first = predictor.predict(embeddings[0], points=[[9, 9]], labels=[1])
    for embedding in embeddings[1:]:
        click(predictor, embedding, 1)
        click(predictor, embeddings[0], 1)  # in use all the time
    kept = list(predictor.decoder._contexts)
    assert kept == [*embeddings[3:], embeddings[0]]
    again = predictor.predict(embeddings[1], points=[[9, 9]], labels=[1])
    assert not np.array_equal(again.logits, first.logits)
    assert len(predictor.decoder._contexts) == CONTEXTS_CACHED


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("new_image_each_time", [False, True], ids=["prompts", "images"])
def test_memory_stays_flat(predictor: Predictor, *, new_image_each_time: bool) -> None:
    embedding = make_embedding(predictor)
    before = np.inf
    for number in range(WARM_UP + REPEATS):
        if number == WARM_UP:
            before = resident_mb()
        if new_image_each_time:
            embedding = make_embedding(predictor)
        click(predictor, embedding, number)
    assert resident_mb() - before < BOUND_MB
