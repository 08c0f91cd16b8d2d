"""A decoder for browsers: two ONNX graphs, of which the first runs once for an image.

What the exported decoder computes for each prompt, but depends on the image alone, is a graph of
its own here. A prompt with an earlier mask runs both.
Weights are stored in half precision, and computed with in full.

Shape legend: N points, M masks, C channels, G side of the embedding, L side of mask logits, T image
tokens, H heads, D channels per head.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from samkit.backends import DecoderGraph, write_onnx
from samkit.errors import BackendError, ConfigError
from samkit.export.compared import images, mask_iou
from samkit.export.graphs import dense_prompt, point_tokens
from samkit.export.half_weights import halve_weights
from samkit.extras import require_packages
from samkit.models import ImageContext, Sam, SharedProjections

if TYPE_CHECKING:
    from samkit.predict import Predictor

BROWSER_PARTS = ("prepare", "decode")
PREPARED = ("image", "keys", "values", "queries")
LEAST_IOU = 0.99


class PreparedImage(DecoderGraph):
    """Embedding and earlier mask to what all prompts on them share."""

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self.prompts = sam.prompt_encoder

    def forward(
        self, image_embeddings: Tensor, mask_input: Tensor, has_mask_input: Tensor
    ) -> tuple[Tensor, ...]:
        """Prepare an image.

        Args:
            image_embeddings: (1, C, G, G) float16.
            mask_input: (1, 1, L, L) logits.
            has_mask_input: (1,), 1 if `mask_input` counts, else 0.

        Returns:
            tokens (1, T, C), and first-layer keys, values and queries (1, H, D, T).
        """
        dense = dense_prompt(self.prompts, mask_input, has_mask_input)
        features = image_embeddings.to(torch.float32)  # "/Cast", by which webgpu.js knows it
        context = self.decoder.prepare(features, dense, self.pos_enc, is_shared=True)
        assert context.shared is not None
        return (context.image, *context.shared)


class DecodedPrompt(DecoderGraph):
    """A prompt on a prepared image to mask logits (1, M, L, L) and predicted IoU (1, M).

    Points are those of `PromptedDecoder`; the first mask is for unambiguous prompts.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam)
        self.prompts = sam.prompt_encoder

    def forward(  # noqa: PLR0917 - in the order of `PREPARED`
        self,
        image: Tensor,
        keys: Tensor,
        values: Tensor,
        queries: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        shared = SharedProjections(keys=keys, values=values, queries=queries)
        context = ImageContext(image=image, pos_enc=self.pos_enc, shared=shared)
        attended = self.decoder.attend(
            point_tokens(self.prompts, point_coords, point_labels), context
        )
        return self.decoder.upscale(attended.image, attended.kernels), attended.iou_pred


def check_for_browser(predictor: Predictor) -> None:
    """Check that a model's decoder can be written for browsers.

    Raises:
        ConfigError: it is a SAM 2, or has no weights here; or a package is missing.
    """
    model = predictor.model
    if type(model) is not Sam:
        raise ConfigError(f"{predictor.model_name} is a SAM 2, which browsers do not run yet")
    if next(model.mask_decoder.parameters()).is_meta:
        raise ConfigError(
            f"{predictor.model_name} is an exported folder, without the weights: give the"
            " checkpoint that it was made from"
        )
    require_packages("a decoder for browsers", ("onnx", "onnxruntime"), "onnx")


def write_for_browser(predictor: Predictor, folder: Path) -> None:
    """Write `prepare.onnx` and `decode.onnx` to a folder, and compare their masks with PyTorch's.

    Raises:
        ConfigError: the model is not for browsers, or a package is missing.
        BackendError: the masks are others.
    """
    check_for_browser(predictor)
    model = predictor.model
    config = model.config.prompts
    side, grid = 4 * config.grid_size, config.grid_size
    # Copies on the CPU: the model may be on a GPU, and in use.
    prepare, decode = (
        copy.deepcopy(graph(model)).cpu().float().eval() for graph in (PreparedImage, DecodedPrompt)
    )
    example = (
        torch.zeros(1, config.dim, grid, grid, dtype=torch.float16),
        torch.zeros(1, 1, side, side),
        torch.zeros(1),
    )
    write_onnx(
        prepare,
        example,
        folder / "prepare.onnx",
        inputs=("image_embeddings", "mask_input", "has_mask_input"),
        outputs=PREPARED,
        axes={},
    )
    with torch.no_grad():
        prepared = prepare(*example)
    points = (torch.full((1, 3, 2), config.image_size / 2), torch.tensor([[1.0, 0.0, -1.0]]))
    write_onnx(
        decode,
        (*prepared, *points),
        folder / "decode.onnx",
        inputs=(*PREPARED, "point_coords", "point_labels"),
        outputs=("low_res_masks", "iou_predictions"),
        axes={"point_coords": {1: "points"}, "point_labels": {1: "points"}},
    )
    for part in BROWSER_PARTS:
        halve_weights(folder / f"{part}.onnx")
    features = predictor.encode(next(images())).features.grid.cpu().float()
    least = compare_graphs(prepare, decode, folder, features)
    if least < LEAST_IOU:
        raise BackendError(
            f"the masks of {predictor.model_name}'s decoder for browsers differ from PyTorch's: IoU"
            f" {least:.4f}, {LEAST_IOU} at least is expected"
        )


def compare_graphs(prepare: nn.Module, decode: nn.Module, folder: Path, features: Tensor) -> float:
    """Least IoU of the written graphs' masks with PyTorch's: of a click, and one that follows.

    Args:
        features: (1, C, G, G) of an image.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(
            folder / f"{part}.onnx", options, providers=["CPUExecutionProvider"]
        )
        for part in BROWSER_PARTS
    ]
    side = 4 * features.shape[-1]
    # In the model space, which is four times as fine as the logits.
    click = (torch.tensor([[[2.0 * side, 1.6 * side], [0, 0]]]), torch.tensor([[1.0, -1.0]]))
    earlier, has_mask = torch.zeros(1, 1, side, side), torch.zeros(1)
    ious: list[float] = []
    for _ in range(2):
        image = (features.to(torch.float16), earlier, has_mask)
        with torch.no_grad():
            plain, _ = decode(*prepare(*image), *click)
        found = [tensor.numpy() for tensor in image]
        for session, given in zip(sessions, ([], click), strict=True):
            arrays = [*found, *(tensor.numpy() for tensor in given)]
            names = [port.name for port in session.get_inputs()]
            found = session.run(None, dict(zip(names, arrays, strict=True)))
        masks = plain[0].numpy() > 0, found[0][0] > 0
        ious += [mask_iou(*pair) for pair in zip(*masks, strict=True)]
        earlier, has_mask = plain[:, :1], torch.ones(1)
    return min(ious)
