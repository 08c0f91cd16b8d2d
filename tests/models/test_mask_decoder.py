import pytest
import torch
from torch import Tensor

from reference.decode import decode
from samkit.models import Sam


@pytest.fixture
def features() -> Tensor:
    return torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(1))


def decode_all(model: Sam, features: Tensor) -> tuple[Tensor, Tensor]:
    """Masks and IoU of all four mask tokens: the single one, then the three ambiguous ones."""
    point = {"points_xy": torch.tensor([[[40.0, 60.0]]]), "labels": torch.ones(1, 1)}
    with torch.no_grad():
        answers = [decode(model, features, point, multimask=multi) for multi in (False, True)]
    logits, iou_pred = (torch.cat(parts, dim=1) for parts in zip(*answers, strict=True))
    return logits[0], iou_pred[0]


def test_masks_have_four_positions_for_each_of_the_embedding(
    tiny_sam: Sam, features: Tensor
) -> None:
    logits, iou_pred = decode_all(tiny_sam, features)
    assert logits.shape == (1 + 3, 32, 32)
    assert iou_pred.shape == (1 + 3,)


@pytest.mark.parametrize("token", range(4))
def test_each_mask_comes_from_its_own_token(tiny_sam: Sam, features: Tensor, token: int) -> None:
    logits, iou_pred = decode_all(tiny_sam, features)
    last = tiny_sam.mask_decoder.output_hypernetworks_mlps[token].layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        tiny_sam.mask_decoder.iou_prediction_head.layers[-1].bias[token] += 1
    changed_logits, changed_iou = decode_all(tiny_sam, features)

    expected_iou = iou_pred + torch.nn.functional.one_hot(torch.tensor(token), 4)
    torch.testing.assert_close(changed_iou, expected_iou)
    assert not changed_logits[token].any()
    others = [i for i in range(4) if i != token]
    torch.testing.assert_close(changed_logits[others], logits[others])
    assert logits[token].std() > 0.1


def test_the_first_layer_adds_no_residual_to_its_self_attention(tiny_sam: Sam) -> None:
    blocks = tiny_sam.mask_decoder.transformer.layers
    tokens, image = torch.randn(1, 4, 32), torch.randn(1, 64, 32)
    for block in blocks:
        block.self_attn.out_proj.weight.data.zero_()
        block.self_attn.out_proj.bias.data.zero_()
    nothing = torch.zeros(1, 4, 4, 64)  # position codes of the image, by head
    code = torch.zeros(1, 4, 32)
    first = blocks[0](tokens, code, image, nothing, nothing)[0]
    second = blocks[1](tokens, code, image, nothing, nothing)[0]
    assert torch.equal(first, blocks[0](2 * tokens, code, image, nothing, nothing)[0])
    assert not torch.allclose(second, blocks[1](tokens.flip(2), code, image, nothing, nothing)[0])
