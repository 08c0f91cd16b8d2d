"""LoRA: trainable low-rank corrections of an image encoder's attention projections.

Source: Hu et al., arXiv:2106.09685. Deviations: corrections apply to the joint projection to
queries, keys and values and to the output projection; the paper's to queries and values.

State: a corrected layer keeps its names and gets two more: next to `blocks.0.attn.qkv.weight` are
`blocks.0.attn.qkv.lora_a` (rank, in) and `blocks.0.attn.qkv.lora_b` (out, rank). After `merge_lora`
the names are those of an ordinary encoder again.
"""

from torch import Tensor, nn

from samkit.errors import ConfigError

# Both kinds of encoder use these names.
ATTENTION_PROJECTIONS = ("attn.qkv", "attn.proj")


class LoraLinear(nn.Linear):
    """A frozen linear layer with a trainable correction: W x + b + alpha / rank * B A x.

    B is zero at first, and so is the correction.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        has_bias = base.bias is not None
        super().__init__(base.in_features, base.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(requires_grad=False)
        self.scale = alpha / rank
        noise = base.weight.new_empty(rank, base.in_features).normal_()
        self.lora_a = nn.Parameter(noise / base.in_features**0.5)
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        correction = nn.functional.linear(nn.functional.linear(x, self.lora_a), self.lora_b)
        return super().forward(x) + self.scale * correction

    def merged(self) -> nn.Linear:
        """An ordinary linear layer with the same output: W + alpha / rank * B A, rounded once."""
        plain = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        correction = self.scale * (self.lora_b.detach().double() @ self.lora_a.detach().double())
        weight = (self.weight.detach().double() + correction).to(self.weight.dtype)
        plain.weight, plain.bias = nn.Parameter(weight), self.bias
        return plain.requires_grad_(requires_grad=False)


def add_lora(
    encoder: nn.Module,
    *,
    rank: int,
    alpha: float,
    targets: tuple[str, ...] = ATTENTION_PROJECTIONS,
) -> list[str]:
    """Add corrections to an encoder and freeze the rest of it.

    Results stay the same until the first step. Batch norms, as in TinyViT, must stay in evaluation
    mode during training, or their statistics change the frozen part.

    Args:
        encoder: changed in place.
        rank: rank of the corrections; at most the layers' width.
        alpha: corrections are multiplied by alpha / rank.
        targets: suffixes of the names of the linear layers to correct.

    Returns:
        names of the corrected layers.

    Raises:
        ConfigError: the rank does not fit, no layer has such a name, or the encoder already has
            corrections.
    """
    layers = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(targets)
    }
    if not layers:
        raise ConfigError(f"LoRA: no linear layer has a name that ends with {' or '.join(targets)}")
    if any(isinstance(layer, LoraLinear) for layer in layers.values()):
        raise ConfigError("LoRA: the encoder has corrections already; merge_lora them first")
    width = min(min(layer.in_features, layer.out_features) for layer in layers.values())
    if not 1 <= rank <= width:
        raise ConfigError(f"LoRA: rank must be from 1 to {width}, the layers' width; got {rank}")
    encoder.requires_grad_(requires_grad=False)
    for name, layer in layers.items():
        _replace(encoder, name, LoraLinear(layer, rank, alpha))
    return list(layers)


def merge_lora(encoder: nn.Module) -> None:
    """Fold all corrections into the weights: an ordinary encoder with the same output."""
    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLinear):
            _replace(encoder, name, module.merged())


def read_corrections(encoder: nn.Module) -> dict[str, Tensor]:
    """Read an encoder's corrections by name, float32 on the CPU, without their scale.

    `blocks.0.attn.qkv.lora_b` @ `blocks.0.attn.qkv.lora_a` is what the layer's weight lacks.
    """
    found: dict[str, Tensor] = {}
    for name, module in encoder.named_modules():
        if isinstance(module, LoraLinear):
            found[f"{name}.lora_a"] = module.lora_a.detach().float().cpu()
            found[f"{name}.lora_b"] = (module.scale * module.lora_b.detach()).float().cpu()
    return found


def takes_lora(encoder: nn.Module) -> bool:
    """Whether an encoder has layers that `add_lora` can correct."""
    return any(
        isinstance(module, nn.Linear) and name.endswith(ATTENTION_PROJECTIONS)
        for name, module in encoder.named_modules()
    )


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own_name = name.rpartition(".")
    setattr(root.get_submodule(parent), own_name, module)
