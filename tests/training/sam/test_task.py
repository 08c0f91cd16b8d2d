"""Simulated sessions: prompts as in the paper, losses and gradients."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from samkit.models import PromptTensors
from samkit.models.mask_decoder import MaskDecoder
from samkit.training.data.given import stack_given
from samkit.training.losses import LossRecipe
from samkit.training.sam.clicks import (
    Clicks,
    add_points,
    begin_as_given,
    begin_with_text,
    clicked_cells,
    clicks_to_tokens,
    first_clicks,
    offered_candidates,
)
from samkit.training.sam.prompts import PromptRecipe, corrective_points
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask, to_target_size
from samkit.training.sam.trainable import ModelRecipe, Trainable, build_trainable
from samkit.training.task import Batch
from samkit.types import GivenPrompts

PAPER = InteractiveRecipe()


@pytest.fixture
def make_task():
    def make(recipe=PAPER, learns="all"):
        torch.manual_seed(0)
        model = ModelRecipe(config="tiny", weights=None, learns=learns)
        return InteractiveTask(build_trainable(model), recipe).train()

    return make


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(5, 32, 32, dtype=torch.bool)
    for number in range(5):
        masks[number, 3 + number : 12 + 2 * number, 2 : 9 + 3 * number] = True
    return Batch(
        pixels=torch.randn(2, 3, 128, 128, generator=generator),
        features=None,
        masks=masks,
        image_index=torch.tensor([0, 0, 1, 1, 1]),
        keys=("a", "b"),
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def short(**changes):
    prompts = {"corrections": 0, "mask_only_between": False, "mask_only_last": False, **changes}
    return InteractiveRecipe(prompts=PromptRecipe(**prompts))


def test_tokens_are_those_of_the_same_prompts_given_to_the_network(make_task):
    encoder = make_task().sam.prompt_encoder
    clicks = Clicks(
        from_box=torch.tensor([True, False]),
        boxes_xyxy=torch.tensor([[5.0, 6, 70, 80], [0, 0, 0, 0]]),
        first_xy=torch.tensor([[0.0, 0], [33, 44]]),
        points_xy=torch.zeros(2, 0, 2),
        labels=torch.zeros(2, 0, dtype=torch.long),
        wants_single=torch.zeros(2, dtype=torch.bool),
    )
    first = clicks_to_tokens(clicks, encoder)
    box_alone, _ = encoder(PromptTensors(boxes_xyxy=clicks.boxes_xyxy[:1]))
    point_alone, _ = encoder(
        PromptTensors(points_xy=torch.tensor([[[33.0, 44]]]), labels=torch.ones(1, 1))
    )
    torch.testing.assert_close(first, torch.cat([box_alone, point_alone]))

    clicks = add_points(clicks, torch.tensor([[10.0, 20], [30, 40]]), torch.tensor([0, 1]))
    clicks = add_points(clicks, torch.tensor([[11.0, 21], [31, 41]]), torch.tensor([1, 0]))
    box_and_points, _ = encoder(
        PromptTensors(
            points_xy=torch.tensor([[[10.0, 20], [11, 21]]]),
            labels=torch.tensor([[0, 1]]),
            boxes_xyxy=clicks.boxes_xyxy[:1],
        )
    )
    points, _ = encoder(
        PromptTensors(
            points_xy=torch.tensor([[[33.0, 44], [30, 40], [31, 41]]]),
            labels=torch.tensor([[1, 1, 0]]),
        )
    )
    torch.testing.assert_close(
        clicks_to_tokens(clicks, encoder), torch.cat([box_and_points, points])
    )


def test_a_session_asks_eleven_times_and_gives_the_last_answer_back(make_task, batch, monkeypatch):
    task = make_task(InteractiveRecipe(checkpoint_iterations=False))
    answers, given_back, tokens = [], [], []
    upscale, attend = MaskDecoder.upscale, MaskDecoder.attend
    embed_masks = type(task.sam.prompt_encoder).embed_masks

    def spy_attend(decoder, sparse, *others):
        attended = attend(decoder, sparse, *others)
        tokens.append(sparse.shape[1])
        answers.append([attended.iou_pred.detach(), None])
        return attended

    def spy_upscale(decoder, *tensors):
        logits = upscale(decoder, *tensors)
        answers[-1][1] = logits.detach()
        return logits

    def spy_embed(encoder, mask):
        given_back.append(mask)
        return embed_masks(encoder, mask)

    monkeypatch.setattr(MaskDecoder, "attend", spy_attend)
    monkeypatch.setattr(MaskDecoder, "upscale", spy_upscale)
    monkeypatch.setattr(type(task.sam.prompt_encoder), "embed_masks", spy_embed)
    task(batch, generator())
    assert len(answers) == 11
    assert [logits.shape[1] for _, logits in answers] == [4] + [1] * 10
    # A point each time, but twice: once among them and in the end.
    steps = [after - before for before, after in pairwise(tokens)]
    assert tokens[0] == 2
    assert sorted(steps) == [0, 0] + [1] * 8
    assert steps[-1] == 0
    iou_pred, logits = answers[0]
    best = 1 + iou_pred[:, 1:].argmax(1)  # the single mask is not offered for one prompt
    assert torch.equal(given_back[0][:, 0], logits[torch.arange(5), best])
    for (_, logits), mask in zip(answers[1:], given_back[1:], strict=False):
        assert torch.equal(mask, logits)
    assert len(given_back) == 10
    assert not any(mask.requires_grad for mask in given_back)


def test_one_prompt_teaches_the_ambiguous_masks_more_prompts_the_single_one(make_task, batch):
    def taught(recipe):
        task = make_task(recipe)
        task(batch, generator()).loss.backward()
        mlps = task.sam.mask_decoder.output_hypernetworks_mlps
        return [float(mlp.layers[0].weight.grad.abs().sum()) > 0 for mlp in mlps]

    assert taught(short())[0] is False
    assert any(taught(short())[1:])
    assert taught(short(corrections=1))[0] is True


def test_boxes_teach_the_single_mask_as_often_as_the_recipe_says(make_task, batch):
    def taught(**changes):
        task = make_task(short(box_probability=1, **changes))
        task(batch, generator()).loss.backward()
        mlps = task.sam.mask_decoder.output_hypernetworks_mlps
        return [float(mlp.layers[0].weight.grad.abs().sum()) > 0 for mlp in mlps]

    assert taught(single_box_probability=0)[0] is False
    assert taught(single_box_probability=1) == [True, False, False, False]


def test_only_boxes_ask_for_the_single_mask(batch):
    recipe = PromptRecipe(box_probability=0.5, single_box_probability=0.5)
    truth = batch.masks.repeat(200, 1, 1)
    clicks = first_clicks(truth, 64, recipe, generator())
    assert not (clicks.wants_single & ~clicks.from_box).any()
    assert clicks.from_box.float().mean() == pytest.approx(0.5, abs=0.06)
    assert clicks.wants_single.float().mean() == pytest.approx(0.25, abs=0.06)
    offered = offered_candidates(clicks, 4)
    assert offered[clicks.wants_single].tolist()[0] == [True, False, False, False]
    assert offered[~clicks.wants_single].tolist()[0] == [False, True, True, True]

    embeds = torch.ones(len(truth), 12)
    recipe = PromptRecipe(box_probability=1, single_box_probability=1, text_probability=0.5)
    clicks = first_clicks(truth, 64, recipe, generator())
    clicks = begin_with_text(clicks, embeds, recipe, generator(1))
    assert torch.equal(clicks.wants_single, ~clicks.from_text)


def test_computing_iterations_again_changes_nothing(make_task, batch):
    gradients = []
    for again in (False, True):
        task = make_task(InteractiveRecipe(checkpoint_iterations=again))
        result = task(batch, generator())
        result.loss.backward()
        gradients.append([p.grad for p in task.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for kept, computed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, computed, rtol=1e-4, atol=1e-7)


def test_the_same_generator_draws_the_same_session(make_task, batch):
    task = make_task()
    first, again, other = (task(batch, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.loss, again.loss)
    assert not torch.equal(first.loss, other.loss)
    assert first.parts.keys() == {"focal", "dice", "iou_error", "iou_first", "iou_last"}
    assert not any(part.requires_grad for part in first.parts.values())


def test_kept_embeddings_give_what_their_images_give(make_task, batch):
    task = make_task(learns="decoder")
    with torch.no_grad():
        features = task.sam.encode(batch.pixels).grid
    kept = Batch(**{**vars(batch), "pixels": None, "features": features})
    torch.testing.assert_close(task(kept, generator()).loss, task(batch, generator()).loss)


def test_masks_of_a_image_do_not_depend_on_the_others(make_task, batch):
    """The loss of a batch is the mean of its masks' losses: no mask sees another's image."""
    task = make_task(short(box_probability=1, box_noise=0))
    whole = task(batch, generator()).loss
    parts = []
    for image, rows in ((0, slice(0, 2)), (1, slice(2, 5))):
        one = Batch(
            pixels=batch.pixels[image : image + 1],
            features=None,
            masks=batch.masks[rows],
            image_index=torch.zeros(len(batch.masks[rows]), dtype=torch.long),
            keys=("x",),
        )
        parts.append(task(one, generator()).loss * len(one.masks))
    torch.testing.assert_close(whole, sum(parts) / 5, rtol=1e-4, atol=1e-6)


def test_the_truth_may_be_finer_than_the_logits(make_task, batch):
    fine = batch.masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    task = make_task()
    result = task(Batch(**{**vars(batch), "masks": fine}), generator())
    assert result.loss.isfinite()
    assert to_target_size(torch.zeros(2, 3, 32, 32), 128).shape == (2, 3, 128, 128)


def test_the_loss_falls(make_task, batch):
    task = make_task(short(corrections=1))
    optimiser = torch.optim.AdamW(task.parameters(), lr=2e-3)
    losses = []
    for step in range(30):
        optimiser.zero_grad()
        loss = task(batch, generator(step)).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_positions_are_computed_in_float32_in_mixed_precision(make_task, batch, monkeypatch):
    task = make_task(short())
    seen = []
    attend = MaskDecoder.attend

    def spy(decoder, sparse, *others):
        seen.append(sparse)
        return attend(decoder, sparse, *others)

    monkeypatch.setattr(MaskDecoder, "attend", spy)
    task(batch, generator())
    with torch.autocast("cpu", torch.bfloat16):
        task(batch, generator())
    assert torch.equal(seen[0], seen[1])


# --- Text ---


def text_clicks(encoder, from_text, corrections=0):
    count = len(from_text)
    return Clicks(
        from_box=torch.zeros(count, dtype=torch.bool),
        boxes_xyxy=torch.zeros(count, 4),
        first_xy=torch.tensor([[3.0, 4], [33, 44]])[:count],
        points_xy=torch.rand(count, corrections, 2) * 100,
        labels=torch.ones(count, corrections, dtype=torch.long),
        wants_single=torch.zeros(count, dtype=torch.bool),
        from_text=torch.tensor(from_text),
        text_embeds=torch.nn.functional.normalize(torch.randn(count, 12), dim=-1),
    )


def test_text_tokens_are_those_of_the_same_prompts_given_to_the_network(text_sam):
    encoder = text_sam.prompt_encoder
    for corrections in (0, 2):
        clicks = text_clicks(encoder, [True, False], corrections)
        tokens = clicks_to_tokens(clicks, encoder)
        assert tokens.shape[1] == 2 + corrections
        points = {} if not corrections else {"points_xy": clicks.points_xy, "labels": clicks.labels}
        with_text, _ = encoder(PromptTensors(text_embeds=clicks.text_embeds, **points))
        torch.testing.assert_close(tokens[0], with_text[0])
        plain = clicks_to_tokens(clicks._replace(from_text=None, text_embeds=None), encoder)
        torch.testing.assert_close(tokens[1], plain[1])


def test_so_many_masks_begin_with_text():
    count = 4000
    codes = torch.nn.functional.normalize(torch.randn(count, 12), dim=-1)
    codes[:1000] = torch.nan  # too small for a crop
    clicks = first_clicks(
        torch.ones(count, 8, 8, dtype=torch.bool), 128, PromptRecipe(), generator()
    )
    recipe = PromptRecipe(text_probability=0.6)
    begun = begin_with_text(clicks, codes, recipe, generator())
    assert not begun.from_text[:1000].any()
    assert abs(float(begun.from_text[1000:].float().mean()) - 0.6) < 0.03
    assert not (begun.from_text & begun.from_box).any()
    assert torch.equal(begun.from_box[:1000], clicks.from_box[:1000])
    assert begun.text_embeds.isfinite().all()
    torch.testing.assert_close(begun.text_embeds[1000:], codes[1000:])


def test_noise_moves_codes_by_its_length():
    codes = torch.nn.functional.normalize(torch.randn(500, 64), dim=-1)
    clicks = first_clicks(torch.ones(500, 8, 8, dtype=torch.bool), 128, PromptRecipe(), generator())
    recipe = PromptRecipe(text_probability=1, text_noise=0.5)
    moved = begin_with_text(clicks, codes, recipe, generator()).text_embeds
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(500))
    # A right triangle, as random vectors of many dimensions are about upright to each other.
    cosines = (moved * codes).sum(1)
    assert abs(float(cosines.mean()) - 1 / (1 + 0.5**2) ** 0.5) < 0.02


def test_a_text_session_trains_the_projection(text_sam, batch):
    trainable = Trainable(text_sam, ModelRecipe(config="tiny", weights=None, learns="all"))
    recipe = InteractiveRecipe(
        prompts=PromptRecipe(text_probability=1.0, corrections=1, mask_only_last=False),
        checkpoint_iterations=False,
    )
    task = InteractiveTask(trainable, recipe)
    codes = torch.nn.functional.normalize(torch.randn(len(batch.masks), 12), dim=-1)
    coded = replace(batch, text_embeds=codes)
    task(coded, generator()).loss.backward()
    assert float(text_sam.prompt_encoder.text_projection.weight.grad.abs().max()) > 0
    text_sam.zero_grad()
    task(batch, generator()).loss.backward()  # without crops nothing begins with text
    grad = text_sam.prompt_encoder.text_projection.weight.grad
    assert grad is None or float(grad.abs().max()) == 0


def test_no_correction_is_in_the_padding(make_task, batch, monkeypatch):
    """A network that is wrong in the padding is not clicked there, as no user could."""
    batch.ignored = torch.zeros(2, 32, 32, dtype=torch.bool)
    batch.ignored[:, 25:] = True
    batch.masks &= ~batch.ignored[batch.image_index]
    upscale = MaskDecoder.upscale

    def into_padding(decoder, *tensors):
        logits = upscale(decoder, *tensors)
        side = logits.shape[-1] * 25 // 32
        return torch.cat([logits[..., :side, :], torch.full_like(logits[..., side:, :], 9.0)], -2)

    drawn = []

    def spy(truth, predicted, generator, **settings):
        points, labels = corrective_points(truth, predicted, generator, **settings)
        drawn.append(points)
        return points, labels

    monkeypatch.setattr(MaskDecoder, "upscale", into_padding)
    monkeypatch.setattr("samkit.training.sam.task.corrective_points", spy)
    make_task()(batch, generator())
    assert len(drawn) == 8
    assert max(int(points[:, 1].max()) for points in drawn) < 25


def test_the_loss_of_an_image_does_not_depend_on_answers_in_its_padding(
    make_task, batch, monkeypatch
):
    batch.ignored = torch.zeros(2, 32, 32, dtype=torch.bool)
    batch.ignored[:, 25:] = True
    batch.masks &= ~batch.ignored[batch.image_index]
    recipe = short()
    upscale = MaskDecoder.upscale
    losses = []
    for filling in (-9.0, 9.0):

        def filled(decoder, *tensors, filling=filling):
            logits = upscale(decoder, *tensors)
            side = logits.shape[-1] * 25 // 32
            rest = torch.full_like(logits[..., side:, :], filling)
            return torch.cat([logits[..., :side, :], rest], -2)

        monkeypatch.setattr(MaskDecoder, "upscale", filled)
        losses.append(make_task(recipe)(batch, generator()).loss)
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.slow  # compiling takes a minute
# Once for the first prompt, once more for any number of corrections; in bfloat16 the first alone.
@pytest.mark.parametrize(("precision", "corrections"), [("float32", 2), ("bfloat16", 0)])
# torch's own, while it compiles.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_iterations_have_the_same_loss_and_gradients(
    make_task, batch, precision, corrections
):
    plain, fast = (
        make_task(short(corrections=corrections)),
        make_task(
            replace(short(corrections=corrections), compile=True, checkpoint_iterations=False)
        ),
    )
    losses = []
    for task in (plain, fast):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = task(batch, generator()).loss
        loss.backward()
        losses.append(float(loss.detach()))
    grads = [
        {
            name: parameter.grad.flatten()
            for name, parameter in task.named_parameters()
            if parameter.grad is not None
        }
        for task in (plain, fast)
    ]
    assert grads[0].keys() == grads[1].keys()
    if precision == "bfloat16":  # single numbers differ by rounding
        assert losses[0] == pytest.approx(losses[1], rel=1e-2)
        both = [torch.cat(list(own.values())) for own in grads]
        assert float(torch.cosine_similarity(*both, dim=0)) > 0.99
        return
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, expected in grads[0].items():
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            grads[1][name], expected, rtol=0.02, atol=1e-3 * scale + 1e-7, msg=name
        )


def test_clicked_cells_are_those_of_the_points(batch):
    recipe = PromptRecipe(box_probability=0.5)
    clicks = first_clicks(batch.masks, 128, recipe, generator())
    clicks = add_points(clicks, torch.full((5, 2), 42.0), torch.tensor([1, 0, 1, 0, 1]))
    cells, labels = clicked_cells(clicks, 128, 32)
    assert (labels[:, 0] == torch.where(clicks.from_box, -1, 1)).all()
    assert clicks.from_box.any()
    assert not clicks.from_box.all()
    assert batch.masks[torch.arange(5), cells[:, 0, 1], cells[:, 0, 0]].all()
    assert (cells[:, 1] == 10).all()  # pixels 40 to 43 of the model space
    assert labels[:, 1].tolist() == [1, 0, 1, 0, 1]


def test_people_s_first_clicks_take_the_place_of_drawn_ones():
    truth = torch.zeros(4, 32, 32, dtype=torch.bool)
    truth[:, 8:16, 8:16] = True
    first = [(40.0, 40.0, 1)], [(120.0, 8.0, 1)], [], [(33.5, 62.0, 1)]
    given = stack_given([GivenPrompts(tuple(one)) for one in first])
    recipe = PromptRecipe(box_probability=0, given_probability=1)
    drawn = first_clicks(truth, 128, recipe, generator())
    clicks, _ = begin_as_given(drawn, truth, given, 128, recipe, generator(1))
    # In the mask, beside it, unknown, in the mask.
    assert torch.equal(clicks.first_xy[[0, 3]], given.first_xy[[0, 3]])
    assert torch.equal(clicks.first_xy[[1, 2]], drawn.first_xy[[1, 2]])
    assert not clicks.from_box.any()
    half = PromptRecipe(box_probability=0, given_probability=0.5)
    many = truth[:1].repeat(400, 1, 1)
    where = stack_given([GivenPrompts(((40.0, 40.0, 1),))] * 400)
    drawn = first_clicks(many, 128, half, generator())
    clicks, _ = begin_as_given(drawn, many, where, 128, half, generator(1))
    used = (clicks.first_xy == where.first_xy).all(1).float().mean()
    assert used == pytest.approx(0.5, abs=0.08)


BOX = (30.0, 34.0, 66.0, 64.0)


def test_people_s_boxes_begin_sessions_if_they_are_about_those_of_the_masks():
    truth = torch.zeros(3, 32, 32, dtype=torch.bool)
    truth[:, 8:16, 8:16] = True  # pixels 32 to 64 of the model space
    boxes = BOX, (64.0, 64.0, 96.0, 96.0), None
    given = stack_given([GivenPrompts(box_xyxy=box) for box in boxes])
    recipe = PromptRecipe(box_probability=0, given_probability=1, single_box_probability=1)
    drawn = first_clicks(truth, 128, recipe, generator())
    clicks, _ = begin_as_given(drawn, truth, given, 128, recipe, generator(1))
    assert clicks.from_box.tolist() == clicks.wants_single.tolist() == [True, False, False]
    assert clicks.boxes_xyxy[0].tolist() == list(BOX)
    assert torch.equal(clicks.boxes_xyxy[1:], drawn.boxes_xyxy[1:])
    # And a click where a box was drawn.
    points = stack_given([GivenPrompts(((40.0, 40.0, 1),))] * 3)
    boxed = PromptRecipe(box_probability=1, given_probability=1, single_box_probability=1)
    drawn = first_clicks(truth, 128, boxed, generator())
    clicks, _ = begin_as_given(drawn, truth, points, 128, boxed, generator(1))
    assert not clicks.from_box.any()
    assert not clicks.wants_single.any()
    # Where all masks of a batch begin alike, they stay so.
    clicks, _ = begin_as_given(drawn, truth, points, 128, boxed, generator(1), alike=True)
    assert clicks.from_box.all()
    clicks, _ = begin_as_given(drawn, truth, given, 128, boxed, generator(1), alike=True)
    assert clicks.boxes_xyxy[0].tolist() == list(BOX)
    drawn = first_clicks(truth, 128, recipe, generator(), alike=True)
    clicks, _ = begin_as_given(drawn, truth, given, 128, recipe, generator(1), alike=True)
    assert not clicks.from_box.any()


def test_people_s_prompts_reach_the_decoder(make_task, batch):
    """The first prompt and all corrections, in their order; drawn ones where they contradict."""
    truth = torch.zeros(5, 32, 32, dtype=torch.bool)
    truth[:, 8:16, 8:16] = True
    inside, outside, wrong = (40.0, 44.5, 1), (90.0, 12.0, 0), (50.0, 50.0, 0)
    given = [
        GivenPrompts((inside, outside, (60.0, 36.0, 1))),
        GivenPrompts((outside, (36.0, 60.0, 1)), BOX),
        GivenPrompts((outside, inside, wrong)),  # a background click first
        GivenPrompts((outside,)),  # of an object that was followed, and corrected
        GivenPrompts(),
    ]
    prompts = {"box_probability": 0, "given_probability": 1, "single_box_probability": 1}
    task = make_task(short(**prompts, corrections=2, min_corrections=2))
    seen = []
    own = task.sam.prompt_encoder.embed_sparse

    def embed_sparse(one):
        seen.append(one)
        return own(one)

    task.sam.prompt_encoder.embed_sparse = embed_sparse
    task(replace(batch, masks=truth, given=stack_given(given)), generator())
    by_points = [one for one in seen if one.boxes_xyxy is None]
    by_boxes = [one for one in seen if one.boxes_xyxy is not None]
    assert [one.points_xy.shape[1] for one in by_points] == [1, 2, 3]
    last = torch.cat([by_points[-1].points_xy, by_points[-1].labels[..., None]], dim=2).tolist()
    assert last[0] == [list(click) for click in given[0].clicks]
    assert by_boxes[-1].boxes_xyxy[1].tolist() == list(BOX)
    assert last[1][1:] == [list(click) for click in given[1].clicks]
    assert last[2][:2] == [list(inside), list(outside)]
    assert last[2][2] != list(wrong)
    assert last[3][1] == list(outside)
    x, y, label = last[4][0]  # drawn
    assert label == truth[4, int((y + 0.5) / 4), int((x + 0.5) / 4)] == 1


# --- Masks that people rejected ---


def with_rejected(batch):
    """The batch with a rejected mask on each image, the second one in place of a mask."""
    regions = torch.zeros(2, 32, 32, dtype=torch.bool)
    regions[:, 20:28, 20:28] = True
    truths = torch.zeros_like(regions)
    truths[1] = batch.masks[2]
    return replace(
        batch, rejected=regions, rejected_truths=truths, rejected_index=torch.tensor([0, 1])
    )


def rejecting(weight=1.0):
    return replace(short(), loss=LossRecipe(rejected=weight))


def test_rejected_masks_cost_nothing_unless_a_recipe_says_so(make_task, batch):
    task = make_task(short())
    plain = task(batch, generator())
    assert task(with_rejected(batch), generator()).loss == plain.loss
    assert "rejected_error" not in plain.parts
    # All batches of such a recipe have the part, also those without any.
    without = make_task(rejecting())(batch, generator())
    assert without.loss == plain.loss
    assert without.parts["rejected_error"] == 0


def test_the_error_is_that_of_the_predicted_iou_at_rejected_masks(make_task, batch):
    torch.manual_seed(3)
    task = make_task(rejecting(2.0)).eval()
    batch = with_rejected(batch)
    with torch.no_grad():
        result = task(batch, generator())
        plain = make_task(short()).eval()(batch, generator())
    assert float(result.loss) == pytest.approx(
        float(plain.loss + 2 * result.parts["rejected_error"])
    )
    # The same by hand: a click in the region, three answers, their IoU with what people made.
    only = replace(batch, rejected=batch.rejected[:1], rejected_truths=batch.rejected_truths[:1])
    only = replace(only, rejected_index=only.rejected_index[:1])
    error = task(only, generator()).parts["rejected_error"]
    draws = generator()
    first_clicks(batch.masks, 128, short().prompts, draws)
    clicks = first_clicks(only.rejected, 128, replace(short().prompts, box_probability=0.0), draws)
    sam = task.sam
    features = task.trainable.encode(batch).rows(torch.tensor([0]))
    context = sam.prepare(features, None)
    attended = sam.attend(clicks_to_tokens(clicks, sam.prompt_encoder), context)
    answer = sam.upscale(sam.select(attended, multimask=True), context)
    expected = answer.iou_pred.detach().square().mean()
    assert float(error) == pytest.approx(float(expected), rel=1e-4)


def test_only_what_masks_are_said_to_be_worth_learns_from_rejected_ones(make_task, batch):
    """A decoder that trains on them says less there, and not elsewhere."""
    means = []
    for weight in (0.0, 4.0):
        task = make_task(rejecting(weight), learns="decoder")
        optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], 2e-3)
        own = with_rejected(batch)
        own.rejected_truths.zero_()
        for step in range(60):
            optimizer.zero_grad()
            task(own, generator(step)).loss.backward()
            optimizer.step()
        task.eval()
        sam = task.sam
        with torch.no_grad():
            features = task.trainable.encode(own)
            for regions, index in (
                (own.rejected, own.rejected_index),
                (own.masks, own.image_index),
            ):
                recipe = replace(short().prompts, box_probability=0.0)
                clicks = first_clicks(regions, 128, recipe, generator(99))
                context = sam.prepare(features.rows(index), None)
                attended = sam.attend(clicks_to_tokens(clicks, sam.prompt_encoder), context)
                answer = sam.upscale(sam.select(attended, multimask=True), context)
                means.append(float(answer.iou_pred.max(1).values.mean()))
    rejected_fell, masks_fell = means[0] - means[2], means[1] - means[3]
    assert rejected_fell > 0.1
    assert masks_fell < rejected_fell / 2
