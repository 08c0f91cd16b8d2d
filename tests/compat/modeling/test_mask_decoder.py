"""The plain mask decoder against the reference, and with replaced modules."""

import inspect

import pytest
import torch
from torch import nn

from reference.mask_decoder import MaskDecoder as Reference
from samkit.compat.segment_anything.errors import PromptShapeError, SettingError
from samkit.compat.segment_anything.modeling import MaskDecoder, TwoWayTransformer
from samkit.compat.segment_anything.modeling.common import LayerNorm2d, MLPBlock
from samkit.compat.segment_anything.modeling.mask_decoder import MLP


def inputs(num_images, num_prompts, tokens=3):
    return {
        "image_embeddings": torch.randn(num_images, 32, 8, 8),
        "image_pe": torch.randn(1, 32, 8, 8),
        "sparse_prompt_embeddings": torch.randn(num_prompts, tokens, 32),
        "dense_prompt_embeddings": torch.randn(num_prompts, 32, 8, 8),
    }


def test_signatures_are_the_originals():
    assert [*inspect.signature(MaskDecoder.forward).parameters] == [
        "self",
        "image_embeddings",
        "image_pe",
        "sparse_prompt_embeddings",
        "dense_prompt_embeddings",
        "multimask_output",
    ]
    assert set(inspect.signature(MaskDecoder).parameters) == {
        "transformer_dim",
        "transformer",
        "num_multimask_outputs",
        "activation",
        "iou_head_depth",
        "iou_head_hidden_dim",
    }
    assert [*inspect.signature(TwoWayTransformer).parameters] == [
        "depth",
        "embedding_dim",
        "num_heads",
        "mlp_dim",
        "activation",
        "attention_downsample_rate",
    ]


def test_attributes_are_the_originals(sam):
    decoder = sam.mask_decoder
    assert decoder.transformer_dim == 32
    assert decoder.num_multimask_outputs == 3
    assert decoder.num_mask_tokens == decoder.mask_tokens.num_embeddings == 4
    assert len(decoder.output_hypernetworks_mlps) == 4
    assert len(decoder.iou_prediction_head.layers) == 3
    assert decoder.transformer.depth == len(decoder.transformer.layers) == 2
    assert isinstance(decoder.transformer.layers[0].mlp, MLPBlock)
    assert isinstance(decoder.output_upscaling[1], LayerNorm2d)


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("num_images", [1, 2])
def test_answers_are_those_of_the_reference(sam, num_images, multimask):
    given = inputs(num_images, 2)
    reference = Reference(sam.config.decoder)
    reference.load_state_dict(sam.mask_decoder.state_dict())
    logits, iou = sam.mask_decoder(**given, multimask_output=multimask)
    expected, expected_iou = reference(*given.values(), multimask=multimask)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(iou, expected_iou, rtol=0, atol=1e-5)


def test_a_batch_equals_a_loop(sam):
    """One image for all prompts, one image for each prompt, one prompt for several images."""
    for num_images, num_prompts in ((1, 3), (3, 3), (3, 1)):
        given = inputs(num_images, num_prompts)
        together, _ = sam.mask_decoder(**given, multimask_output=True)
        assert together.shape == (3, 3, 32, 32)
        for i in range(3):
            one = {name: x[i : i + 1] if len(x) == 3 else x for name, x in given.items()}
            alone, _ = sam.mask_decoder(**one, multimask_output=True)
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-4)


def test_images_that_are_neither_one_nor_one_for_each_prompt_are_refused(sam, refusal):
    with refusal(PromptShapeError, "2 images and 3 prompts"):
        sam.mask_decoder(**inputs(2, 3), multimask_output=True)


def test_an_empty_batch_gives_an_empty_answer(sam):
    logits, iou = sam.mask_decoder(**inputs(1, 0), multimask_output=True)
    assert logits.shape == (0, 3, 32, 32)
    assert iou.shape == (0, 3)


def test_all_masks_may_be_asked_for(sam):
    given = inputs(1, 2)
    masks, iou = sam.mask_decoder.predict_masks(**given)
    single, _ = sam.mask_decoder(**given, multimask_output=False)
    several, iou_of_several = sam.mask_decoder(**given, multimask_output=True)
    assert torch.equal(masks, torch.cat([single, several], dim=1))
    assert torch.equal(iou[:, 1:], iou_of_several)


def test_every_parameter_gets_a_gradient(sam):
    given = {name: x.requires_grad_() for name, x in inputs(1, 2).items()}
    sam.mask_decoder.iou_prediction_head.layers[-1].weight.data.fill_(0.1)
    masks, iou = sam.mask_decoder.predict_masks(**given)
    (masks.square().mean() + iou.sum()).backward()
    tensors = {**dict(sam.mask_decoder.named_parameters()), **given}
    assert [n for n, x in tensors.items() if x.grad is None or not x.grad.isfinite().all()] == []


@pytest.mark.parametrize(
    "path",
    [
        f"transformer.{layer}.{projection}"
        for layer in ("layers.0.self_attn", "layers.1.cross_attn_token_to_image")
        for projection in ("q_proj", "v_proj")
    ]
    + ["transformer.layers.0.cross_attn_image_to_token.k_proj", "output_upscaling.3"],
)
def test_a_wrapped_layer_is_called(sam, path):
    """As LoRA wraps layers: nothing may go past the wrapper to the weights inside of it."""
    decoder = sam.mask_decoder
    given = inputs(1, 2)
    before, _ = decoder(**given, multimask_output=True)

    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return 2 * self.inner(x)

    parent, _, name = path.rpartition(".")
    module = decoder.get_submodule(parent)
    setattr(module, name, Doubled(getattr(module, name)))
    after, _ = decoder(**given, multimask_output=True)
    assert (after - before).abs().max() > 1e-2


def test_any_transformer_may_be_given():
    class Same(nn.Module):
        def forward(self, image_embedding, image_pe, point_embedding):
            return point_embedding, image_embedding.flatten(2).transpose(1, 2)

    decoder = MaskDecoder(transformer_dim=32, transformer=Same(), num_multimask_outputs=5)
    logits, iou = decoder(**inputs(1, 2), multimask_output=True)
    assert logits.shape == (2, 5, 32, 32)
    assert iou.shape == (2, 5)


def test_heads_of_any_depth():
    mlp = MLP(4, 8, 2, num_layers=2, sigmoid_output=True)
    assert [layer.out_features for layer in mlp.layers] == [8, 2]
    assert ((mlp(torch.randn(9, 4)) > 0) & (mlp(torch.randn(9, 4)) < 1)).all()


def test_heads_that_do_not_divide_the_width_are_refused(refusal):
    with refusal(SettingError, "must divide", "got 3"):
        TwoWayTransformer(depth=1, embedding_dim=32, num_heads=3, mlp_dim=8)
