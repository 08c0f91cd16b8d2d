"""The drop-in's image predictor, used as programs written for `sam2` use it."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import samkit
from samkit.compat.sam2.build_sam import build_sam2
from samkit.compat.sam2.errors import (
    ImageFormatError,
    MissingLabelsError,
    NoImageError,
    NotABatchError,
    PromptShapeError,
)
from samkit.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
from samkit.compat.sam2.utils.transforms import SAM2Transforms, small_regions

CLICK, LABEL = np.array([[30, 20]]), np.array([1])
BOXES = np.array([[10, 10, 50, 40], [5, 5, 85, 55], [60, 30, 80, 50]])


@pytest.fixture
def image(frames):
    return frames[0]


@pytest.fixture
def ready(model, image):
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image)
    return predictor


@pytest.fixture
def expected(model, image):
    """What samkit's own predictor answers."""
    predictor = samkit.Predictor(model.network, model_name="tiny_sam2")
    embedding = predictor.embed(image)

    def answer(**prompts):
        return predictor.predict(embedding, **prompts)

    return answer


def test_a_click_has_three_masks_of_the_images_size(ready, expected):
    masks, scores, logits = ready.predict(point_coords=CLICK, point_labels=LABEL)
    answer = expected(points=CLICK, labels=LABEL)
    np.testing.assert_allclose(logits, answer.logits, atol=1e-5)
    np.testing.assert_allclose(scores, answer.iou_pred, atol=1e-6)
    assert masks.shape == (3, 60, 100)
    assert masks.dtype == np.float32
    # From the logits in one step, as in the original; samkit goes by the model's input.
    upscaled = torch.nn.functional.interpolate(
        torch.from_numpy(answer.logits)[None], (60, 100), mode="bilinear"
    )
    np.testing.assert_array_equal(masks, upscaled[0] > 0)


def test_points_boxes_and_masks_are_combined(ready, expected):
    _, scores, logits = ready.predict(CLICK, LABEL, multimask_output=True)
    best = logits[np.argmax(scores)]
    points, labels = np.array([[30, 20], [70, 40]]), np.array([1, 0])
    masks, _, refined = ready.predict(
        point_coords=points,
        point_labels=labels,
        box=BOXES[0],
        mask_input=best[None, :, :],
        multimask_output=False,
    )
    answer = expected(
        points=points, labels=labels, boxes=BOXES[0], mask_logits=best, multimask=False
    )
    np.testing.assert_allclose(refined, answer.logits, atol=1e-5)
    assert masks.shape == (1, 60, 100)


def test_many_boxes_at_once_have_an_axis_more(ready, expected):
    masks, scores, logits = ready.predict(
        point_coords=None, point_labels=None, box=BOXES, multimask_output=False
    )
    assert masks.shape == (3, 1, 60, 100)
    assert scores.shape == (3, 1)
    answer = expected(boxes=BOXES, multimask=False)
    np.testing.assert_allclose(logits, answer.logits, atol=1e-5)


def test_many_points_at_once(ready, expected):
    points = np.array([[[30, 20]], [[70, 40]]])
    _, _, logits = ready.predict(points, np.ones((2, 1)))
    np.testing.assert_allclose(logits, expected(points=points).logits, atol=1e-5)


def test_logits_are_returned_where_asked_and_low_ones_are_limited(ready):
    masks, _, _ = ready.predict(CLICK, LABEL)
    logits, _, low = ready.predict(CLICK, LABEL, return_logits=True)
    np.testing.assert_array_equal(logits > 0, masks)
    assert np.abs(low).max() <= 32


def test_fractions_are_coordinates_that_are_not_normalised(ready):
    _, _, pixels = ready.predict(CLICK, LABEL, box=BOXES[0])
    _, _, fractions = ready.predict(
        CLICK / [100, 60], LABEL, box=BOXES[0] / [100, 60, 100, 60], normalize_coords=False
    )
    np.testing.assert_allclose(fractions, pixels, atol=1e-5)


def test_labels_2_and_3_are_a_box(ready):
    """As the programs of the first weeks gave them."""
    _, _, box = ready.predict(box=BOXES[0], multimask_output=False)
    _, _, corners = ready.predict(BOXES[0].reshape(2, 2), np.array([2, 3]), multimask_output=False)
    np.testing.assert_allclose(corners, box, atol=1e-5)


