"""The model for FiftyOne on its own samples and labels, which need no database."""

import cv2
import numpy as np
import pytest

import samkit
from other_programs import load
from samkit import AutoMaskConfig, AutoMasker, Predictor
from samkit.errors import ConfigError, DataError
from samkit.proposals import PRESETS

pytestmark = pytest.mark.filterwarnings("ignore")
fo = load("fiftyone")
fo_models = load("fiftyone.core.models")
fo_utils = load("fiftyone.core.utils")
fo_images = load("fiftyone.utils.image")
integration = load("samkit.integrations.fiftyone")
HEIGHT, WIDTH = 48, 64
IMAGE = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
CONFIG = AutoMaskConfig(points_per_side=4, iou_thresh=0, stability_thresh=0)


@pytest.fixture
def predictor(tiny_sam):
    return Predictor(tiny_sam, model_name="tiny")


@pytest.fixture
def model(predictor, monkeypatch):
    monkeypatch.setattr("samkit.proposals.PRESETS", {**PRESETS, "test": CONFIG})
    return integration.SegmentationModel(predictor, preset="test", classes=["cell"])


@pytest.fixture
def apply(model, tmp_path):
    """Apply the model as `apply_model` does to each sample; return the label field's detections."""
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), IMAGE[..., ::-1])

    def run(prompts=None, **needs):
        sample = fo.Sample(str(path), prompts=prompts)
        assert isinstance(model, fo_models.Model)
        assert isinstance(model, fo_models.SamplesMixin)
        assert model.media_type == "image"
        with fo_utils.SetAttributes(model, needs_fields=needs), model:
            pixels = fo_images.read(sample.filepath)
            [labels] = model.predict_all([pixels], samples=[sample])
        sample.add_labels(labels, label_field="out", confidence_thresh=0)
        return sample.out.detections

    return run


def mask_of(detection):
    """The mask (H, W), drawn by FiftyOne."""
    drawn = detection.to_segmentation(frame_size=(WIDTH, HEIGHT), target=1).mask
    return np.asarray(drawn) > 0


def test_boxes_become_masks_with_their_labels(apply, predictor):
    boxes = [[0.125, 0.25, 0.5, 0.5], [0.5, 0.0, 0.5, 0.75]]
    prompts = fo.Detections(
        detections=[
            fo.Detection(label=name, bounding_box=box, index=index)
            for name, box, index in zip(("cat", "dog"), boxes, (3, None), strict=True)
        ]
    )
    found = apply(prompts, prompt_field="prompts")
    answer = predictor.predict(
        predictor.embed(IMAGE), boxes=[[8, 12, 40, 36], [32, 0, 64, 36]], multimask=False
    ).best()
    assert [(one.label, one.index) for one in found] == [("cat", 3), ("dog", None)]
    assert answer.masks.any(axis=(1, 2, 3)).all()
    for one, [mask], [iou] in zip(found, answer.masks, answer.iou_pred, strict=True):
        assert (mask_of(one) == mask).all()
        assert one.confidence == pytest.approx(float(iou.clip(0, 1)))


def test_keypoints_become_masks(apply, predictor):
    prompts = fo.Keypoints(
        keypoints=[
            fo.Keypoint(label="one", points=[(0.5, 0.25)]),
            fo.Keypoint(
                label="two",
                points=[(0.25, 0.5), (float("nan"), float("nan")), (0.75, 0.75)],
                sam_labels=[1, 1, 0],
            ),
        ]
    )
    one, two = apply(prompts, prompt_field="prompts")
    embedding = predictor.embed(IMAGE)
    first = predictor.predict(embedding, points=[32, 12]).best().masks[0]
    second = predictor.predict(
        embedding, points=[[16, 24], [48, 36]], labels=[1, 0], multimask=False
    ).best()
    assert (one.label, two.label) == ("one", "two")
    assert (mask_of(one) == first).all()
    assert (mask_of(two) == second.masks[0]).all()


