"""Text prompts trained from nothing as published: on images alone, then prompted with words.

    python benchmarks/text_from_nothing.py -o text-from-nothing

runs all steps in under half an hour on two cores:

1. `samkit pretrain clip_named`: a small CLIP from crops of synthetic scenes and their captions.
2. `samkit train named_text`: a small SAM that is trained with that CLIP's embeddings of mask crops
   as text prompts. It never sees the embedding of a text.
3. The SAM is prompted with words on scenes that were used neither for training nor for selection
   (seed 7): IoU of the answers (protocol `text`), IoU after one corrective click, and how often it
   tells apart two phrases in one scene that differ in one word.
4. The same CLIP names masks (`MaskRanker`), among them some of empty background: how many names are
   right, before and after calibration on other scenes (seed 8).

Writes report.json, a table report.md, and answers.jpg: the first scenes with the answers to their
phrases. Finished steps are not repeated; --scale 0.01 is for a trial run.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from samkit import Predictor
from samkit.datasets import Sample
from samkit.datasets.synthetic import NamedScenes
from samkit.drawing import Layer, draw_labels, draw_layers, mask_color
from samkit.evaluation import TextToMask, evaluate_model, validation_scores
from samkit.files import write_bytes
from samkit.geometry import decode_rle
from samkit.text import Clip, MaskRanker, TextPrompter, fit_calibration
from samkit.training import CLIP_FOLDER, CLIP_RECIPES, SAM_RECIPES, Progress, override, train
from samkit.types import Masks

TEST_SEED, CALIBRATION_SEED = 7, 8
WORDS_OFFERED = 12  # phrases that a mask may be named, besides none
SHOWN, COLUMNS, ZOOM, TINT = 12, 4, 3, 0.1
# Results that must be reached: mIoU, fraction of pairs told apart (0.5 by chance).
MIN_MIOU, MIN_PAIRS = 0.7, 0.75
BINS = 10


def main() -> None:
    """Run all steps and print the table."""
    parser = argparse.ArgumentParser(description="Text prompts from nothing.")
    parser.add_argument("-o", "--output", type=Path, default=Path("text-from-nothing"))
    parser.add_argument("--scenes", type=int, default=300, help="number of scenes to measure")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of all step counts, for a trial run"
    )
    options = parser.parse_args()
    out: Path = options.output
    out.mkdir(parents=True, exist_ok=True)
    seconds = {"CLIP": train_clip(out, options.scale), "SAM": train_text(out, options.scale)}
    clip = Clip.load(out / "clip" / CLIP_FOLDER)
    predictor = Predictor.load(
        out / "sam" / "best.safetensors",
        backend="torch",
        precision="float32",
        text_model=out / "clip" / CLIP_FOLDER,
    )
    scenes = NamedScenes(count=options.scenes, size=128, seed=TEST_SEED)
    report: dict[str, Any] = {"seconds": seconds}
    began = time.monotonic()
    report["text"] = ask(predictor, scenes)
    report["names"] = name_masks(clip, options.scenes)
    seconds["measuring"] = time.monotonic() - began
    Image.fromarray(draw(predictor, scenes)).save(out / "answers.jpg", quality=88)
    write_bytes(out / "report.json", json.dumps(report, indent=2).encode())
    table = markdown(report)
    write_bytes(out / "report.md", table.encode())
    print(table)
    if options.scale == 1:
        check(report["text"])


def check(text: dict[str, Any]) -> None:
    """Exit with an error unless the required results are reached."""
    passed = {
        f"text-to-mask mIoU over {MIN_MIOU}": text["text_miou"] > MIN_MIOU,
        f"pairs told apart over {MIN_PAIRS}": text["text_pairs_right"] > MIN_PAIRS,
        "a click improves it": text["text_corrected_miou"] > text["text_miou"],
    }
    failed = [what for what, is_so in passed.items() if not is_so]
    if failed:
        raise SystemExit(f"not reached: {', '.join(failed)}")


def progress_printer(what: str) -> Any:
    """Callback that prints progress ten times per training."""

    def on_step(progress: Progress) -> None:
        if progress.step % max(1, progress.steps // 10) == 0:
            scores = {"loss": progress.values["loss"], **progress.scores}
            shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            print(f"{what}: step {progress.step} of {progress.steps}, {shown}", flush=True)

    return on_step


def finished(folder: Path) -> float | None:
    """Seconds that a finished training took; None if it is not finished."""
    try:
        return float((folder / "seconds.txt").read_text())
    except FileNotFoundError:
        return None


def train_clip(out: Path, scale: float) -> float:
    """Train the CLIP; return the seconds."""
    folder = out / "clip"
    if (known := finished(folder)) is not None:
        return known
    recipe = CLIP_RECIPES["clip_named"]()
    recipe = override(recipe, [f"run.steps={max(2, round(recipe.run.steps * scale))}"])
    began = time.monotonic()
    train(recipe, folder, on_step=progress_printer("CLIP"))
    (folder / "seconds.txt").write_text(str(time.monotonic() - began))
    return time.monotonic() - began


def train_text(out: Path, scale: float) -> float:
    """Train the SAM on the CLIP's embeddings of mask crops; return the seconds, those included."""
    folder = out / "sam"
    if (known := finished(folder)) is not None:
        return known
    recipe = SAM_RECIPES["named_text"]()
    changes = [
        f"model.text_encoder={out / 'clip' / CLIP_FOLDER}",
        f"crops.folder={out / 'crops'}",
        f"run.steps={max(2, round(recipe.run.steps * scale))}",
    ]
    if scale < 1:
        changes.append(f"data.train=named:count={max(20, round(6000 * scale))},size=128,seed=0")
    recipe = override(recipe, changes)
    began = time.monotonic()
    train(recipe, folder, evaluate=validation_scores(recipe), on_step=progress_printer("SAM"))
    (folder / "seconds.txt").write_text(str(time.monotonic() - began))
    return time.monotonic() - began


