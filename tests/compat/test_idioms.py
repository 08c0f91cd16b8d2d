"""Programs as people write them for `segment_anything`, on small models."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from samkit.compat.segment_anything import SamAutomaticMaskGenerator, SamPredictor
from samkit.compat.segment_anything.utils import amg
from samkit.compat.segment_anything.utils.transforms import ResizeLongestSide

BOXES = np.array([[20, 10, 50, 40], [5, 5, 85, 55], [60, 30, 80, 50]])


@pytest.fixture
def targets():
    """Masks (3, 1, 32, 32) that fill the boxes, in the space of the logits."""
    resize = ResizeLongestSide(32)
    targets = torch.zeros(3, 1, 32, 32)
    for target, (x0, y0, x1, y1) in zip(
        targets, resize.apply_boxes(BOXES, (60, 90)).round().astype(int), strict=True
    ):
        target[0, y0:y1, x0:x1] = 1
    return targets


def test_a_decoder_is_fine_tuned_on_boxes(sam, image, targets):
    """A wrapper around a frozen image encoder and prompt encoder, a box for each image."""
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    pixels = torch.as_tensor(resize.apply_image(image)).permute(2, 0, 1)[None]
    boxes = resize.apply_boxes_torch(torch.as_tensor(BOXES), image.shape[:2])
    sam.train()
    sam.image_encoder.requires_grad_(False)
    sam.prompt_encoder.requires_grad_(False)
    frozen = {n: p.clone() for n, p in sam.named_parameters() if not n.startswith("mask_decoder")}
    optimizer = torch.optim.AdamW(sam.mask_decoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        with torch.no_grad():
            embedding = sam.image_encoder(sam.preprocess(pixels))
            sparse, dense = sam.prompt_encoder(points=None, boxes=boxes[:, None, :], masks=None)
        logits, iou = sam.mask_decoder(
            image_embeddings=embedding.repeat(3, 1, 1, 1),  # a batch of images, a box on each
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        assert logits.shape == (3, 1, 32, 32)
        loss = functional.binary_cross_entropy_with_logits(logits, targets)
        loss = loss + functional.mse_loss(iou, torch.ones(3, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0], losses[::5]
    for name, before in frozen.items():
        assert torch.equal(sam.get_parameter(name), before), name


def test_mixed_precision_gives_the_same_gradients_but_for_rounding(sam):
    features = torch.randn(2, 32, 8, 8)
    boxes = torch.tensor([[20.0, 10.0, 50.0, 40.0], [5.0, 5.0, 85.0, 55.0]])

    def gradient(*, mixed):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
            pos_enc = sam.prompt_encoder.get_dense_pe()
            logits, _ = sam.mask_decoder(features, pos_enc, sparse, dense, False)
            loss = logits.float().square().mean()
        sam.zero_grad()
        loss.backward()
        return sam.mask_decoder.mask_tokens.weight.grad.clone()

    exact = gradient(mixed=False)
    assert (gradient(mixed=True) - exact).norm() < 0.25 * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_model_of_another_precision_answers(sam, image, dtype):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    expected, _, _ = predictor.predict(box=BOXES[0], return_logits=True)
    predictor = SamPredictor(sam.to(dtype))
    predictor.set_image(image)
    logits, _, _ = predictor.predict(box=BOXES[0], return_logits=True)
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


def test_one_image_at_a_time_is_trained_through_postprocessing(sam, image):
    """The tutorial's way: one embedding, upsampled logits, normalised, compared with the mask."""
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    input_size = resize.get_preprocess_shape(60, 90, sam.image_encoder.img_size)
    target = torch.zeros(1, 1, 60, 90)
    target[..., 10:40, 20:50] = 1
    optimizer = torch.optim.Adam(sam.mask_decoder.parameters(), lr=1e-3, weight_decay=0)
    box = torch.as_tensor(resize.apply_boxes(BOXES[0], (60, 90)), dtype=torch.float)
    pixels = torch.as_tensor(resize.apply_image(image).transpose(2, 0, 1)).contiguous()
    with torch.no_grad():
        embedding = sam.image_encoder(sam.preprocess(pixels[None]))
        sparse, dense = sam.prompt_encoder(points=None, boxes=box[None], masks=None)
    losses = []
    for _ in range(10):
        low_res, _ = sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        upscaled = sam.postprocess_masks(low_res, input_size, (60, 90))
        loss = functional.binary_cross_entropy_with_logits(upscaled, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses
    saved = sam.state_dict()
    sam.load_state_dict(saved, strict=True)


def test_boxes_of_a_detector_are_segmented_at_once(sam, image):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    boxes = torch.as_tensor(BOXES, device=predictor.device)
    transformed = predictor.transform.apply_boxes_torch(boxes, image.shape[:2])
    masks, scores, low_res = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=transformed, multimask_output=False
    )
    assert masks.shape == (3, 1, 60, 90)
    assert scores.shape == (3, 1)
    for box, mask, logits in zip(BOXES, masks, low_res, strict=True):
        alone, _, low = predictor.predict(box=box, multimask_output=False)
        np.testing.assert_allclose(logits, low, atol=1e-4)
        assert (mask.numpy() != alone).mean() < 1e-3