def test_without_prompts_everything_is_segmented(apply, predictor):
    found = apply()
    masks = AutoMasker(predictor, CONFIG).generate(IMAGE)
    assert len(masks) > 1
    assert [one.label for one in found] == ["cell"] * len(masks)
    assert [one.confidence for one in found] == pytest.approx(masks.scores.clip(0, 1).tolist())
    for one, mask in zip(found, masks, strict=True):
        assert (mask_of(one) == mask).all()


def test_a_sample_without_prompts_gets_no_masks(apply):
    assert apply(None, prompt_field="prompts") == []
    assert apply(fo.Detections(detections=[]), prompt_field="prompts") == []


def test_other_labels_are_refused(apply, predictor):
    with pytest.raises(DataError, match="field 'prompts' has Classification"):
        apply(fo.Classification(label="cat"), prompt_field="prompts")
    with pytest.raises(DataError, match="1 points and 2 labels"):
        apply(fo.Keypoint(points=[(0.5, 0.5)], sam_labels=[1, 0]), prompt_field="prompts")
    with pytest.raises(DataError, match="no points"):
        apply(fo.Keypoint(points=[]), prompt_field="prompts")
    with pytest.raises(ConfigError, match="prompts are in prompt_field; got boxes"):
        apply(None, boxes="prompts")
    with pytest.raises(ConfigError, match="unknown preset"):
        integration.SegmentationModel(predictor, preset="none")


class Reader:
    """Frames, as FiftyOne's reader gives them: `frame_number` is that of the latest one."""

    def __init__(self, frames, first=1):
        self.frames = frames
        self.first = first

    def __iter__(self):
        for number, frame in enumerate(self.frames, self.first):
            self.frame_number = number
            yield frame


@pytest.fixture(scope="module")
def video_model():
    return integration.VideoSegmentationModel(samkit.VideoPredictor.load("mobile_sam_tuned"))


def scene(shift):
    """A frame (H, W, 3) with a disc that is `shift` pixels to the right."""
    frame = np.full((90, 130, 3), 40, np.uint8)
    return cv2.circle(frame, (30 + shift, 48), 16, (200, 60, 60), -1)


def video_sample(prompts):
    """A sample with prompts by frame number."""
    sample = fo.Sample("clip.mp4")
    for number, value in prompts.items():
        sample.frames[number] = fo.Frame(prompts=value)
    return sample


def follow(video_model, reader, prompts, field="frames.prompts"):
    with fo_utils.SetAttributes(video_model, needs_fields={"prompt_field": field}):
        return video_model.predict(reader, sample=video_sample(prompts))


def test_a_mask_is_followed_as_it_is_and_a_later_prompt_is_an_object_of_its_own(video_model):
    disc = (scene(0) != 40).any(axis=2)
    masked = fo.Detection.from_mask(disc, label="disc", index=0)
    prompts = {
        4: fo.Detections(detections=[masked]),
        5: fo.Keypoints(keypoints=[fo.Keypoint(label="same", points=[(34 / 130, 48 / 90)])]),
    }
    clip = Reader([scene(0), scene(4), scene(8)], first=4)  # of a longer video
    found = follow(video_model, clip, prompts)
    assert list(found) == [4, 5, 6]
    [first] = found[4].detections
    drawn = np.asarray(first.to_segmentation(frame_size=(130, 90), target=1).mask) > 0
    # FiftyOne draws what it was given a pixel aside, as it cuts digits off.
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.85
    assert [(one.label, one.index) for one in found[5].detections] == [("disc", 0), ("same", 1)]
    assert len(found[6].detections) == 2


def test_prompts_of_a_video_are_in_its_frames(video_model):
    with pytest.raises(ConfigError, match=r"prompt_field='frames\.detections'"):
        follow(video_model, Reader([scene(0)]), {}, field="prompts")


def test_a_video_without_prompts_gets_no_labels(video_model):
    assert follow(video_model, Reader([scene(0), scene(4)]), {1: None}) == {}
