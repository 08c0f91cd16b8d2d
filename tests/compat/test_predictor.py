"""The drop-in predictor, used as programs written for `segment_anything` use it."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import samkit
from samkit.compat.segment_anything import (
    SamAutomaticMaskGenerator,
    SamPredictor,
    sam_model_registry,
)
from samkit.compat.segment_anything.errors import (
    ImageFormatError,
    MissingLabelsError,
    NoImageError,
    PromptShapeError,
)
from samkit.compat.segment_anything.utils.transforms import ResizeLongestSide
from samkit.errors import PromptError


@pytest.fixture(scope="module")
def cat():
    return skimage.data.chelsea()


@pytest.fixture(scope="module")
def predictor(cat):
    """MobileSAM that has seen the cat."""
    predictor = SamPredictor(sam_model_registry["vit_t"]().to(device="cpu"))
    predictor.set_image(cat)
    return predictor


@pytest.fixture(scope="module")
def own(cat):
    own = samkit.Predictor.load("mobile_sam", backend="torch", precision="float32")
    return own, own.embed(cat)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("set_image", ["image", "image_format"]),
        ("set_torch_image", ["transformed_image", "original_image_size"]),
        (
            "predict",
            [
                "point_coords",
                "point_labels",
                "box",
                "mask_input",
                "multimask_output",
                "return_logits",
            ],
        ),
        (
            "predict_torch",
            [
                "point_coords",
                "point_labels",
                "boxes",
                "mask_input",
                "multimask_output",
                "return_logits",
            ],
        ),
    ],
)
def test_signatures_are_the_originals(method, names):
    assert [*inspect.signature(getattr(SamPredictor, method)).parameters][1:] == names


@pytest.mark.parametrize("multimask", [True, False])
def test_masks_are_those_of_our_predictor(predictor, own, multimask):
    own_predictor, embedding = own
    points, labels = np.array([[220, 60], [430, 220]]), np.array([1, 0])
    masks, iou, logits = predictor.predict(points, labels, multimask_output=multimask)
    expected = own_predictor.predict(embedding, points=points, labels=labels, multimask=multimask)
    assert masks.dtype == bool
    assert masks.shape == expected.masks.shape
    assert (masks != expected.masks).mean() < 1e-5  # resized by torch here and by OpenCV there
    np.testing.assert_allclose(iou, expected.iou_pred, atol=1e-5)
    np.testing.assert_allclose(logits, expected.logits, atol=1e-3)


def test_box_and_earlier_logits(predictor, own):
    own_predictor, embedding = own
    box = np.array([120, 80, 190, 150])
    _, scores, logits = predictor.predict(box=box)
    best = logits[np.argmax(scores)][None]
    masks, _, _ = predictor.predict(box=box, mask_input=best, multimask_output=False)
    expected = own_predictor.predict(embedding, boxes=box, mask_logits=best, multimask=False)
    assert masks.shape == (1, 300, 451)
    assert (masks != expected.masks).mean() < 1e-5
    plain = predictor.predict(box=box, mask_input=best[0], multimask_output=False)  # without axis
    np.testing.assert_array_equal(plain[0], masks)


def test_batches_of_boxes_as_tensors(predictor):
    boxes = torch.tensor([[120, 80, 190, 150], [10, 0, 370, 299]])
    transformed = predictor.transform.apply_boxes_torch(boxes, (300, 451))
    masks, iou, low_res = predictor.predict_torch(None, None, transformed, multimask_output=False)
    assert masks.shape == (2, 1, 300, 451)
    assert iou.shape == (2, 1)
    assert low_res.shape == (2, 1, 256, 256)
    for box, mask in zip(boxes, masks, strict=True):
        alone, _, _ = predictor.predict(box=box.numpy(), multimask_output=False)
        assert (alone[0] != mask[0].numpy()).mean() < 1e-5


def test_logits_instead_of_masks(predictor):
    points, labels = np.array([[140, 105]]), np.array([1])
    masks, _, _ = predictor.predict(points, labels)
    logits, _, _ = predictor.predict(points, labels, return_logits=True)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits > predictor.model.mask_threshold, masks)


def test_bgr_images_are_turned(sam, cat):
    rgb, bgr = SamPredictor(sam), SamPredictor(sam)
    rgb.set_image(cat)
    bgr.set_image(cat[..., ::-1], image_format="BGR")
    assert torch.equal(bgr.get_image_embedding(), rgb.get_image_embedding())


def test_torch_images_give_the_same_features(sam, cat):
    one, other = SamPredictor(sam), SamPredictor(sam)
    one.set_image(cat)
    resized = other.transform.apply_image(cat)
    assert resized.shape == (85, 128, 3)
    other.set_torch_image(torch.as_tensor(resized).permute(2, 0, 1)[None], cat.shape[:2])
    assert torch.equal(other.features, one.features)
    assert other.input_size == one.input_size == (85, 128)


def test_batched_call_answers_each_image(sam, cat):
    predictor = SamPredictor(sam)
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    prompts = (
        {"boxes": torch.tensor([[120, 80, 190, 150], [10, 0, 370, 299]])},
        {"point_coords": torch.tensor([[[220.0, 60.0]]]), "point_labels": torch.tensor([[1]])},
        {"boxes": torch.zeros(0, 4)},
    )
    images = [cat, cat[:200], cat]
    batch = []
    for image, prompt in zip(images, prompts, strict=True):
        size_hw = image.shape[:2]
        one = {
            "image": torch.as_tensor(resize.apply_image(image)).permute(2, 0, 1),
            "original_size": size_hw,
            **prompt,
        }
        if "boxes" in prompt:
            one["boxes"] = resize.apply_boxes_torch(prompt["boxes"], size_hw)
        else:
            one["point_coords"] = resize.apply_coords_torch(prompt["point_coords"], size_hw)
        batch.append(one)
    answers = sam(batch, multimask_output=True)
    for image, one, answer in zip(images, batch, answers, strict=True):
        predictor.set_image(image)
        masks, iou, logits = predictor.predict_torch(
            one.get("point_coords"), one.get("point_labels"), one.get("boxes")
        )
        assert answer["masks"].shape == masks.shape
        assert (answer["masks"] != masks).sum() <= 1e-4 * masks.numel()
        torch.testing.assert_close(answer["iou_predictions"], iou, atol=1e-4, rtol=0)
        torch.testing.assert_close(answer["low_res_logits"], logits, atol=1e-3, rtol=0)


def test_prompts_in_double_precision_are_those_in_single(predictor):
    # as torch.as_tensor(transform.apply_coords(...)) gives them
    boxes = torch.tensor([[120, 80, 190, 150], [10, 0, 370, 299]])
    expected = predictor.predict_torch(None, None, boxes=boxes.float())
    answer = predictor.predict_torch(None, None, boxes=boxes.double())
    torch.testing.assert_close(answer, expected, rtol=0, atol=0)
    points = torch.tensor([[[150.0, 110.0], [40.0, 30.0]]])
    labels = torch.tensor([[1, 0]])
    expected = predictor.predict_torch(points, labels)
    for kind in (torch.float64, torch.int32, torch.uint8):
        answer = predictor.predict_torch(points.to(torch.float64), labels.to(kind))
        torch.testing.assert_close(answer, expected, rtol=0, atol=0)


def test_the_batched_call_takes_double_precision_and_needs_labels(sam, cat, refusal):
    transform = ResizeLongestSide(1024)
    size_hw = cat.shape[:2]
    pixels = torch.as_tensor(transform.apply_image(cat)).permute(2, 0, 1)
    image = {"image": pixels, "original_size": size_hw}
    points = torch.as_tensor(transform.apply_coords(np.array([[[150, 110]]]), size_hw))
    boxes = torch.as_tensor(transform.apply_boxes(np.array([[80, 60, 300, 250]]), size_hw))
    assert points.dtype == boxes.dtype == torch.float64
    prompts = {"point_coords": points, "point_labels": torch.ones(1, 1), "boxes": boxes}
    single = {name: value.float() for name, value in prompts.items()}
    found, expected = (sam([image | one], multimask_output=False)[0] for one in (prompts, single))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with refusal(MissingLabelsError, "points need labels"):
        sam([image | {"point_coords": points}], multimask_output=False)


@pytest.mark.parametrize(("multimask", "num_masks"), [(True, 3), (False, 1)])
def test_an_empty_batch_gives_an_empty_answer(predictor, multimask, num_masks):
    masks, iou, logits = predictor.predict_torch(
        None, None, boxes=torch.zeros(0, 4), multimask_output=multimask
    )
    assert masks.shape == (0, num_masks, 300, 451)
    assert masks.dtype == torch.bool
    assert iou.shape == (0, num_masks)
    assert logits.shape == (0, num_masks, 256, 256)
    points = predictor.predict_torch(torch.zeros(0, 1, 2), torch.zeros(0, 1), multimask_output=True)
    assert points[0].shape == (0, 3, 300, 451)
    transform = predictor.transform
    assert transform.apply_boxes_torch(torch.zeros(0, 4), (300, 451)).shape == (0, 4)
    assert transform.apply_boxes(np.zeros((0, 4)), (300, 451)).shape == (0, 4)


def test_an_image_without_prompts_is_answered_as_the_original_answers_it(predictor):
    masks, _, _ = predictor.predict(multimask_output=False)
    assert masks.shape == (1, 300, 451)


def test_wrong_use_is_refused_in_one_line(predictor, cat, refusal):
    empty = SamPredictor(predictor.model)
    assert not empty.is_image_set
    with refusal(NoImageError, "set_image"):
        empty.predict(np.array([[1, 1]]), np.array([1]))
    with refusal(NoImageError, "set_image"):
        empty.get_image_embedding()
    with refusal(MissingLabelsError, "point_labels"):
        predictor.predict(np.array([[1, 1]]))
    with refusal(MissingLabelsError, "point_labels"):
        predictor.predict_torch(torch.zeros(1, 1, 2), None)
    with refusal(PromptShapeError, "one box", "(2, 4)", "predict_torch"):
        predictor.predict(box=np.array([[32, 48, 128, 156], [176, 84, 288, 192]]))
    with refusal(PromptShapeError, "(1, 2, 2) and (1, 1)"):
        predictor.predict(np.zeros((2, 2)), np.ones(1))
    with refusal(PromptShapeError, "2 of points, 1 of boxes"):
        predictor.predict_torch(torch.zeros(2, 1, 2), torch.ones(2, 1), torch.zeros(1, 4))
    with refusal(ImageFormatError, "RGB or BGR"):
        predictor.set_image(cat, image_format="HSV")
    with refusal(ImageFormatError, "uint8"):
        predictor.set_image(cat.astype(np.float32))
    with refusal(ImageFormatError, "got None: the file was not read"):
        predictor.set_image(None)
    with refusal(ImageFormatError, "got Image", "np.asarray"):
        predictor.set_image(Image.fromarray(cat))
    with refusal(ImageFormatError, "longest side 1024"):
        predictor.set_torch_image(torch.zeros(1, 3, 512, 512), (300, 451))


def test_errors_are_of_the_kinds_that_the_original_raises():
    assert issubclass(NoImageError, RuntimeError)
    assert issubclass(PromptShapeError, RuntimeError)
    assert issubclass(MissingLabelsError, AssertionError)
    assert issubclass(ImageFormatError, AssertionError)
    assert issubclass(NoImageError, PromptError)


def test_reset_forgets_the_image(sam, cat):
    predictor = SamPredictor(sam)
    predictor.set_image(cat)
    assert predictor.is_image_set
    predictor.reset_image()
    assert not predictor.is_image_set
    assert (predictor.features, predictor.original_size, predictor.input_size) == (None,) * 3


def test_predictors_and_generators_are_pickled_and_copied(sam, cat):
    generator = SamAutomaticMaskGenerator(sam, points_per_side=2)
    small = cat[:90, :120]
    expected = generator.generate(small)
    predictor = SamPredictor(sam)
    predictor.set_image(small)
    logits = predictor.predict(np.array([[60, 50]]), np.array([1]))[2]
    both = predictor, generator
    for other, other_generator in (pickle.loads(pickle.dumps(both)), copy.deepcopy(both)):
        assert other.model is not sam
        np.testing.assert_array_equal(other.predict(np.array([[60, 50]]), np.array([1]))[2], logits)
        got = other_generator.generate(small)
        assert [one["bbox"] for one in got] == [one["bbox"] for one in expected]


def test_mask_of_booleans_is_no_input(predictor, refusal):
    """The original takes it for logits of 0 and 1; logits stay logits."""
    with refusal(PromptError, "mask_input are logits", "np.where(mask, 12, -12)"):
        predictor.predict(mask_input=np.ones((1, 256, 256), bool))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("most", [1, 255])
def test_mask_of_numbers_is_no_input(predictor, most, dtype, refusal):
    mask = np.zeros((1, 256, 256), dtype)
    mask[:, 90:120, 90:120] = most
    with refusal(PromptError, f"got a mask of 0 and {most}", "np.where(mask, 12, -12)"):
        predictor.predict(mask_input=mask)


def test_arrays_are_no_tensors(predictor, refusal):
    for parts in (
        {"boxes": np.array([[1, 2, 30, 40]])},
        {"point_coords": np.ones((1, 1, 2)), "point_labels": np.ones((1, 1))},
    ):
        given = {"point_coords": None, "point_labels": None} | parts
        with refusal(PromptError, "takes tensors; got ndarray", "torch.as_tensor"):
            predictor.predict_torch(**given)
