"""The call of transformers' mask generation, answered by samkit."""

import numpy as np

from samkit import AutoMaskConfig, AutoMasker, Predictor
from samkit.errors import ConfigError
from samkit.integrations import MaskGenerationPipeline

IMAGE = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
ALL = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "points_per_crop": 4}


def test_its_settings_are_those_of_the_masker(tiny_sam):
    predictor = Predictor(tiny_sam, model_name="tiny")
    generate = MaskGenerationPipeline(predictor)
    found = generate(IMAGE, **ALL, crops_n_layers=1, output_bboxes_mask=True, points_per_batch=64)
    config = AutoMaskConfig(iou_thresh=0, stability_thresh=0, points_per_side=4, crop_layers=1)
    expected = AutoMasker(predictor, config).generate(IMAGE)
    assert len(expected) > 1
    np.testing.assert_array_equal(found["masks"], expected.to_arrays())
    np.testing.assert_array_equal(found["scores"], expected.scores)
    np.testing.assert_array_equal(found["bounding_boxes"], expected.boxes_xyxy)


def test_several_images_get_an_answer_each(tiny_sam):
    generate = MaskGenerationPipeline(Predictor(tiny_sam, model_name="tiny"))
    one, other = generate([IMAGE, IMAGE[:, ::-1].copy()], **ALL)
    assert one.keys() == {"masks", "scores"}
    np.testing.assert_array_equal(one["masks"], generate(IMAGE, **ALL)["masks"])
    assert not np.array_equal(one["masks"], other["masks"])


def test_settings_are_checked(tiny_sam, refusal):
    with refusal(ConfigError, "points_per_side"):
        MaskGenerationPipeline(Predictor(tiny_sam, model_name="tiny"))(IMAGE, points_per_crop=0)
