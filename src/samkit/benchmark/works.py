"""The timed workloads, all on one image of 534 x 800 pixels."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from samkit.benchmark.turns import Subject, Workload
from samkit.formats import read_image
from samkit.geometry import CoordMap
from samkit.models import ImageFeatures
from samkit.predict import Predictor, normalise, resize_image
from samkit.proposals import AutoMasker
from samkit.types import ImageEmbedding
from samkit.weights import load_model

SIZE_HW = (534, 800)
POINT_XY = (400.0, 267.0)
POINTS_PER_SIDE = 8  # 64 points
MOBILE_SAM, VIT_B = "mobile_sam", "random ViT-B"
PEER = "transformers float32"
EAGER = "eager float32"


def benchmark_image() -> npt.NDArray[np.uint8]:
    """The package's sample image at the size that all workloads use."""
    image = read_image(str(files("samkit") / "assets" / "coffee.jpg"))
    resized = Image.fromarray(image).resize(SIZE_HW[::-1], Image.Resampling.BICUBIC)
    return np.asarray(resized)


@dataclass(kw_only=True)
class Workshop:
    """Models that several workloads share, created on first use.

    Attributes:
        backends: pairs of backend and precision.
    """

    backends: list[tuple[str, str]]
    image: npt.NDArray[np.uint8] = field(default_factory=benchmark_image)
    _predictors: dict[tuple[str, str, str], Predictor] = field(default_factory=dict)

    @cached_property
    def theirs(self) -> Any:
        """transformers.SamModel, ViT-B, float32, random weights."""
        import transformers

        torch.manual_seed(0)
        model: Any = transformers.SamModel(transformers.SamConfig())
        return model.eval()

    @cached_property
    def processor(self) -> Any:
        """The image processor of transformers."""
        import transformers

        return transformers.SamImageProcessorPil()

    def predictor(self, source: str, backend: str, precision: str) -> Predictor:
        """MobileSAM, or ViT-B with the weights of `theirs`."""
        key = (source, backend, precision)
        if key not in self._predictors:
            with tempfile.TemporaryDirectory() as folder:
                path: str | Path = source
                if source == VIT_B:
                    path = Path(folder) / "vit_b.pth"
                    torch.save(self.theirs.state_dict(), path)
                predictor = Predictor.load(path, backend=backend, precision=precision, device="cpu")
            self._predictors[key] = predictor
        return self._predictors[key]

    def ours(self, source: str, make: Callable[[Predictor], Subject]) -> dict[str, Subject]:
        """One subject per backend."""
        return {
            f"{backend} {precision}": make(self.predictor(source, backend, precision))
            for backend, precision in self.backends
        }

    def embedding(self, predictor: Predictor) -> ImageEmbedding:
        """An embedding of random features for the benchmark image."""
        return ImageEmbedding(
            features=ImageFeatures((some_features(),)),
            coords=CoordMap.of(SIZE_HW, predictor.model.image_spec),
            model_name=predictor.model_name,
            encoder_checksum=predictor.encoder_checksum,
        )


def some_features() -> torch.Tensor:
    """Features (1, 256, 64, 64) distributed like the output of the encoder's last norm."""
    return torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(1))


def mobile_sam_encode(shop: Workshop) -> Workload:
    """Image to embedding, compared with the same network eager in float32."""
    model = load_model(MOBILE_SAM).model

    def eager() -> object:
        with torch.no_grad():
            coords = CoordMap.of(SIZE_HW, model.image_spec)
            return model.encode(normalise(resize_image(shop.image, coords), model.image_spec)).grid

    ours = shop.ours(MOBILE_SAM, lambda predictor: lambda: predictor.embed(shop.image))
    return Workload(name="MobileSAM: embed an image", subjects={EAGER: eager} | ours)


def vit_b_encode(shop: Workshop) -> Workload:
    """Image to embedding, compared with transformers."""

    def theirs() -> object:
        with torch.no_grad():
            pixels = shop.processor(shop.image, return_tensors="pt")["pixel_values"]
            return shop.theirs.get_image_embeddings(pixels)

    ours = shop.ours(VIT_B, lambda predictor: lambda: predictor.embed(shop.image))
    return Workload(name="ViT-B: embed an image", subjects={PEER: theirs} | ours, max_turns=3)


