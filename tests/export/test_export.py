"""Exported models: the same masks as PyTorch's, also for programs that know SAM's ONNX files."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from samkit.errors import BackendError, ConfigError, OutputError, WeightsError
from samkit.export import FORMATS, PARTS, PRECISIONS, export_model, writing
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor
from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.weights import load_model, save_checkpoint

pytestmark = pytest.mark.usefixtures("all_backends")

GRAPH_FORMATS = ("onnx", "openvino")  # whose graphs are run; programs have tests of their own


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, randomise):
    torch.manual_seed(0)
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(model, path, name="tiny")
    return path


@pytest.fixture(scope="module")
def plain(checkpoint):
    return Predictor.load(checkpoint, backend="torch", precision="float32", threads=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, checkpoint):
    root = tmp_path_factory.mktemp("exported")
    for name in GRAPH_FORMATS:
        export_model(checkpoint, root / name, format=name)
    return root


@pytest.fixture(scope="module", params=GRAPH_FORMATS)
def exported(request, folders):
    return Predictor.load(folders / request.param, threads=1)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def prompts():
    random = np.random.default_rng(2)
    points = random.uniform(0, 90, (5, 2, 2))
    boxes = np.sort(random.uniform(0, 90, (3, 2, 2)), axis=1).reshape(3, 4)
    mask = random.normal(size=(1, 32, 32))
    return {
        "point": {"points": points[0, :1], "labels": [1]},
        "batch": {"points": points, "labels": np.tile([1, 0], (5, 1))},
        "points of other numbers": {
            "points": [points[0], points[1, :1]],
            "labels": [[1, 0], [1]],
        },
        "boxes": {"boxes": boxes, "multimask": False},
        "box and points": {"boxes": boxes[0], "points": points[0], "labels": [1, 0]},
        "mask": {"mask_logits": mask},
        "mask and point": {"mask_logits": mask, "points": points[0, :1], "labels": [1]},
        "masks and boxes": {"mask_logits": np.stack([mask] * 3), "boxes": boxes},
    }


@pytest.mark.parametrize("name", prompts())
def test_answers_are_those_of_the_network(plain, exported, image, name):
    answers = [one.predict(one.embed(image), **prompts()[name]) for one in (plain, exported)]
    scale = answers[0].logits.std()
    np.testing.assert_allclose(answers[1].logits, answers[0].logits, atol=1e-3 * scale)
    np.testing.assert_allclose(answers[1].iou_pred, answers[0].iou_pred, atol=1e-4)


def test_embeddings_serve_both(plain, exported, image):
    assert exported.encoder_checksum == plain.encoder_checksum
    answers = [one.predict(plain.embed(image), points=[[50, 40]]) for one in (plain, exported)]
    np.testing.assert_allclose(answers[1].iou_pred, answers[0].iou_pred, atol=1e-4)


def test_automatic_masks_are_the_same(plain, exported, image):
    config = AutoMaskConfig(
        points_per_side=4, iou_thresh=0.0, stability_thresh=0.0, box_nms_thresh=1.0
    )
    found = [AutoMasker(one, config).generate(image) for one in (plain, exported)]
    assert len(found[0]) > 1
    assert len(found[0]) == len(found[1])
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-4)


def test_a_predictor_of_a_folder_says_what_runs(folders):
    exported = Predictor.load(folders / "onnx", threads=1)
    assert exported.describe() == {
        "model": "tiny",
        "backend": "onnx",
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    assert Predictor.load(folders / "onnx", backend="openvino").backend.info.backend == "openvino"


def test_a_predictor_of_a_folder_is_pickled(exported, image):
    again = pickle.loads(pickle.dumps(exported))
    points = {"points": [[50, 40]], "labels": [1]}
    one, other = (each.predict(each.embed(image), **points) for each in (exported, again))
    assert (one.logits == other.logits).all()


@pytest.mark.parametrize("size_hw", [(90, 120), (120, 75), (128, 128), (300, 200)])
def test_programs_for_the_published_decoder_get_the_same_masks(folders, plain, size_hw):
    """As such programs do it: pixels of the model, a padding point, one prompt, masks upscaled."""
    pixels = np.random.default_rng(1).integers(0, 256, (*size_hw, 3), np.uint8)
    embedding = plain.embed(pixels)
    session = onnxruntime.InferenceSession(folders / "onnx" / "decoder.onnx")
    side = plain.model.image_spec.size
    scale = side / max(size_hw)
    logits_side = plain.model.image_spec.size // 4

    def ask(points_xy, labels, mask=None):
        return session.run(
            None,
            {
                "image_embeddings": embedding.features.grid.numpy(),
                "point_coords": (np.array(points_xy, np.float32) * scale)[None],
                "point_labels": np.array(labels, np.float32)[None],
                "mask_input": np.zeros((1, 1, logits_side, logits_side), np.float32)
                if mask is None
                else mask,
                "has_mask_input": np.array([float(mask is not None)], np.float32),
                "orig_im_size": np.array(size_hw, np.float32),
            },
        )

    masks, iou, low_res = ask([(30, 20), (50, 60), (0, 0)], [1, 0, -1])
    assert masks.shape == (1, 4, *size_hw)
    three = plain.predict(embedding, points=[(30, 20), (50, 60)], labels=[1, 0])
    single = plain.predict(embedding, points=[(30, 20), (50, 60)], labels=[1, 0], multimask=False)
    np.testing.assert_allclose(iou[0], [*single.iou_pred, *three.iou_pred], atol=1e-3)
    for found, expected in zip(masks[0] > 0, [*single.masks, *three.masks], strict=True):
        # The published graph upscales in two steps and samkit in one.
        assert (found ^ expected).mean() < 0.01
    box = ask([(10, 15), (60, 70)], [2, 3])
    expected = plain.predict(embedding, boxes=[10, 15, 60, 70], multimask=False)
    scale_of_logits = expected.logits.std()
    np.testing.assert_allclose(box[2][0, :1], expected.logits, atol=0.02 * scale_of_logits)
    given = ask([(30, 20), (0, 0)], [1, -1], low_res[:, :1])
    assert np.abs(given[2] - ask([(30, 20), (0, 0)], [1, -1])[2]).max() > 1e-3  # the mask counts


def test_the_folder_says_what_is_in_it(folders, checkpoint):
    content = json.loads((folders / "onnx" / "samkit.json").read_text())
    assert content["image"]["size"] == load_model(checkpoint).model.image_spec.size
    assert content["compared"]["mean_iou"] > 0.995
    session = onnxruntime.InferenceSession(folders / "onnx" / "encoder.onnx")
    assert [one.name for one in session.get_inputs()] == content["inputs"]["encoder"]
    assert [one.name for one in session.get_outputs()] == content["outputs"]["encoder"]


def bytes_of_weights(folder, part):
    if (folder / f"{part}.bin").exists():
        return (folder / f"{part}.bin").stat().st_size
    weights = onnx.load(folder / f"{part}.onnx").graph.initializer
    return sum(len(one.raw_data) for one in weights)


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_half_precision_takes_half_the_space(
    folders, checkpoint, tmp_path, plain, image, file_format
):
    half = tmp_path / "half"
    export_model(checkpoint, half, format=file_format, precision="float16")
    for part in ("encoder", "decoder"):
        sizes = [bytes_of_weights(one, part) for one in (folders / file_format, half)]
        assert sizes[1] < 0.7 * sizes[0]  # arrays of few values stay as they are
    halved = Predictor.load(half)
    answers = [one.predict(one.embed(image), points=[[50, 40]]) for one in (plain, halved)]
    np.testing.assert_allclose(answers[1].iou_pred, answers[0].iou_pred, atol=0.02)


def test_one_part_alone(checkpoint, tmp_path):
    export_model(checkpoint, tmp_path / "part", parts=["decoder"])
    assert {one.name for one in (tmp_path / "part").iterdir()} == {"decoder.onnx", "samkit.json"}
    with pytest.raises(WeightsError, match=r"encoder\.onnx is missing: export with --parts"):
        Predictor.load(tmp_path / "part")


def test_what_differs_is_not_written(checkpoint, tmp_path, monkeypatch):
    worse = SimpleNamespace(mean_iou=0.9)
    monkeypatch.setattr(writing, "compare_masks", lambda *_: worse)
    with pytest.raises(BackendError, match=r"IoU 0\.9000 on average, 0\.995 at least"):
        export_model(checkpoint, tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "unknown format 'tflite': expected onnx or openvino or torch"),
        ({"parts": ["head"]}, "unknown part 'head': expected encoder or decoder or video"),
        ({"parts": []}, "no parts to export"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"format": "torch", "precision": "float16"}, "float16 is for onnx and openvino"),
    ],
)
def test_wrong_settings_are_told(checkpoint, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        export_model(checkpoint, tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())


def test_a_sam_has_no_video_parts(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="is for models with a memory: give a SAM 2 for videos"):
        export_model(checkpoint, tmp_path / "new", parts=["encoder", "decoder", "video"])


def test_a_folder_that_holds_something_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty: give a new folder"):
        export_model(checkpoint, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not empty"):
        export_model(checkpoint, tmp_path / "file")


def test_an_empty_folder_is_filled(checkpoint, tmp_path):
    (tmp_path / "new").mkdir()
    assert len(export_model(checkpoint, tmp_path / "new").files) == 3


class TestLoading:
    def test_a_folder_of_anything_else(self, tmp_path):
        with pytest.raises(WeightsError, match=r"is a folder without samkit\.json"):
            Predictor.load(tmp_path)

    @pytest.mark.parametrize("content", ["{", "[]", '{"format": "x"}'])
    def test_damaged_metadata(self, tmp_path, content):
        (tmp_path / "samkit.json").write_text(content)
        with pytest.raises(WeightsError, match="is damaged, or of another version"):
            Predictor.load(tmp_path)

    def test_another_version(self, folders, tmp_path):
        content = json.loads((folders / "onnx" / "samkit.json").read_text())
        (tmp_path / "samkit.json").write_text(json.dumps(content | {"format": "samkit-export-9"}))
        with pytest.raises(WeightsError, match="another version of samkit: export the model again"):
            Predictor.load(tmp_path)

    @pytest.mark.parametrize("runtime", ["onnx", "openvino"])
    def test_a_damaged_part(self, folders, tmp_path, runtime):
        for path in (folders / "onnx").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "decoder.onnx").write_bytes(b"no graph")
        with pytest.raises(WeightsError, match=r"decoder\.onnx is damaged"):
            Predictor.load(tmp_path, backend=runtime)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"backend": "torch"}, "which backend 'torch' does not run"),
            ({"device": "cuda"}, "was exported for the CPU"),
            ({"precision": "bfloat16"}, "was exported in float32; got bfloat16"),
        ],
    )
    def test_what_cannot_be(self, folders, options, message):
        with pytest.raises(BackendError, match=message):
            Predictor.load(folders / "onnx", **options)

    def test_openvino_files_are_not_for_onnx_runtime(self, folders):
        with pytest.raises(BackendError, match="holds openvino files, which backend 'onnx'"):
            Predictor.load(folders / "openvino", backend="onnx")

    def test_weights_are_needed_elsewhere(self, folders):
        with pytest.raises(WeightsError, match="is a folder: weights are needed here"):
            load_model(folders / "onnx")


def test_the_command(checkpoint, tmp_path, capsys, image):
    from samkit.cli.main import main

    assert main(["export", str(checkpoint), "-o", str(tmp_path / "new"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["files"]) == {"encoder.onnx", "decoder.onnx", "samkit.json"}
    assert found["compared"]["masks"] == 44
    Image.fromarray(image).save(tmp_path / "image.png")
    arguments = [str(tmp_path / "image.png"), "--point", "50,40", "--backend", "auto"]
    arguments += ["--model", str(tmp_path / "new"), "-o", str(tmp_path / "o")]
    assert main(["segment", *arguments]) == 0
    assert main(["export", "mobile_sam_9", "-o", str(tmp_path / "other")]) == 2
    assert "unknown model 'mobile_sam_9'" in capsys.readouterr().err


def test_the_command_has_the_library_s_names():
    from samkit.cli import export

    assert ((*FORMATS, "transformers"), PARTS) == (export.FORMAT_NAMES, export.PART_NAMES)
    assert export.PRECISION_NAMES == PRECISIONS
