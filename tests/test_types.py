"""Values check themselves when made, and come back from files as they were."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

import samkit.types
from samkit.drawing import draw_masks
from samkit.errors import EmbeddingError, OutputError, PromptError
from samkit.geometry import CoordMap, boxes_from_masks
from samkit.geometry.resize import logits_to_original
from samkit.types import ImageEmbedding, MaskPrediction, Masks, Prompts

COORDS = CoordMap(original_hw=(40, 60), model_size=128)
SIDE = COORDS.logits_size  # 32

# --- Prompts: shapes ---

PARTS = {  # of one prompt
    "points": {"points": [[1, 2], [3, 4], [5, 6]], "labels": [1, 0, 1]},
    "box": {"boxes": [1, 2, 30, 40]},
    "mask": {"mask_logits": np.arange(SIDE * SIDE).reshape(SIDE, SIDE)},
}
COMBINATIONS = [
    ("points",), ("box",), ("mask",), ("points", "box"), ("points", "mask"), ("box", "mask"),
    ("points", "box", "mask"),
]  # fmt: skip


def one_prompt(names):
    return {key: value for name in names for key, value in PARTS[name].items()}


def batch_of(count, prompt):
    """The same prompt several times, with the axes that a batch has."""
    batch = {name: np.stack([np.asarray(value)] * count) for name, value in prompt.items()}
    if "mask_logits" in batch:
        batch["mask_logits"] = batch["mask_logits"][:, None]
    return batch


def assert_shapes(prompts, count, names):
    expected = {
        "points_xy": (count, 3, 2) if "points" in names else None,
        "labels": (count, 3) if "points" in names else None,
        "boxes_xyxy": (count, 4) if "box" in names else None,
        "mask_logits": (count, 1, SIDE, SIDE) if "mask" in names else None,
    }
    for name, shape in expected.items():
        value = getattr(prompts, name)
        assert shape == (None if value is None else value.shape), name
    assert len(prompts) == count
    prompts.check_fits(COORDS)


@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_one_prompt_gets_a_prompt_axis(names):
    prompts = Prompts.of(**one_prompt(names))
    assert_shapes(prompts, 1, names)
    assert prompts.batched is False


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_batch_keeps_its_prompt_axis(names, count):
    prompts = Prompts.of(**batch_of(count, one_prompt(names)))
    assert_shapes(prompts, count, names)
    assert prompts.batched is True


def test_values_are_kept_and_have_one_type():
    prompts = Prompts.of(**one_prompt(("points", "box", "mask")))
    assert prompts.points_xy.tolist() == [[[1, 2], [3, 4], [5, 6]]]
    assert prompts.labels.tolist() == [[1, 0, 1]]
    assert prompts.boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    np.testing.assert_array_equal(prompts.mask_logits[0, 0], PARTS["mask"]["mask_logits"])
    types = [
        getattr(prompts, name).dtype
        for name in ("points_xy", "labels", "boxes_xyxy", "mask_logits")
    ]
    assert types == [np.float64, np.int64, np.float64, np.float32]


def test_mask_of_one_prompt_may_have_the_axis_of_an_answer():
    mask = np.zeros((1, SIDE, SIDE))
    prompts = Prompts.of(mask_logits=mask)
    assert prompts.mask_logits.shape == (1, 1, SIDE, SIDE)
    assert prompts.batched is False


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
@pytest.mark.parametrize("dtype", [int, float])
def test_anything_like_an_array_is_taken(make, dtype):
    prompts = Prompts.of(points=make([[dtype(1), dtype(2)]]), labels=make([1]))
    assert prompts.points_xy.tolist() == [[[1, 2]]]


def test_later_changes_to_the_callers_array_of_integers_do_not_matter():
    points = np.array([[1, 2]])
    prompts = Prompts.of(points=points, labels=[1])
    points[:] = 9
    assert prompts.points_xy.tolist() == [[[1, 2]]]


def test_prompts_are_compared_by_identity():
    prompts, other = (Prompts.of(boxes=[1, 2, 3, 4]) for _ in range(2))
    assert prompts == prompts
    assert prompts != other
    assert len({prompts, other}) == 2


def test_prompts_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prompts.of(boxes=[1, 2, 3, 4]).boxes_xyxy = None


# --- Prompts: refusals ---

REFUSED = {
    "nothing": ({}, "needs points, a box or mask_logits"),
    "labels alone": ({"labels": [1]}, "needs points, a box or mask_logits"),
    "labels with a box": ({"labels": [1], "boxes": [0, 0, 1, 1]}, "labels need points"),
    "no labels": ({"points": [[1, 2]]}, "points need labels"),
    "too few labels": (
        {"points": [[1, 2], [3, 4]], "labels": [1]},
        "points and labels must agree in number",
    ),
    "labels of a batch": ({"points": [[1, 2]], "labels": [[1]]}, "must agree in number"),
    "points of a batch": ({"points": [[[1, 2]]], "labels": [1]}, "must agree in number"),
    "label for all": ({"points": [[1, 2]], "labels": 1}, "must agree in number"),
    "label 2": ({"points": [[1, 2]], "labels": [2]}, "labels must be 1", "got 2"),
    "label -1": ({"points": [[1, 2]], "labels": [-1]}, "labels must be 1", "got -1"),
    "label 0.5": ({"points": [[1, 2]], "labels": [0.5]}, "labels must be 1", "got 0.5"),
    "label NaN": ({"points": [[1, 2]], "labels": [np.nan]}, "labels must be 1", "got nan"),
    "one number": ({"points": 5, "labels": [1]}, "points must be (N, 2) or (P, N, 2); got ()"),
    "flat point": ({"points": [1, 2], "labels": [1]}, "points must be (N, 2)", "got (2,)"),
    "empty list": ({"points": [], "labels": []}, "points must be (N, 2)", "got (0,)"),
    "three coordinates": ({"points": [[1, 2, 3]], "labels": [1]}, "got (1, 3)"),
    "four axes": ({"points": np.zeros((1, 1, 1, 2)), "labels": [1]}, "got (1, 1, 1, 2)"),
    "no points": ({"points": np.zeros((0, 2)), "labels": []}, "needs at least one; got 0"),
    "no points in a batch": (
        {"points": np.zeros((3, 0, 2)), "labels": np.zeros((3, 0))},
        "needs at least one; got 0",
    ),
    "empty batch of points": (
        {"points": np.zeros((0, 1, 2)), "labels": np.zeros((0, 1))},
        "a batch needs at least one prompt",
    ),
    "empty batch of boxes": ({"boxes": np.zeros((0, 4))}, "a batch needs at least one prompt"),
    "empty batch of masks": (
        {"mask_logits": np.zeros((0, 1, SIDE, SIDE))},
        "a batch needs at least one prompt",
    ),
    "NaN point": ({"points": [[1, np.nan]], "labels": [1]}, "points must be finite"),
    "infinite point": ({"points": [[1, np.inf]], "labels": [1]}, "points must be finite"),
    "None as coordinate": ({"points": [[1, None]], "labels": [1]}, "points must be"),
    "NaN box": ({"boxes": [0, 0, 1, np.nan]}, "boxes must be finite"),
    "infinite box": ({"boxes": [-np.inf, 0, 1, 1]}, "boxes must be finite"),
    "inverted box": ({"boxes": [5, 0, 1, 9]}, "x0 < x1 and y0 < y1; got 5, 0, 1, 9"),
    "box upside down": ({"boxes": [0, 9, 5, 1]}, "x0 < x1 and y0 < y1; got 0, 9, 5, 1"),
    "empty box": ({"boxes": [[0, 0, 1, 1], [3, 3, 3, 9]]}, "got 3, 3, 3, 9"),
    "box of three": ({"boxes": [1, 2, 3]}, "boxes must be (4,) or (P, 4); got (3,)"),
    "boxes of boxes": ({"boxes": np.ones((1, 1, 4))}, "got (1, 1, 4)"),
    "one number as box": ({"boxes": 5}, "boxes must be (4,) or (P, 4); got ()"),
    "flat mask": ({"mask_logits": np.zeros(9)}, "mask_logits must be (S, S)", "got (9,)"),
    "three masks": ({"mask_logits": np.zeros((3, SIDE, SIDE))}, "got (3, 32, 32)"),
    "three masks each": ({"mask_logits": np.zeros((2, 3, SIDE, SIDE))}, "got (2, 3, 32, 32)"),
    "NaN mask": ({"mask_logits": np.full((SIDE, SIDE), np.nan)}, "mask_logits must be finite"),
    "infinite mask": ({"mask_logits": np.full((SIDE, SIDE), -np.inf)}, "must be finite"),
    "mask beyond float32": ({"mask_logits": np.full((SIDE, SIDE), 1e300)}, "must be finite"),
    "ragged points": (
        {"points": [[1, 2], [3]], "labels": [1, 1]},
        "points must be numbers in a regular array",
        "[[1, 2], [3]]",
    ),
    "ragged labels": (
        {"points": [[1, 2]], "labels": [[1], [1, 0]]},
        "labels must be numbers in a regular array",
    ),
    "text": ({"boxes": "1 2 3 4"}, "boxes must be numbers in a regular array", "'1 2 3 4'"),
    "array of text": (
        {"points": np.array([["a", "b"], ["c", "d"]]), "labels": [1, 1]},
        "points must be numbers",
    ),
    "dictionary": ({"points": {"x": 1}, "labels": [1]}, "points must be numbers"),
    "integer beyond float64": ({"boxes": [0, 0, 1, 10**400]}, "boxes must be numbers"),
    "tensor with gradients": (
        {"boxes": torch.ones(4, requires_grad=True)},
        "boxes must be numbers in a regular array",
    ),
    "box of a batch with points of one": (
        {"points": [[1, 2]], "labels": [1], "boxes": [[0, 0, 1, 1]]},
        "either all parts of prompts have a prompt axis, or none",
        "points has not, boxes has",
    ),
    "mask of one with boxes of a batch": (
        {"boxes": [[0, 0, 1, 1]], "mask_logits": np.zeros((SIDE, SIDE))},
        "boxes has, mask_logits has not",
    ),
    "batches that disagree": (
        {"points": np.ones((3, 1, 2)), "labels": np.ones((3, 1)), "boxes": [[0, 0, 1, 1]]},
        "must agree in number; got 3 of points, 1 of boxes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_prompt_is_refused(case, refusal):
    values, *told = REFUSED[case]
    with refusal(PromptError, *told):
        Prompts.of(**values)


def clicks(*points):
    return Prompts.of(points=points, labels=[1] * len(points))


@pytest.mark.parametrize("xy", [(0, 0), (59, 39), (59.999, 39.999), (0.5, 20)])
def test_points_in_the_photo_fit(xy):
    clicks((5, 5), xy).check_fits(COORDS)


@pytest.mark.parametrize("xy", [(60, 5), (5, 40), (-0.001, 5), (5, -1), (1e9, 5)])
def test_points_outside_of_the_photo_do_not_fit(xy, refusal):
    x, y = xy
    told = f"point ({x:g}, {y:g}) lies outside of the image of width 60 and height 40"
    with refusal(PromptError, told):
        clicks((5, 5), xy).check_fits(COORDS)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 60, 40), (-9, -9, 70, 50), (59, 39, 99, 99), (-5, -5, 0.5, 0.5), (59.9, 5, 60.1, 6)],
)
def test_boxes_that_overlap_the_photo_fit(box):
    Prompts.of(boxes=[(1, 1, 2, 2), box]).check_fits(COORDS)


@pytest.mark.parametrize(
    "box", [(60, 0, 70, 9), (0, 40, 9, 50), (-9, 0, 0, 9), (0, -9, 9, 0), (99, 99, 100, 100)]
)
def test_boxes_outside_of_the_photo_do_not_fit(box, refusal):
    shown = ", ".join(str(v) for v in box)
    told = f"box ({shown}) lies outside of the image of width 60 and height 40"
    with refusal(PromptError, told):
        Prompts.of(boxes=[(1, 1, 2, 2), box]).check_fits(COORDS)


@pytest.mark.parametrize("shape", [(16, 16), (SIDE, SIDE + 1), (256, 256), (0, 0), (40, 60)])
def test_masks_of_another_size_do_not_fit(shape, refusal):
    prompts = Prompts.of(mask_logits=np.zeros(shape))
    with refusal(PromptError, "mask_logits must be (32, 32)", f"got {shape}"):
        prompts.check_fits(COORDS)


# --- Embeddings ---


def embedding(features=None, coords=COORDS):
    return ImageEmbedding(
        features=torch.randn(1, 3, 8, 8) if features is None else features,
        coords=coords,
        model_name="tiny",
        encoder_checksum="0123456789abcdef",
    )


def assert_same_embedding(one, other):
    assert one.features.dtype == other.features.dtype
    torch.testing.assert_close(one.features, other.features, rtol=0, atol=0)
    for name in ("coords", "model_name", "encoder_checksum"):
        assert getattr(one, name) == getattr(other, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("embeddings")


@given(
    channels=st.integers(1, 5),
    grid=st.integers(1, 9),
    original_hw=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    model_size=st.integers(4, 2048),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_embedding_comes_back_from_its_file(channels, grid, original_hw, model_size, dtype, folder):
    kept = embedding(
        torch.randn(1, channels, grid, grid).to(dtype),
        CoordMap(original_hw=original_hw, model_size=model_size),
    )
    kept.save(folder / "a.safetensors")
    assert_same_embedding(ImageEmbedding.load(folder / "a.safetensors"), kept)
    assert [path.name for path in folder.iterdir()] == ["a.safetensors"]


def test_features_may_be_a_view_and_have_gradients(tmp_path):
    features = torch.randn(1, 8, 8, 3, requires_grad=True).permute(0, 3, 1, 2)
    kept = embedding(features)
    kept.save(str(tmp_path / "a.safetensors"))
    loaded = ImageEmbedding.load(str(tmp_path / "a.safetensors"))
    assert not loaded.features.requires_grad
    assert_same_embedding(loaded, embedding(features.detach()))


def test_saved_names_are_those_of_the_documented_format(tmp_path):
    embedding().save(tmp_path / "a.safetensors")
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert list(file.keys()) == ["features"]
        assert file.metadata() == {
            "format": "samkit-embedding-1",
            "model_name": "tiny",
            "encoder_checksum": "0123456789abcdef",
            "original_hw": "40,60",
            "model_size": "128",
        }


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8), (64,)])
def test_features_of_another_shape_are_refused(shape, refusal):
    with refusal(EmbeddingError, "features must be (1, C, G, G)", str(shape)):
        embedding(torch.zeros(shape))


def test_embeddings_folder_is_missing(tmp_path, refusal):
    with refusal(OutputError, "cannot write", str(tmp_path / "missing" / "a.safetensors")):
        embedding().save(tmp_path / "missing" / "a.safetensors")


def test_full_disk_leaves_the_older_embedding(tmp_path, refusal):
    resource = pytest.importorskip("resource")
    kept = embedding()
    kept.save(tmp_path / "a.safetensors")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with refusal(OutputError, "cannot write", str(tmp_path / "a.safetensors")):
            embedding(torch.zeros(1, 64, 16, 16)).save(tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same_embedding(ImageEmbedding.load(tmp_path / "a.safetensors"), kept)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_missing_embedding(tmp_path, refusal):
    with refusal(EmbeddingError, f"no such file: {tmp_path / 'a.safetensors'}"):
        ImageEmbedding.load(tmp_path / "a.safetensors")


def test_truncated_embedding(tmp_path, refusal):
    path = tmp_path / "a.safetensors"
    embedding().save(path)
    data = path.read_bytes()
    for length in {0, 1, 8, 9, 100, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:length])
        with refusal(EmbeddingError, f"{path} is damaged or not an embedding"):
            ImageEmbedding.load(path)


def test_folder_and_text_are_no_embeddings(tmp_path, refusal):
    with refusal(EmbeddingError, f"{tmp_path} is damaged or not an embedding"):
        ImageEmbedding.load(tmp_path)
    (tmp_path / "a.txt").write_text("a text of some length\nand two lines")
    with refusal(EmbeddingError, "a.txt is damaged or not an embedding"):
        ImageEmbedding.load(tmp_path / "a.txt")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "samkit-embedding-99"}])
def test_other_safetensors_file(metadata, tmp_path, refusal):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"features": torch.zeros(1, 3, 8, 8)}, path, metadata=metadata)
    with refusal(EmbeddingError, f"{path} is not an embedding saved by samkit"):
        ImageEmbedding.load(path)


GOOD_METADATA = {
    "format": samkit.types.EMBEDDING_FORMAT,
    "model_name": "tiny",
    "encoder_checksum": "0123",
    "original_hw": "40,60",
    "model_size": "128",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"original_hw": None},
        {"original_hw": "40"},
        {"original_hw": "40,60,3"},
        {"original_hw": "0,60"},
        {"model_size": "large"},
        {"model_size": "-128"},
        {"model_name": None},
        {"encoder_checksum": None},
    ],
)
def test_embedding_with_damaged_description(changes, tmp_path, refusal):
    described = {k: v for k, v in (GOOD_METADATA | changes).items() if v is not None}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"features": torch.zeros(1, 3, 8, 8)}, path, metadata=described)
    with refusal(EmbeddingError, f"{path} is damaged or not an embedding"):
        ImageEmbedding.load(path)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"weights": torch.zeros(1, 3, 8, 8)}, "is damaged or not an embedding"),
        ({"features": torch.zeros(3, 8, 8)}, "features must be (1, C, G, G)"),
    ],
)
def test_embedding_with_other_tensors(tensors, told, tmp_path, refusal):
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", metadata=GOOD_METADATA)
    with refusal(EmbeddingError, told):
        ImageEmbedding.load(tmp_path / "a.safetensors")


# --- Predictions ---


def prediction(shape, seed=0, coords=COORDS):
    rng = np.random.default_rng(seed)
    return MaskPrediction(
        logits=rng.normal(size=(*shape, SIDE, SIDE)).astype(np.float32),
        iou_pred=rng.random(shape, np.float32),
        coords=coords,
    )


SHAPES = [(1,), (3,), (1, 1), (2, 3), (5, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_the_logits_above_zero_at_the_photos_size(shape):
    result = prediction(shape)
    assert result.masks.shape == (*shape, 40, 60)
    assert result.masks.dtype == bool
    for index in np.ndindex(*shape):
        expected = logits_to_original(result.logits[index], COORDS) > 0
        np.testing.assert_array_equal(result.masks[index], expected)


def test_masks_are_made_once():
    result = prediction((3,))
    assert result.masks is result.masks


@pytest.mark.parametrize("shape", SHAPES)
def test_best_has_the_highest_predicted_iou(shape):
    result = prediction(shape)
    best = result.best()
    assert best.iou_pred.shape == (*shape[:-1], 1)
    assert best.logits.shape == (*shape[:-1], 1, SIDE, SIDE)
    np.testing.assert_array_equal(best.iou_pred[..., 0], result.iou_pred.max(axis=-1))
    for index in np.ndindex(*shape[:-1]):
        chosen = result.iou_pred[index].argmax()
        np.testing.assert_array_equal(best.logits[index][0], result.logits[index][chosen])
        np.testing.assert_array_equal(best.masks[index][0], result.masks[index][chosen])


def test_best_of_the_best_is_itself():
    best = prediction((2, 3)).best()
    again = best.best()
    np.testing.assert_array_equal(again.logits, best.logits)
    np.testing.assert_array_equal(again.iou_pred, best.iou_pred)


@pytest.mark.parametrize("shape", SHAPES)
def test_list_of_masks_has_prompts_after_one_another(shape):
    result = prediction(shape)
    masks = result.to_masks()
    assert len(masks) == np.prod(shape)
    np.testing.assert_array_equal(masks.to_arrays(), result.masks.reshape(-1, 40, 60))
    np.testing.assert_array_equal(masks.scores, result.iou_pred.reshape(-1))


@pytest.mark.parametrize(
    ("logits_shape", "iou_shape"),
    [
        ((3, 32, 32), (2,)),
        ((3, 32, 31), (3,)),
        ((3, 256, 256), (3,)),
        ((32, 32), ()),
        ((1, 1, 3, 32, 32), (1, 1, 3)),
    ],
)
def test_prediction_of_other_shapes_is_refused(logits_shape, iou_shape, refusal):
    with refusal(ValueError, "iou_pred must be (M,) or (P, M)", str(logits_shape)):
        MaskPrediction(
            logits=np.zeros(logits_shape, np.float32),
            iou_pred=np.zeros(iou_shape, np.float32),
            coords=COORDS,
        )


# --- Masks ---

MASK_ARRAYS = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=12))


def scores_of(masks):
    return np.linspace(1, 0, len(masks))


@given(MASK_ARRAYS)
def test_masks_come_back(arrays_MHW):
    masks = Masks.from_arrays(arrays_MHW, scores_of(arrays_MHW))
    assert len(masks) == len(arrays_MHW)
    assert masks.size_hw == arrays_MHW.shape[1:]
    np.testing.assert_array_equal(masks.to_arrays(), arrays_MHW)
    np.testing.assert_array_equal(masks.areas, [mask.sum() for mask in arrays_MHW])
    np.testing.assert_array_equal(masks.boxes_xyxy, boxes_from_masks(arrays_MHW))
    again = Masks.from_arrays(masks.to_arrays(), masks.scores)
    assert again.rles == masks.rles
    np.testing.assert_array_equal(again.scores, masks.scores)


@given(MASK_ARRAYS)
def test_coco_fields_agree_with_pycocotools(arrays_MHW):
    masks = Masks.from_arrays(arrays_MHW, scores_of(arrays_MHW))
    fields = json.loads(json.dumps(masks.to_coco()))
    assert len(fields) == len(masks)
    for entry, mask, score in zip(fields, arrays_MHW, masks.scores, strict=True):
        assert set(entry) == {"segmentation", "area", "bbox", "score"}
        np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]), mask)
        assert entry["area"] == coco_mask.area(entry["segmentation"])
        assert entry["bbox"] == coco_mask.toBbox(entry["segmentation"]).tolist()
        assert entry["score"] == score


def test_no_masks_are_masks_too():
    masks = Masks.from_arrays(np.zeros((0, 4, 5), bool), [])
    assert len(masks) == 0
    assert masks.to_arrays().shape == (0, 4, 5)
    assert masks.to_coco() == []


def test_overlay_draws_the_masks():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    arrays_MHW = np.zeros((2, 40, 60), bool)
    arrays_MHW[0, 5:20, 5:20] = arrays_MHW[1, 15:35, 30:50] = True
    masks = Masks.from_arrays(arrays_MHW, [1, 0.5])
    np.testing.assert_array_equal(masks.overlay(photo), draw_masks(photo, arrays_MHW))


def test_scores_must_be_one_for_each_mask(refusal):
    with refusal(ValueError, "expected boxes, areas and scores of 2 masks"):
        Masks.from_arrays(np.zeros((2, 4, 5), bool), [1.0])