def decode_one(shop: Workshop) -> Workload:
    """Embedding and a point to three masks at the image's size, compared with transformers."""

    def make(predictor: Predictor) -> Subject:
        embedding = shop.embedding(predictor)
        return lambda: predictor.predict(embedding, points=[POINT_XY], labels=[1]).masks

    return Workload(name="one click", subjects={PEER: _their_click(shop)} | shop.ours(VIT_B, make))


def decode_one_loaded(shop: Workshop) -> Workload:
    """The same for the first click on an embedding read from a file."""

    def make(predictor: Predictor) -> Subject:
        embedding = shop.embedding(predictor)
        # The decoder caches its context per embedding object: to it, a copy is a new embedding.
        return lambda: predictor.predict(replace(embedding), points=[POINT_XY], labels=[1]).masks

    subjects = {PEER: _their_click(shop)} | shop.ours(VIT_B, make)
    return Workload(name="first click, embedding from a file", subjects=subjects)


def _their_click(shop: Workshop) -> Subject:
    features, scale = some_features(), 1024 / max(SIZE_HW)
    resized_hw = [int(side * scale + 0.5) for side in SIZE_HW]
    points = torch.tensor(POINT_XY)[None, None, None] * scale
    labels = torch.ones(1, 1, 1, dtype=torch.long)

    def click() -> object:
        with torch.no_grad():
            answer = shop.theirs(
                image_embeddings=features, input_points=points, input_labels=labels
            )
            masks: object = shop.processor.post_process_masks(
                answer.pred_masks, [SIZE_HW], [resized_hw]
            )
            return masks

    return click


def decode_many(shop: Workshop) -> Workload:
    """64 points to 192 masks in the logits space, compared with transformers."""
    centres = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
    points_xy = np.array([(x * SIZE_HW[1], y * SIZE_HW[0]) for y in centres for x in centres])
    points = torch.tensor(points_xy * 1024 / max(SIZE_HW)).float()[None, :, None]
    features, labels = some_features(), torch.ones(1, len(points_xy), 1, dtype=torch.long)

    def theirs() -> object:
        with torch.no_grad():
            return shop.theirs(image_embeddings=features, input_points=points, input_labels=labels)

    def make(predictor: Predictor) -> Subject:
        embedding = shop.embedding(predictor)
        ones = np.ones((len(points_xy), 1))
        return lambda: predictor.predict(replace(embedding), points=points_xy[:, None], labels=ones)

    subjects = {PEER: theirs} | shop.ours(VIT_B, make)
    return Workload(name="64 points", subjects=subjects, max_turns=5)


def automatic_masks(shop: Workshop) -> Workload:
    """Image to automatic masks from a grid of 32 x 32 points, with MobileSAM."""
    ours = shop.ours(
        MOBILE_SAM, lambda predictor: lambda: AutoMasker(predictor).generate(shop.image)
    )
    return Workload(name="automatic masks, 32 x 32 points", subjects=ours, max_turns=3)


def training_step(shop: Workshop) -> Workload:
    """One training step of MobileSAM on two images with four masks each, click and correction."""
    from samkit.benchmark.training import training_subjects

    return Workload(
        name="training step, MobileSAM",
        subjects=training_subjects(shop.image),
        max_turns=3,
        amounts={"images": 2, "masks": 8},
    )


WORKS: dict[str, Callable[[Workshop], Workload]] = {
    "mobile-encode": mobile_sam_encode,
    "vit-b-encode": vit_b_encode,
    "click": decode_one,
    "click-loaded": decode_one_loaded,
    "64-points": decode_many,
    "auto": automatic_masks,
    "train": training_step,
}
# Required packages, by workload.
REQUIRED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("vit-b-encode", "click", "click-loaded", "64-points"), ("transformers",)),
    "train": ("lightning_fabric",),
}


def possible_works() -> list[str]:
    """The workloads whose packages are all installed."""
    return [name for name in WORKS if all(map(find_spec, REQUIRED.get(name, ())))]
