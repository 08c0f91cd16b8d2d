"""The drop-in module, used as programs written for `segment_anything` use it."""

import inspect

import numpy as np
import pytest
import skimage.data
import torch

import samkit
from samkit.compat.segment_anything import (
    ResizeLongestSide,
    SamPredictor,
    build_sam,
    sam_model_registry,
)
from samkit.errors import ImageError, PromptError, WeightsError
from samkit.models import CONFIGS, Sam
from samkit.weights.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def image():
    return skimage.data.chelsea()


@pytest.fixture(scope="module")
def predictor(image):
    predictor = SamPredictor(sam_model_registry["vit_t"]().to(device="cpu"))
    predictor.set_image(image)
    return predictor


@pytest.fixture(scope="module")
def own(image):
    own = samkit.Predictor.load(backend="torch", precision="float32")
    return own, own.embed(image)


def test_registry_has_the_original_names():
    assert set(sam_model_registry) == {"default", "vit_h", "vit_l", "vit_b", "vit_t"}
    assert sam_model_registry["default"] is build_sam


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


def test_bgr_images_are_turned(predictor, image):
    other = SamPredictor(predictor.model)
    other.set_image(image[..., ::-1], image_format="BGR")
    assert torch.equal(other.get_image_embedding(), predictor.get_image_embedding())


def test_torch_images_give_the_same_features(predictor, image):
    other = SamPredictor(predictor.model)
    resized = other.transform.apply_image(image)
    assert resized.shape == (681, 1024, 3)
    tensor = torch.as_tensor(resized).permute(2, 0, 1)[None]
    other.set_torch_image(tensor, image.shape[:2])
    torch.testing.assert_close(other.features, predictor.features, atol=1e-4, rtol=1e-4)
    assert other.input_size == predictor.input_size == (681, 1024)


def test_batched_call_answers_each_image(predictor, image):
    sam = predictor.model
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    tensor = torch.as_tensor(resize.apply_image(image)).permute(2, 0, 1)
    box = resize.apply_boxes_torch(torch.tensor([[120, 80, 190, 150]]), image.shape[:2])
    (answer,) = sam(
        [{"image": tensor, "boxes": box, "original_size": image.shape[:2]}], multimask_output=False
    )
    alone, iou, _ = predictor.predict(box=np.array([120, 80, 190, 150]), multimask_output=False)
    assert (answer["masks"][0].numpy() != alone).mean() < 1e-5
    np.testing.assert_allclose(answer["iou_predictions"][0], iou, atol=1e-4)
    assert answer["low_res_logits"].shape == (1, 1, 256, 256)


def test_checkpoints_load_by_keyword_and_must_fit(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(Sam(CONFIGS["tiny"]), path, name="tiny")
    with pytest.raises(WeightsError, match="does not fit sam_vit_b"):
        sam_model_registry["vit_b"](checkpoint=path)


def test_state_dict_has_the_original_keys(predictor):
    assert set(predictor.model.state_dict()) == set(Sam(CONFIGS["mobile_sam"]).state_dict())


def test_wrong_use_is_told(predictor, image):
    empty = SamPredictor(predictor.model)
    assert not empty.is_image_set
    with pytest.raises(PromptError, match="set_image"):
        empty.predict(np.array([[1, 1]]), np.array([1]))
    with pytest.raises(PromptError, match="point_labels"):
        predictor.predict(np.array([[1, 1]]))
    with pytest.raises(ImageError, match="RGB or BGR"):
        predictor.set_image(image, image_format="HSV")
    with pytest.raises(ImageError, match="uint8"):
        predictor.set_image(image.astype(np.float32))
    with pytest.raises(ImageError, match="longest side 1024"):
        predictor.set_torch_image(torch.zeros(1, 3, 512, 512), (300, 451))


def test_reset_forgets_the_image(predictor, image):
    other = SamPredictor(predictor.model)
    other.set_image(image)
    assert other.is_image_set
    other.reset_image()
    assert not other.is_image_set
    assert (other.features, other.original_size, other.input_size) == (None, None, None)
