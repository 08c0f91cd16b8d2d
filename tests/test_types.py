"""Values validate themselves and survive a round trip through files."""

import dataclasses
import json
from dataclasses import replace

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
from samkit.errors import EmbeddingError, OutputError
from samkit.geometry import CoordMap, boxes_from_masks, decode_rle
from samkit.geometry.resize import logits_to_original
from samkit.models import ImageFeatures
from samkit.types import ImageEmbedding, MaskDetail, MaskPrediction, Masks

COORDS = CoordMap(original_hw=(40, 60), model_size=128)
SIDE = COORDS.logits_size  # 32

# --- Embeddings ---

STRETCHED = CoordMap(original_hw=(40, 60), model_size=128, fit="stretch", logits_stride=2)


def embedding(features=None, coords=COORDS):
    return ImageEmbedding(
        features=ImageFeatures((torch.randn(1, 3, 8, 8) if features is None else features,)),
        coords=coords,
        model_name="tiny",
        encoder_checksum="0123456789abcdef",
    )


def assert_same_embedding(one, other):
    assert one.features.grid.dtype == other.features.grid.dtype
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
    assert not loaded.features.grid.requires_grad
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
            "fit": "pad",
            "logits_stride": "4",
        }


def test_levels_come_back_in_their_order(tmp_path):
    levels = tuple(torch.randn(1, 2, side, side) for side in (32, 16, 8))
    saved = dataclasses.replace(embedding(), features=ImageFeatures(levels), coords=STRETCHED)
    saved.save(tmp_path / "a.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "a.safetensors")
    assert loaded.coords == STRETCHED
    assert [level.shape[-1] for level in loaded.features.levels] == [32, 16, 8]
    assert all(map(torch.equal, loaded.features.levels, levels))


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
def test_masks_are_the_logits_above_zero_at_the_images_size(shape):
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


def detailed(shape, has_detail, seed=1):
    """A prediction, some of whose masks are known more finely in crops of 20 x 24 pixels."""
    rng = np.random.default_rng(seed)
    own = CoordMap(original_hw=(20, 24), model_size=COORDS.model_size)
    details = [
        MaskDetail(
            logits=rng.normal(size=(SIDE, SIDE)).astype(np.float32),
            box_xyxy=(number, 3, number + 24, 23),
            coords=own,
        )
        if has_detail(number)
        else None
        for number in range(int(np.prod(shape)))
    ]
    return replace(prediction(shape), details=tuple(details))


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_those_of_the_crop_within_it(shape):
    result = detailed(shape, lambda number: number % 2 == 0)
    plain = prediction(shape)
    masks = result.masks.reshape(-1, 40, 60)
    for number, detail in enumerate(result.details):
        expected = plain.masks.reshape(-1, 40, 60)[number].copy()
        if detail is not None:
            expected[3:23, number : number + 24] = (
                logits_to_original(detail.logits, detail.coords) > 0
            )
        np.testing.assert_array_equal(masks[number], expected)
    np.testing.assert_array_equal(result.to_masks().to_arrays(), masks)
    np.testing.assert_array_equal([decode_rle(rle) for rle in result.rles()], masks)


def test_stability_is_that_of_the_mask_with_its_detail():
    result = detailed((2,), lambda number: number == 0)
    image = result.image_logits(0)
    expected = np.count_nonzero(image > 1) / np.count_nonzero(image > -1)
    assert result.stability()[0] == pytest.approx(expected)
    assert result.stability()[1] == prediction((2,)).stability()[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_details_go_with_their_masks(shape):
    result = detailed(shape, lambda number: number != 1)
    best = result.best()
    chosen = result.iou_pred.argmax(axis=-1).reshape(-1)
    first = np.arange(len(chosen)) * shape[-1]
    assert best.details == tuple(result.details[number] for number in first + chosen)
    last = result.candidate(shape[-1] - 1)
    assert last.details == result.details[shape[-1] - 1 :: shape[-1]]
    for one, index in ((best, chosen), (last, np.full(len(chosen), shape[-1] - 1))):
        expected = result.masks.reshape(-1, shape[-1], 40, 60)[np.arange(len(chosen)), index]
        np.testing.assert_array_equal(one.masks.reshape(-1, 40, 60), expected)
    if len(shape) == 2:
        for number in range(shape[0]):
            own = result.prompt(number)
            np.testing.assert_array_equal(own.masks, result.masks[number])
            np.testing.assert_array_equal(own.iou_pred, result.iou_pred[number])
            assert own.phrases is None


def test_details_must_fit(refusal):
    own = CoordMap(original_hw=(20, 24), model_size=COORDS.model_size)
    logits = np.zeros((SIDE, SIDE), np.float32)
    with refusal(ValueError, "coords must be those of the crop (0, 0, 20, 24)"):
        MaskDetail(logits=logits, box_xyxy=(0, 0, 20, 24), coords=own)
    detail = MaskDetail(logits=logits, box_xyxy=(0, 0, 24, 20), coords=own)
    with refusal(ValueError, "details must be one for each of 3 masks; got 1"):
        replace(prediction((3,)), details=(detail,))


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
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    arrays_MHW = np.zeros((2, 40, 60), bool)
    arrays_MHW[0, 5:20, 5:20] = arrays_MHW[1, 15:35, 30:50] = True
    masks = Masks.from_arrays(arrays_MHW, [1, 0.5])
    np.testing.assert_array_equal(masks.overlay(image), draw_masks(image, arrays_MHW))


def test_scores_must_be_one_for_each_mask(refusal):
    with refusal(ValueError, "scores must be (2,); got (1,)"):
        Masks.from_arrays(np.zeros((2, 4, 5), bool), [1.0])


# --- Phrases ---


def named_masks():
    arrays = np.zeros((3, 40, 60), bool)
    arrays[0, 2:10, 3:20], arrays[1, 20:38, 5:30], arrays[2, 12:30, 35:55] = True, True, True
    return dataclasses.replace(
        Masks.from_arrays(arrays, [0.9, 0.8, 0.7]),
        phrases=("car", "", "tree"),
        phrase_scores=np.array([0.5, 0.25, 0.75], np.float32),
    )


def test_phrases_go_with_their_masks():
    masks = named_masks().select(np.array([2, 0]))
    assert masks.phrases == ("tree", "car")
    assert masks.phrase_scores.tolist() == [0.75, 0.5]
    assert masks.labels == ("tree 0.75", "car 0.50")
    assert named_masks().labels[1] == ""


def test_phrases_must_be_as_many_as_masks():
    masks = named_masks()
    with pytest.raises(ValueError, match="phrases must be 3; got 1"):
        dataclasses.replace(masks, phrases=("car",))
    with pytest.raises(ValueError, match="phrase_scores must be"):
        dataclasses.replace(masks, phrase_scores=np.zeros(2, np.float32))
    logits = np.zeros((2, 3, SIDE, SIDE), np.float32)
    with pytest.raises(ValueError, match="phrases must be one for each prompt; got 3"):
        MaskPrediction(
            logits=logits, iou_pred=logits[..., 0, 0], coords=COORDS, phrases=("a", "b", "c")
        )
    with pytest.raises(ValueError, match="one for each prompt"):
        MaskPrediction(logits=logits[0], iou_pred=logits[0, :, 0, 0], coords=COORDS, phrases=("a",))


def test_overlays_are_labelled_where_there_are_phrases():
    masks, image = named_masks(), np.full((40, 60, 3), 100, np.uint8)
    plain = dataclasses.replace(masks, phrases=None, phrase_scores=None).overlay(image)
    labelled = masks.overlay(image)
    changed = (plain != labelled).any(axis=2)
    assert changed[2:10, 3:20].any()
    assert changed[12:30, 35:55].any()
    unnamed = dataclasses.replace(masks, phrases=("",) * 3)
    np.testing.assert_array_equal(unnamed.overlay(image), plain)


def test_masks_are_a_sequence():
    masks = named_masks()
    listed = list(masks)
    np.testing.assert_array_equal(np.stack(listed), masks.to_arrays())
    assert masks[0].rles == masks.rles[:1]
    assert masks[-1].phrases == masks.phrases[-1:]
    best = masks.scores.argmax()
    assert masks[best].rles == (masks.rles[best],)
    assert masks[1:].rles == masks.rles[1:]
    assert masks[masks.areas > masks.areas.min()].areas.min() > masks.areas.min()
    with pytest.raises(IndexError, match=f"there are {len(masks)} masks; got index {len(masks)}"):
        masks[len(masks)]


def test_parts_are_joined_and_what_one_lacks_is_filled():
    named = named_masks()
    plain = dataclasses.replace(named, phrases=None, phrase_scores=None, stability=None)
    crops = np.tile(np.array([1, 2, 30, 40]), (len(named), 1))
    cropped = dataclasses.replace(plain, crops_xyxy=crops)
    joined = Masks.concatenate([named, cropped])
    height, width = named.size_hw
    assert joined.rles == named.rles + named.rles
    assert joined.phrases == (*named.phrases, *[""] * len(named))
    assert np.isnan(joined.phrase_scores[len(named) :]).all()
    assert joined.crops_xyxy.dtype == np.int64
    np.testing.assert_array_equal(joined.crops_xyxy[0], [0, 0, width, height])
    np.testing.assert_array_equal(joined.crops_xyxy[-1], [1, 2, 30, 40])
    assert joined.points_xy is None
    again = joined.select(np.arange(len(named)))
    np.testing.assert_array_equal(again.areas, named.areas)


def test_parts_of_other_images_are_not_joined():
    masks = named_masks()
    other = Masks.from_arrays(np.ones((1, 3, 4), bool), [1.0])
    with pytest.raises(ValueError, match="all masks must be of one image"):
        Masks.concatenate([masks, other])


def test_values_tell_what_they_are_in_one_line():
    assert repr(embedding()) == "<ImageEmbedding of an image of 60 x 40 pixels by tiny>"
    assert repr(named_masks()).startswith(f"<Masks: {len(named_masks())} of an image of ")
    shown = repr(prediction((2, 3)))
    assert shown.startswith("<MaskPrediction (2, 3) of 60 x 40 pixels, iou_pred [[0.")
    assert "\n" not in shown


def test_stability_of_a_prediction_is_that_of_each_mask():
    steep, soft = np.full((SIDE, SIDE), -9, np.float32), np.full((SIDE, SIDE), -9, np.float32)
    steep[4:20, 4:20], soft[4:20, 4:20] = 9, 9
    soft[4:20, 4:12] = 0.5  # inside at the threshold, outside with a stricter one
    result = MaskPrediction(
        logits=np.stack([steep, soft]), iou_pred=np.ones(2, np.float32), coords=COORDS
    )
    stability = result.stability()
    assert stability.shape == (2,)
    assert stability[0] > 0.95
    assert 0.4 < stability[1] < 0.6