def ask(predictor: Predictor, scenes: NamedScenes) -> dict[str, Any]:
    """Measure IoU of the answers to all phrases, after a click, and on pairs of phrases."""
    protocol = TextToMask()
    records = evaluate_model(predictor, scenes, [protocol]).records["text"]
    results = [record.result for record in records]
    pairs = [right for result in results for right in result["pairs"]]
    return {
        **protocol.summarise(results).metrics,
        "scenes": len(results),
        "phrases": sum(result["masks"] for result in results),
        "pairs": len(pairs),
        "improved_by_click": float(
            np.mean(
                [a > b for r in results for b, a in zip(r["ious"], r["corrected"], strict=True)]
            )
        ),
    }


def name_masks(clip: Clip, scenes: int) -> dict[str, Any]:
    """Measure how well CLIP names masks, a third of which show none of the phrases."""
    ranker = MaskRanker(TextPrompter(clip))
    learned = offers(ranker, NamedScenes(count=scenes // 2, size=128, seed=CALIBRATION_SEED))
    measured = offers(ranker, NamedScenes(count=scenes // 2, size=128, seed=TEST_SEED))
    calibration = fit_calibration(*learned[:2], precision=0.9)
    raw, right, offered = measured
    calibrated = calibration.apply(raw)
    return {
        "masks": len(raw),
        "offered": float(offered.mean()),
        "right_of_offered": float(right[offered].mean()),
        "slope": calibration.slope,
        "offset": calibration.offset,
        "thresh": calibration.thresh,
        "error_before": calibration_error(raw, right),
        "error_after": calibration_error(calibrated, right),
        "found_at_half": float((raw[offered & right] >= 0.5).sum() / offered.sum()),
        "found_at_thresh": float(
            (calibrated[offered & right] >= calibration.thresh).sum() / offered.sum()
        ),
        "precision_at_half": float(right[raw >= 0.5].mean()),
        "precision_at_thresh": float(right[calibrated >= calibration.thresh].mean()),
    }


def offers(
    ranker: MaskRanker, scenes: NamedScenes
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Scores of the names that masks were given, whether each is right, and whether it could be.

    Each scene's masks are offered its own names except one, and names from other scenes; a mask of
    empty background is added. It has no right name, and neither has a mask whose name is not
    offered.
    """
    scores, right, offered = [], [], []
    for index in range(len(scenes)):
        sample, rng = scenes[index], np.random.default_rng(index)
        others = [scenes[(index + step) % len(scenes)].phrases for step in range(1, 8)]
        foreign = [one for some in others for one in some if one not in sample.phrases]
        phrases = list(dict.fromkeys([*sample.phrases[1:], *foreign]))[:WORDS_OFFERED]
        masks, names = with_background(sample, rng)
        chances = ranker.probabilities(sample.image, masks, phrases)
        best = chances.argmax(axis=1)
        scores += chances.max(axis=1).tolist()
        right += [phrases[number] == name for number, name in zip(best, names, strict=True)]
        offered += [name in phrases for name in names]
    return np.array(scores), np.array(right), np.array(offered)


def with_background(sample: Sample, rng: np.random.Generator) -> tuple[Masks, list[str]]:
    """A scene's masks and one of the background beside them, with their names."""
    arrays = [decode_rle(rle) for rle in sample.rles]
    free = ~np.any(arrays, axis=0)
    side = len(free)
    x, y = rng.integers(0, side - 30, 2)
    ground = np.zeros_like(free)
    ground[y : y + 30, x : x + 30] = True
    arrays.append(ground & free)
    masks = np.stack([one for one in arrays if one.any()])
    names = [*sample.phrases, ""][: len(masks)]
    return Masks.from_arrays(masks, np.ones(len(masks))), names


def calibration_error(scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over ten equal bins of scores."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = [
        (bins == one).sum() * abs(scores[bins == one].mean() - right[bins == one].mean())
        for one in np.unique(bins)
    ]
    return float(sum(gaps) / len(scores))


def draw(predictor: Predictor, scenes: NamedScenes) -> npt.NDArray[np.uint8]:
    """Draw the first scenes, each with the answers to all its phrases."""
    panels = []
    for index in range(min(SHOWN, len(scenes))):
        sample = scenes[index]
        large = cv2.resize(sample.image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
        answer = predictor.predict_text(predictor.embed(large), list(sample.phrases)).best()
        masks = answer.to_masks()
        layers = (
            Layer(color=mask_color(number), patch=mask, corner_xy=(0, 0))
            for number, mask in enumerate(masks.to_arrays())
        )
        drawn = draw_layers(large, layers, opacity=TINT)  # the phrases name colours
        short = [phrase.removeprefix("a ") for phrase in sample.phrases]
        colors = [mask_color(number) for number in range(len(masks))]
        panels.append(draw_labels(drawn, masks.boxes_xyxy[:, :2], short, colors))
    rows = [np.concatenate(panels[at : at + COLUMNS], 1) for at in range(0, len(panels), COLUMNS)]
    return np.concatenate([row for row in rows if row.shape == rows[0].shape], axis=0)


def markdown(report: dict[str, Any]) -> str:
    """Markdown table of all figures."""
    text, names, seconds = report["text"], report["names"], report["seconds"]
    rows = [
        (
            "training the CLIP, the SAM; measuring",
            ", ".join(f"{v:.0f} s" for v in seconds.values()),
        ),
        (f"text-to-mask mIoU, {text['phrases']} phrases", f"{text['text_miou']:.3f}"),
        ("mIoU after one corrective click", f"{text['text_corrected_miou']:.3f}"),
        ("phrases that the click improves", f"{text['improved_by_click']:.3f}"),
        (f"pairs told apart, of {text['pairs']}", f"{text['text_pairs_right']:.3f}"),
        (
            f"masks named by CLIP, {names['masks']}: right where the name was offered",
            f"{names['right_of_offered']:.3f} (of {names['offered']:.2f})",
        ),
        (
            "calibration error before, after",
            f"{names['error_before']:.3f}, {names['error_after']:.3f}",
        ),
        (
            "precision, and share of the offered found, at 0.5, not calibrated",
            f"{names['precision_at_half']:.3f}, {names['found_at_half']:.3f}",
        ),
        (
            f"the same at the fitted threshold {names['thresh']:.2f}",
            f"{names['precision_at_thresh']:.3f}, {names['found_at_thresh']:.3f}",
        ),
    ]
    lines = ["| measure | figure |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