def test_a_batch_of_images_of_different_sizes_is_as_one_by_one(model, frames):
    images = [frames[0], np.ascontiguousarray(frames[3][:40, :90])]
    boxes = [BOXES, BOXES[:1]]
    points, labels = [None, CLICK], [None, LABEL]
    batch = SAM2ImagePredictor(model)
    batch.set_image_batch(images)
    masks, scores, logits = batch.predict_batch(None, None, boxes, multimask_output=False)
    assert [one.shape for one in masks] == [(3, 1, 60, 100), (1, 40, 90)]
    alone = SAM2ImagePredictor(model)
    for index, image in enumerate(images):
        alone.set_image(image)
        _, iou, low = alone.predict(box=boxes[index], multimask_output=False)
        np.testing.assert_allclose(logits[index], low, atol=1e-4)
        np.testing.assert_allclose(scores[index], iou, atol=1e-5)
    masks, _, _ = batch.predict_batch([CLICK, CLICK], [LABEL, LABEL])
    assert [one.shape for one in masks] == [(3, 60, 100), (3, 40, 90)]
    with pytest.raises(PromptShapeError, match="for each of 2 images; got 1"):
        batch.predict_batch(points[1:], labels[1:])


def test_single_masks_that_are_unstable_are_replaced_only_with_postprocessing(checkpoint, image):
    answers = {}
    for applied in (True, False):
        model = build_sam2("tiny_sam2", checkpoint, device="cpu", apply_postprocessing=applied)
        predictor = SAM2ImagePredictor(model)
        predictor.set_image(image)
        answers[applied] = predictor.predict(box=BOXES[0], multimask_output=False)[2]
        candidates = predictor.predict(box=BOXES[0], multimask_output=True)[2]
    # With random weights the single mask is never stable.
    assert np.abs(candidates - answers[True]).max(axis=(1, 2)).min() < 1e-5
    assert np.abs(candidates - answers[False]).max(axis=(1, 2)).min() > 0.1


def test_images_of_pillow_are_taken(ready, model, image):
    expected = ready.get_image_embedding()
    assert expected.shape == (1, 128, 8, 8)
    other = SAM2ImagePredictor(model)
    other.set_image(Image.fromarray(image))
    assert torch.equal(other.get_image_embedding(), expected)


@pytest.mark.slow
def test_the_embedded_model_answers_too(image):
    model = build_sam2("mobile_sam", device="cpu")
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image)
    own = samkit.Predictor(model.network, model_name="mobile_sam")
    embedding = own.embed(image)
    for prompts in ({"box": BOXES[:2]}, {"point_coords": CLICK, "point_labels": LABEL}):
        masks, _, logits = predictor.predict(**prompts, multimask_output=False)
        names = {"box": "boxes", "point_coords": "points", "point_labels": "labels"}
        answer = own.predict(
            embedding, **{names[k]: v for k, v in prompts.items()}, multimask=False
        )
        np.testing.assert_allclose(logits, answer.logits.clip(-32, 32), atol=1e-3)
        assert (masks != answer.masks).mean() < 1e-3


def test_autocast_is_possible(ready, image):
    _, _, exact = ready.predict(box=BOXES[0], multimask_output=False)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        ready.set_image(image)
        masks, _, logits = ready.predict(box=BOXES[0], multimask_output=False)
    assert masks.dtype == logits.dtype == np.float32
    assert np.abs(logits - exact).mean() < 0.1 * np.abs(exact).max()


