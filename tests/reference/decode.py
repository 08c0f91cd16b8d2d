"""Decoding of prompts given as dictionaries, by a model or by the plain decoder in one."""

from torch import Tensor

from samkit.models import ImageFeatures, MaskAnswer, PromptTensors, Sam


def decode(
    model: Sam,
    features: Tensor | ImageFeatures,
    prompts: dict[str, Tensor],
    *,
    multimask: bool = True,
) -> MaskAnswer:
    """Answer prompts on features, of one level (1 or P, C, G, G) or more, by the interface."""
    levels = features if isinstance(features, ImageFeatures) else ImageFeatures((features,))
    return model.decode(levels, PromptTensors(**prompts), multimask=multimask)


def decode_plainly(
    model: Sam, features: Tensor, prompts: dict[str, Tensor], *, multimask: bool = True
) -> tuple[Tensor, Tensor]:
    """The same by the decoder's `forward` alone."""
    encoder = model.prompt_encoder
    sparse, dense = encoder(PromptTensors(**prompts))
    dense = encoder.no_mask() if dense is None else dense
    return model.mask_decoder(
        features, encoder.grid_positions(), sparse, dense, multimask=multimask
    )
