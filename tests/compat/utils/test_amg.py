"""Functions for automatic masks: invariants, and small cases with known results."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from samkit.compat.segment_anything.errors import SettingError
from samkit.compat.segment_anything.utils import amg

ORIGINALS = [
    "MaskData",
    "area_from_rle",
    "batch_iterator",
    "batched_mask_to_box",
    "box_xyxy_to_xywh",
    "build_all_layer_point_grids",
    "build_point_grid",
    "calculate_stability_score",
    "coco_encode_rle",
    "generate_crop_boxes",
    "is_box_near_crop_edge",
    "mask_to_rle_pytorch",
    "remove_small_regions",
    "rle_to_mask",
    "uncrop_boxes_xyxy",
    "uncrop_masks",
    "uncrop_points",
]


@pytest.fixture
def masks():
    """Six random masks, then an empty and a full one."""
    random = torch.rand(6, 9, 13) > 0.6
    return torch.cat([random, torch.zeros(1, 9, 13) > 0, torch.ones(1, 9, 13) > 0])


def test_all_functions_of_the_original_are_there():
    assert [name for name in ORIGINALS if not callable(getattr(amg, name, None))] == []


class TestMaskData:
    def data(self):
        return amg.MaskData(
            boxes=torch.arange(12.0).view(3, 4),
            points=np.arange(6).reshape(3, 2),
            rles=["a", "b", "c"],
        )

    @pytest.mark.parametrize("keep", [torch.tensor([True, False, True]), torch.tensor([0, 2])])
    def test_filter_keeps_rows_of_all_columns(self, keep):
        data = self.data()
        data.filter(keep)
        assert data["boxes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
        assert data["points"].tolist() == [[0, 1], [4, 5]]
        assert data["rles"] == ["a", "c"]

    def test_filter_orders_by_numbers(self):
        data = self.data()
        data.filter(torch.tensor([2, 0]))
        assert data["rles"] == ["c", "a"]

    def test_cat_appends_and_fills_an_empty_one(self):
        data = amg.MaskData()
        data.cat(self.data())
        data.cat(self.data())
        assert data["boxes"].shape == (6, 4)
        assert data["points"].shape == (6, 2)
        assert data["rles"] == [*"abcabc"]

    def test_cat_copies(self):
        source, data = self.data(), amg.MaskData()
        data.cat(source)
        source["boxes"].zero_()
        assert data["boxes"].sum() == 66

    def test_columns_are_set_listed_and_deleted(self):
        data = self.data()
        data["ious"] = torch.ones(3, dtype=torch.float16)
        del data["rles"]
        data.to_numpy()
        kinds = {name: rows.dtype for name, rows in data.items()}
        assert kinds == {"boxes": np.float32, "points": np.int64, "ious": np.float32}

    def test_other_things_are_no_columns(self, refusal):
        with refusal(SettingError, "rles", "tuple"):
            amg.MaskData(rles=("a",))


def test_batches_cover_all_rows():
    batches = list(amg.batch_iterator(2, np.arange(5), [*"abcde"]))
    assert [len(numbers) for numbers, _ in batches] == [2, 2, 1]
    assert np.concatenate([numbers for numbers, _ in batches]).tolist() == [0, 1, 2, 3, 4]
    assert ["".join(letters) for _, letters in batches] == ["ab", "cd", "e"]
    assert list(amg.batch_iterator(2, [])) == []


def test_batches_need_one_length(refusal):
    with refusal(SettingError, "[1, 2]"):
        next(amg.batch_iterator(2, [1], [1, 2]))


def test_run_lengths_come_back_as_masks(masks):
    codes = amg.mask_to_rle_pytorch(masks)
    for mask, code in zip(masks.numpy(), codes, strict=True):
        assert code["size"] == [9, 13]
        assert sum(code["counts"]) == mask.size
        np.testing.assert_array_equal(amg.rle_to_mask(code), mask)
        assert amg.area_from_rle(code) == mask.sum()
        packed = amg.coco_encode_rle(code)
        assert isinstance(packed["counts"], str)
        np.testing.assert_array_equal(coco_mask.decode(packed), mask)
    assert codes[-2]["counts"] == [117]
    assert codes[-1]["counts"] == [0, 117]


def test_boxes_include_their_last_pixels(masks):
    boxes = amg.batched_mask_to_box(masks)
    for mask, (x0, y0, x1, y1) in zip(masks[:-2].numpy(), boxes[:-2].tolist(), strict=True):
        rows, columns = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max(), rows.max())
    assert boxes[-2].tolist() == [0, 0, 0, 0]
    assert boxes[-1].tolist() == [0, 0, 12, 8]
    assert amg.box_xyxy_to_xywh(boxes)[-1].tolist() == [0, 0, 12, 8]
    assert amg.batched_mask_to_box(masks.view(2, 4, 9, 13)).tolist() == boxes.view(2, 4, 4).tolist()
    assert amg.batched_mask_to_box(masks[0]).shape == (4,)
    assert amg.batched_mask_to_box(masks[:0]).shape == (0, 4)


def test_stability_is_the_iou_of_two_cuts():
    logits = torch.tensor([[[-2.0, -0.5, 0.5, 2.0, 3.0]], [[5.0, 5.0, 5.0, 5.0, -5.0]]])
    assert amg.calculate_stability_score(logits, 0.0, 1.0).tolist() == pytest.approx([2 / 4, 1.0])
    assert amg.calculate_stability_score(logits, 1.0, 1.0).tolist() == pytest.approx([1 / 3, 1.0])


def test_grids_are_centres_of_cells_row_by_row():
    assert amg.build_point_grid(2).tolist() == [
        [0.25, 0.25],
        [0.75, 0.25],
        [0.25, 0.75],
        [0.75, 0.75],
    ]
    grids = amg.build_all_layer_point_grids(32, 2, 3)
    assert [len(grid) for grid in grids] == [32**2, 10**2, 3**2]


def test_crops_cover_the_image_and_overlap():
    boxes, layers = amg.generate_crop_boxes((100, 200), 2, 0.34)
    assert boxes[0] == [0, 0, 200, 100]
    assert layers == [0] + 4 * [1] + 16 * [2]
    # Half the image and half of the shared 34 pixels, column by column.
    assert boxes[1:5] == [[0, 0, 117, 67], [0, 33, 117, 100], [83, 0, 200, 67], [83, 33, 200, 100]]
    covered = np.zeros((100, 200), int)
    for x0, y0, x1, y1 in boxes[5:]:
        covered[y0:y1, x0:x1] += 1
    assert covered.min() == 1
    assert covered.max() == 4


def test_crops_are_undone():
    crop = [5, 2, 12, 8]
    masks = torch.rand(3, 6, 7) > 0.5
    whole = amg.uncrop_masks(masks, crop, 9, 13)
    assert whole.shape == (3, 9, 13)
    assert torch.equal(whole[:, 2:8, 5:12], masks)
    assert whole.sum() == masks.sum()
    boxes = amg.uncrop_boxes_xyxy(amg.batched_mask_to_box(masks), crop)
    assert torch.equal(boxes, amg.batched_mask_to_box(whole))
    assert amg.uncrop_points(torch.tensor([[1, 1]]), crop).tolist() == [[6, 3]]
    assert amg.uncrop_masks(masks, [0, 0, 7, 6], 6, 7) is masks


def test_boxes_at_inner_edges_of_a_crop_are_found():
    crop, image = [100, 0, 300, 200], [0, 0, 400, 200]
    boxes = torch.tensor(
        [
            [50, 50, 100, 100],  # in the middle
            [5, 50, 100, 100],  # at the crop's left edge, inside of the image
            [50, 0, 100, 100],  # at the top, which is the image's too
            [50, 50, 195, 100],  # at the crop's right edge
        ]
    )
    assert amg.is_box_near_crop_edge(boxes, crop, image).tolist() == [False, True, False, True]
    assert amg.is_box_near_crop_edge(boxes, crop, image, atol=2).tolist() == 4 * [False]
    assert amg.is_box_near_crop_edge(boxes[:0], crop, image).tolist() == []


def test_small_holes_are_filled_and_small_islands_dropped():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5:7, 5:7] = False  # 4 pixels
    mask[15:18, 15:18] = True  # 9 pixels
    filled, changed = amg.remove_small_regions(mask, 5, "holes")
    assert changed
    assert filled.sum() == 100 + 9
    dropped, changed = amg.remove_small_regions(mask, 9.5, "islands")
    assert changed
    assert dropped.sum() == 96
    same, changed = amg.remove_small_regions(mask, 4, "holes")
    assert not changed
    np.testing.assert_array_equal(same, mask)
    largest, changed = amg.remove_small_regions(mask, 1000, "islands")
    assert changed
    assert largest.sum() == 96


def test_other_modes_are_refused(refusal):
    with refusal(SettingError, "holes or islands", "'both'"):
        amg.remove_small_regions(np.zeros((2, 2), bool), 1, "both")