def test_a_decoder_is_fine_tuned_through_the_predictors_parts(model, image):
    """The widespread recipe: prompts prepared by the predictor, its parts called one by one."""
    predictor = SAM2ImagePredictor(model)
    predictor.model.sam_mask_decoder.train(True)
    predictor.model.sam_prompt_encoder.train(True)
    optimizer = torch.optim.AdamW(predictor.model.sam_mask_decoder.parameters(), lr=2e-3)
    target = torch.zeros(1, 60, 100)
    target[:, 10:40, 20:60] = 1
    losses = []
    for _ in range(12):
        predictor.set_image(image)
        mask_input, coords, labels, box = predictor._prep_prompts(
            CLICK[None], LABEL[None], box=None, mask_logits=None, normalize_coords=True
        )
        sparse, dense = predictor.model.sam_prompt_encoder(
            points=(coords, labels), boxes=box, masks=mask_input
        )
        low, scores, _, _ = predictor.model.sam_mask_decoder(
            image_embeddings=predictor._features["image_embed"][-1].unsqueeze(0),
            image_pe=predictor.model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=coords.shape[0] > 1,
            high_res_features=[f[-1][None] for f in predictor._features["high_res_feats"]],
        )
        masks = predictor._transforms.postprocess_masks(low, predictor._orig_hw[-1])
        found = torch.sigmoid(masks[:, 0])
        loss = (
            -target * torch.log(found + 1e-5) - (1 - target) * torch.log(1 - found + 1e-5)
        ).mean()
        loss = loss + 0.05 * (scores[:, 0] - 0.5).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses


def test_holes_and_specks_are_removed_where_asked():
    logits = torch.full((1, 1, 32, 32), -5.0)
    logits[..., 4:20, 4:20] = 5
    logits[..., 8:10, 8:10] = -5  # a hole of 4 cells
    logits[..., 28, 28] = 5  # a speck of 1
    clean = SAM2Transforms(128, 0.0, max_hole_area=4, max_sprinkle_area=1)
    masks = clean.postprocess_masks(logits, (32, 32)) > 0
    assert masks[0, 0, 4:20, 4:20].all()
    assert masks.sum() == 256
    same = SAM2Transforms(128, 0.0, max_hole_area=3, max_sprinkle_area=0)
    assert (same.postprocess_masks(logits, (32, 32)) > 0).sum() == 253
    assert not small_regions(np.ones((3, 3), bool), 4).any()


def test_names_and_defaults_are_the_originals():
    parameters = inspect.signature(SAM2ImagePredictor.predict).parameters
    assert {name: one.default for name, one in parameters.items() if name != "self"} == {
        "point_coords": None,
        "point_labels": None,
        "box": None,
        "mask_input": None,
        "multimask_output": True,
        "return_logits": False,
        "normalize_coords": True,
    }
    parameters = inspect.signature(SAM2ImagePredictor.predict_batch).parameters
    assert [*parameters][1:5] == [
        "point_coords_batch",
        "point_labels_batch",
        "box_batch",
        "mask_input_batch",
    ]


def test_a_model_of_the_hub_is_loaded(hub, network):
    predictor = SAM2ImagePredictor.from_pretrained("facebook/sam2.1-hiera-tiny", device="cpu")
    assert predictor.model.network is network
    assert predictor.mask_threshold == 0.0
    assert predictor.device == torch.device("cpu")
    assert hub == [("sam2.1_hiera_tiny",) * 2]


def test_wrong_input_is_one_line_and_of_the_originals_kind(ready, model, image, refusal):
    with refusal(MissingLabelsError, "point_coords need point_labels"):
        ready.predict(CLICK)
    with refusal(PromptShapeError, "point_coords must be (N, 2) or (B, N, 2)"):
        ready.predict(CLICK, np.array([1, 0]))
    with refusal(PromptShapeError, "box must be (4,) or (B, 4); got (3,)"):
        ready.predict(box=np.array([1, 2, 3]))
    with refusal(PromptShapeError, "mask_input must be (1, 32, 32)"):
        ready.predict(CLICK, LABEL, mask_input=np.zeros((1, 64, 64)))
    with refusal(PromptShapeError, "equally many prompts; got [1, 3]"):
        ready.predict(CLICK, LABEL, box=BOXES)
    with refusal(NotABatchError, "call set_image_batch"):
        ready.predict_batch([CLICK], [LABEL])
    ready.reset_predictor()
    for ask in (lambda: ready.predict(CLICK, LABEL), ready.get_image_embedding):
        with refusal(NoImageError, "call set_image(...) first"):
            ask()
        with pytest.raises(RuntimeError):
            ask()
    fresh = SAM2ImagePredictor(model)
    for wrong in (None, image.astype(np.float32), image[..., 0]):
        with pytest.raises(ImageFormatError):
            fresh.set_image(wrong)
    for wrong in (image, []):
        with refusal(ImageFormatError, "images must be a list of arrays"):
            fresh.set_image_batch(wrong)
