"""The drop-in's networks against `transformers.SamModel`, by the calls that programs make."""

import pytest
import torch
import transformers

from samkit.compat.segment_anything.build_sam import from_config
from samkit.models import CONFIGS
from samkit.weights.layouts import to_own_names

ATOL = 1e-4
SIDE, GRID = 128, 8


@pytest.fixture(scope="module")
def pair(randomise):
    """The same tiny network twice: the drop-in's and that of transformers."""
    config = CONFIGS["tiny"]
    encoder, decoder = config.encoder, config.decoder
    theirs = transformers.SamModel(
        transformers.SamConfig(
            vision_config={
                "hidden_size": encoder.embed_dim,
                "num_hidden_layers": encoder.depth,
                "num_attention_heads": encoder.num_heads,
                "global_attn_indexes": list(encoder.global_blocks),
                "image_size": SIDE,
                "patch_size": encoder.patch_size,
                "window_size": encoder.window_size,
                "output_channels": encoder.out_channels,
                "num_pos_feats": decoder.dim // 2,
            },
            prompt_encoder_config={
                "hidden_size": decoder.dim,
                "image_size": SIDE,
                "patch_size": encoder.patch_size,
            },
            mask_decoder_config={
                "hidden_size": decoder.dim,
                "num_hidden_layers": decoder.depth,
                "num_attention_heads": decoder.num_heads,
                "mlp_dim": decoder.mlp_dim,
                "iou_head_hidden_dim": decoder.iou_hidden_dim,
                "layer_norm_eps": 1e-5,
            },
        )
    ).eval()
    randomise(theirs)
    sam = from_config(config).eval()
    sam.load_state_dict(to_own_names(theirs.state_dict())[0], strict=True)
    return sam, theirs


def random_prompts(kind, num_prompts):
    """Points with labels, boxes and masks of a kind; None for those that it has not."""
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(num_prompts, 2, 2, generator=generator) * SIDE
    points = torch.rand(num_prompts, 3, 2, generator=generator) * SIDE
    labels = torch.arange(num_prompts * 3).view(num_prompts, 3) % 2
    masks = torch.randn(num_prompts, 1, 4 * GRID, 4 * GRID, generator=generator)
    return (
        points if "points" in kind else None,
        labels if "points" in kind else None,
        corners.sort(dim=1).values.flatten(1) if "box" in kind else None,
        masks if "mask" in kind else None,
    )


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single"])
@pytest.mark.parametrize("kind", ["points", "box", "points box", "mask", "points box mask"])
def test_answers_agree(pair, kind, multimask):
    sam, theirs = pair
    num_prompts = 3
    points, labels, boxes, masks = random_prompts(kind, num_prompts)
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        features = sam.image_encoder(pixels)
        their_features = theirs.get_image_embeddings(pixels)
        sparse, dense = sam.prompt_encoder(
            points=None if points is None else (points, labels), boxes=boxes, masks=masks
        )
        logits, iou = sam.mask_decoder(
            image_embeddings=features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        # There, masks go with images: the image is repeated for each prompt.
        answer = theirs(
            image_embeddings=their_features.expand(num_prompts, -1, -1, -1),
            input_points=None if points is None else points[:, None],
            input_labels=None if labels is None else labels[:, None],
            input_boxes=None if boxes is None else boxes[:, None],
            input_masks=masks,
            multimask_output=multimask,
        )
    torch.testing.assert_close(features, their_features, rtol=0, atol=ATOL)
    assert 0.05 < logits.std() < 10
    torch.testing.assert_close(logits, answer.pred_masks[:, 0], rtol=0, atol=ATOL)
    torch.testing.assert_close(iou, answer.iou_scores[:, 0], rtol=0, atol=ATOL)


def test_dense_positional_encoding_agrees(pair):
    sam, theirs = pair
    encoding = sam.prompt_encoder.get_dense_pe()
    assert encoding.shape == (1, 32, GRID, GRID)
    expected = theirs.get_image_wide_positional_embeddings()
    torch.testing.assert_close(encoding, expected, rtol=0, atol=1e-5)


def test_gradients_agree(pair):
    sam, theirs = pair
    points, labels, boxes, _ = random_prompts("points box", 2)
    features = torch.randn(2, 32, GRID, GRID)
    sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=boxes, masks=None)
    logits, iou = sam.mask_decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    (logits.square().mean() + iou.sum()).backward()
    answer = theirs(
        image_embeddings=features,
        input_points=points[:, None],
        input_labels=labels[:, None],
        input_boxes=boxes[:, None],
        multimask_output=True,
    )
    (answer.pred_masks.square().mean() + answer.iou_scores.sum()).backward()
    expected, _ = to_own_names(
        {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
        | {"vision_encoder.pos_embed": torch.zeros(1)}
    )
    compared = 0
    for name, parameter in sam.named_parameters():
        if parameter.grad is None or not parameter.grad.any():
            continue
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-4)
        compared += 1
    assert compared > 100
    sam.zero_grad()
    theirs.zero_grad()