def test_an_earlier_answer_is_refined(sam, image):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    click, label = np.array([[30, 20]]), np.array([1])
    _, scores, logits = predictor.predict(click, label, multimask_output=True)
    mask_input = logits[np.argmax(scores), :, :]
    masks, _, refined = predictor.predict(
        point_coords=np.array([[30, 20], [70, 40]]),
        point_labels=np.array([1, 0]),
        mask_input=mask_input[None, :, :],
        multimask_output=False,
    )
    assert masks.shape == (1, 60, 90)
    assert refined.shape == (1, 32, 32)


def test_the_script_of_automatic_masks(sam, image):
    """Everything in an image, drawn by area, largest first, and written as COCO."""
    generator = SamAutomaticMaskGenerator(
        model=sam,
        points_per_side=3,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=5,
        output_mode="coco_rle",
    )
    masks = generator.generate(image)
    assert masks
    for record in sorted(masks, key=lambda record: record["area"], reverse=True):
        x, y, width, height = record["bbox"]
        assert 0 <= x <= x + width <= 90
        assert 0 <= y <= y + height <= 60
        assert record["segmentation"]["size"] == [60, 90]
        assert record["area"] <= width * height


def test_own_automatic_masks_are_built_of_the_parts(sam, image):
    """What derived generators do: batches of points, scores, boxes, run lengths."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    points = amg.build_point_grid(3) * np.array(image.shape[1::-1])
    data = amg.MaskData()
    for (some,) in amg.batch_iterator(4, points):
        transformed = predictor.transform.apply_coords(some, image.shape[:2])
        coords = torch.as_tensor(transformed, device=predictor.device)  # float64
        labels = torch.ones(len(coords), dtype=torch.int)
        masks, iou, _ = predictor.predict_torch(
            coords[:, None, :], labels[:, None], multimask_output=True, return_logits=True
        )
        batch = amg.MaskData(
            masks=masks.flatten(0, 1),
            iou_preds=iou.flatten(0, 1),
            points=torch.as_tensor(some.repeat(masks.shape[1], axis=0)),
        )
        batch["stability"] = amg.calculate_stability_score(batch["masks"], 0.0, 1.0)
        batch["masks"] = batch["masks"] > sam.mask_threshold
        batch["boxes"] = amg.batched_mask_to_box(batch["masks"])
        batch.filter(~amg.is_box_near_crop_edge(batch["boxes"], [0, 0, 90, 60], [0, 0, 90, 60]))
        batch["rles"] = amg.mask_to_rle_pytorch(
            amg.uncrop_masks(batch["masks"], [0, 0, 90, 60], 60, 90)
        )
        del batch["masks"]
        data.cat(batch)
    data.to_numpy()
    assert len(data["rles"]) == len(data["boxes"]) == len(data["iou_preds"]) == 27
    for rle, box in zip(data["rles"], data["boxes"], strict=True):
        x0, y0, x1, y1 = box
        mask = amg.rle_to_mask(rle)
        assert mask.sum() == amg.area_from_rle(rle) == mask[y0 : y1 + 1, x0 : x1 + 1].sum()
