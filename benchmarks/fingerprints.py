"""Fingerprints of a fixed set of work, to show that a refactoring leaves every output unchanged.

    python benchmarks/fingerprints.py -o before.json
    python benchmarks/fingerprints.py -o after.json --compare before.json

The second call prints every fingerprint that differs, and exits with 1 if any does. Both must be
made on the same machine with the same packages, since processors and versions of torch round
differently. Takes about three minutes on two cores; everything runs in one thread, so that sums are
in one order.

Parts, each the first word of its fingerprints' names:

- prompts: 60 prompts on 6 images for each backend: features, logits, predicted IoU, run lengths.
- automask: automatic masks, also adaptive, with crops and in tiles.
- store: a project of the data engine from COCO masks, exported in every format, and read again.
- cli: files that `samkit segment` and `samkit auto` write.
- training: 20 steps from nothing and 4 steps of fine-tuning: logs, scores and weights.
- evaluation: the numbers of a report.

Differences that are not results are removed before hashing: times, and samkit's renamed words in
text files (`RENAMED`). JSON and PNG files have two fingerprints: of their content, and of the order
of their keys or of their bytes, so that another order or compression can be told from another
result.
"""

import argparse
import csv
import hashlib
import inspect
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch read it

import numpy as np
import numpy.typing as npt
import skimage.data
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from safetensors.numpy import load_file

import samkit

Array = npt.NDArray[Any]
Fingerprints = dict[str, str]

# --- Adapters: every use of samkit's interface, by its new name or else its old one ---

# Renamed words of samkit in text files, old and new: naming, not results.
RENAMED = (("photo", "image"), ("Photo", "Image"), ("engine", "backend"))


def load_predictor(backend: str, precision: str) -> Any:
    """A predictor with the shipped weights."""
    parameters = inspect.signature(samkit.Predictor.load).parameters
    choice: dict[str, Any] = {"backend" if "backend" in parameters else "engine": backend}
    return samkit.Predictor.load(
        "mobile_sam", device="cpu", precision=precision, threads=1, **choice
    )


def feature_arrays(embedding: Any) -> list[Array]:
    """The image encoder's features: one array, or one for each level."""
    features = getattr(embedding, "features", embedding)
    levels = getattr(features, "levels", features)
    if isinstance(levels, torch.Tensor):
        levels = [levels]
    if isinstance(levels, dict):
        levels = levels.values()
    return [level.detach().float().cpu().numpy() for level in levels]


def rle_text(rle: Any) -> str:
    """Size and counts of a mask in COCO's form."""
    size, counts = (rle["size"], rle["counts"]) if isinstance(rle, dict) else (rle.size, rle.counts)
    return f"{list(size)} {counts}"


def generate_tiled(masker: Any, image: Array, tile_px: int, overlap_px: int) -> Any:
    """Automatic masks of an image that is cut into tiles."""
    try:
        from samkit import proposals as room
    except ImportError:
        from samkit import automask as room
    tiling = room.TileConfig(tile_px=tile_px, overlap_px=overlap_px)
    if hasattr(masker, "generate_tiled"):
        return masker.generate_tiled(image, tiling)
    return room.generate_tiled(masker, image, tiling)


class Cli:
    """The `samkit` command, run in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SAMKIT_")}
        self._env = clean | {
            "PYTHONPATH": str(Path(samkit.__file__).parents[1]),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "SAMKIT_CACHE": str(folder / "cache"),
        }
        self._help = cache(lambda *verb: self.run(*verb, "--help"))
        self._settings = cache(
            lambda recipe: json.loads(self.run("train", recipe, "--show", "--json"))
        )

    def run(self, *args: str, text: str = "") -> str:
        """Run a command with `text` as its input; return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "samkit", *args],
            cwd=self.folder,
            env=self._env,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"samkit {' '.join(args)} ended with {done.returncode}:\n{done.stderr}"
            )
        return done.stdout

    def option(self, verb: Sequence[str], *names: str) -> str:
        """The first of several option names that a command has."""
        help_text = self._help(*verb)
        for name in names:
            if re.search(rf"(?<![\w-]){name}(?![\w-])", help_text):
                return name
        raise LookupError(f"samkit {' '.join(verb)} has none of {names}")

    def setting(self, recipe: str, names: Sequence[str], value: object) -> str:
        """KEY=VALUE with the first of several setting names that a recipe has."""
        known = self._settings(recipe)
        for name in names:
            if name in known:
                return f"{name}={value}"
        raise LookupError(f"the recipe {recipe} has none of {names}")

    def exact(self, *verb: str) -> list[str]:
        """Options that run a command in float32 with torch, in one thread."""
        backend = self.option(verb, "--backend", "--engine")
        return [backend, "torch", "--precision", "float32", "--threads", "1", "--device", "cpu"]


# --- Fingerprints ---

# JSON keys of dates and durations, which differ from run to run.
VOLATILE = re.compile(r"at|.*seconds.*|.*_ms|.*_at|date.*|created.*|version_info")
# Columns of logs that differ from run to run.
VOLATILE_COLUMNS = re.compile(r".*_per_s|.*seconds.*|.*memory.*")


def digest(*parts: bytes) -> str:
    """SHA-256 of several concatenated parts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def of_arrays(*arrays: npt.ArrayLike) -> str:
    """Hash of arrays' values, without their shapes: an axis of 1 is not a result."""
    return digest(*(np.ascontiguousarray(array).tobytes() for array in arrays))


def of_masks(masks: Any) -> Fingerprints:
    """Fingerprints of a `Masks`."""
    found = {
        "count": str(len(masks.rles)),
        "rles": digest("\n".join(map(rle_text, masks.rles)).encode()),
        "boxes": of_arrays(np.asarray(masks.boxes_xyxy, np.int64)),
        "areas": of_arrays(np.asarray(masks.areas, np.int64)),
        "scores": of_arrays(np.asarray(masks.scores, np.float32)),
    }
    if masks.stability is not None:
        found["stability"] = of_arrays(np.asarray(masks.stability, np.float32))
    return found


def renamed(text: str) -> str:
    """Replace samkit's old words by the new ones."""
    for old, new in RENAMED:
        text = text.replace(old, new)
    return text


def steady(value: Any) -> Any:
    """JSON without what differs from run to run, and with new words for old ones."""
    if isinstance(value, dict):
        return {renamed(k): steady(v) for k, v in value.items() if not VOLATILE.fullmatch(k)}
    if isinstance(value, list):
        return [steady(one) for one in value]
    return renamed(value) if isinstance(value, str) else value


def of_file(path: Path) -> Fingerprints:
    """Fingerprints of a file, according to its type."""
    data = path.read_bytes()
    if path.suffix in (".json", ".geojson"):
        values = steady(json.loads(data))
        return {
            "ordered": digest(json.dumps(values).encode()),  # keys in the file's order
            "content": digest(json.dumps(values, sort_keys=True).encode()),
        }
    if path.suffix == ".jsonl":
        lines = [json.dumps(steady(json.loads(line)), sort_keys=True) for line in data.splitlines()]
        return {"content": digest("\n".join(lines).encode())}
    if path.suffix == ".png":
        with Image.open(path) as picture:
            palette = bytes(picture.getpalette() or ())
            content = digest(picture.mode.encode(), palette, of_arrays(picture).encode())
        return {"bytes": digest(data), "content": content}
    if path.suffix in (".txt", ".xml", ".yaml", ".md", ".csv"):
        return {"bytes": digest(renamed(data.decode()).encode())}
    return {"bytes": digest(data)}


def of_folder(folder: Path) -> Fingerprints:
    """Fingerprints of all files below a folder that are not hidden, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            found |= under(renamed(name), of_file(path))
    if not found:
        raise RuntimeError(f"nothing was written to {folder}")
    return found


def under(name: str, fingerprints: Fingerprints) -> Fingerprints:
    """Prefix the names of fingerprints."""
    return {f"{name}/{key}": value for key, value in fingerprints.items()}


# --- Images, masks and prompts, the same in every run ---


@cache
def images() -> dict[str, Array]:
    """Six RGB images shipped with scikit-image: wide, tall, grey and large ones."""
    return {
        "astronaut": skimage.data.astronaut(),
        "coffee": skimage.data.coffee(),
        "chelsea": skimage.data.chelsea(),
        "rocket": np.ascontiguousarray(np.rot90(skimage.data.rocket())),
        "coins": np.stack([skimage.data.coins()] * 3, axis=-1),
        "retina": skimage.data.retina(),
    }


def drawn_masks(size_hw: tuple[int, int]) -> list[Array]:
    """Masks (H, W) that touch edges, overlap, have holes and several parts."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    radius = np.hypot(x - 0.4, y - 0.45)
    return [
        (radius < 0.25) & (radius > 0.1),
        (x > 0.6) & (y < 0.35),
        (np.abs(x - 0.55) < 0.12) & (np.abs(y - 0.6) < 0.3),
        (y > 0.85) & ((x * 7).astype(int) % 2 == 0),
        np.hypot(x - 0.8, y - 0.7) < 0.02,
    ]


def write_pictures(folder: Path, names: Iterable[str]) -> None:
    """Write some of the images as PNG files."""
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(images()[name]).save(folder / f"{name}.png")


def write_instances(folder: Path, names: Sequence[str]) -> None:
    """Write a data set of images/ and numbered masks/; later masks lie on top."""
    write_pictures(folder / "images", names)
    (folder / "masks").mkdir()
    for name in names:
        numbers = np.zeros(images()[name].shape[:2], np.uint8)
        for number, mask in enumerate(drawn_masks(numbers.shape), start=1):
            numbers[mask] = number
        Image.fromarray(numbers).save(folder / "masks" / f"{name}.png")


def write_coco(path: Path, names: Sequence[str]) -> None:
    """Write a COCO file of drawn masks, with samkit's additional fields."""
    stages = ("manual", "semi-automatic", "automatic")
    entries: list[dict[str, Any]] = []
    listed = []
    for image_id, name in enumerate(names, start=1):
        height, width = images()[name].shape[:2]
        listed.append(
            {
                "id": image_id,
                "file_name": f"{name}.png",
                "height": height,
                "width": width,
                "samkit": {"review": "accepted" if image_id == 1 else "none", "comment": "fine"},
            }
        )
        for number, mask in enumerate(drawn_masks((height, width))):
            rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            entries.append(
                {
                    "id": len(entries) + 1,
                    "image_id": image_id,
                    "category_id": 1 + number % 3,
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "score": 0.9 - number / 7,
                    "samkit": {"stage": stages[number % 3], "stability": 1 - number / 9},
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "Maß"), start=1)]
    document = {"images": listed, "categories": categories, "annotations": entries}
    path.write_text(json.dumps(document))


def prompts(size_hw: tuple[int, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield nine prompts by name; the tenth continues from an answer."""
    scale = np.array(size_hw[::-1]) - 1
    inside = np.array([[0.5, 0.45]]) * scale
    several = np.array([[0.45, 0.4], [0.55, 0.5], [0.05, 0.1], [0.9, 0.95]]) * scale
    labels = [1, 1, 0, 0]
    box = (np.array([[0.2, 0.25], [0.75, 0.8]]) * scale).reshape(4)
    grid = np.array([[x, y] for x in (0.2, 0.5, 0.8) for y in (0.3, 0.7)])[:, None] * scale
    boxes = np.stack([box, box * 0.5, box * [1, 1, 1.2, 1.2]])
    yield "point", {"points": inside, "labels": [1], "multimask": True}
    yield "point_single", {"points": inside, "labels": [1], "multimask": False}
    yield "points", {"points": several, "labels": labels, "multimask": True}
    yield "points_single", {"points": several, "labels": labels, "multimask": False}
    yield "box", {"boxes": box, "multimask": False}
    yield "box_multimask", {"boxes": box, "multimask": True}
    yield "box_points", {"boxes": box, "points": several, "labels": labels, "multimask": False}
    yield "batch_points", {"points": grid, "labels": np.ones((6, 1)), "multimask": True}
    yield "batch_boxes", {"boxes": boxes, "multimask": False}


# --- The parts ---

BACKENDS = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("onnx", "float32"),
)


def answer_prompts(backends: Sequence[tuple[str, str]]) -> Fingerprints:
    """Run 60 prompts on 6 images on each backend."""
    found = {}
    for backend, precision in backends:
        predictor = load_predictor(backend, precision)
        for number, (name, image) in enumerate(images().items()):
            place = f"{backend}-{precision}/{name}"
            embedding = predictor.embed(image)
            found[f"{place}/features"] = of_arrays(*feature_arrays(embedding))
            answers = {}
            for prompt, arguments in prompts(image.shape[:2]):
                answers[prompt] = predictor.predict(embedding, **arguments)
            if number % 2:  # masks go with single prompts, and with batches
                earlier = answers["points"].best().logits
                again = {"points": [[image.shape[1] / 2, 9]], "labels": [0], "multimask": False}
            else:
                earlier = answers["batch_boxes"].logits
                again = {"multimask": True}
            answers["mask"] = predictor.predict(embedding, mask_logits=earlier, **again)
            for prompt, answer in answers.items():
                rles = "\n".join(map(rle_text, answer.to_masks().rles))
                found |= under(
                    f"{place}/{prompt}",
                    {
                        "logits": of_arrays(answer.logits),
                        "iou_pred": of_arrays(answer.iou_pred),
                        "rles": digest(rles.encode()),
                    },
                )
    return found


def make_automatic_masks(_: Path) -> Fingerprints:
    """Generate automatic masks of two images in four ways."""
    predictor = load_predictor("torch", "float32")
    loose = {"iou_thresh": 0.7, "stability_thresh": 0.8}

    def masker(**settings: Any) -> Any:
        return samkit.AutoMasker(predictor, samkit.AutoMaskConfig(**loose, **settings))

    astronaut, chelsea = images()["astronaut"], images()["chelsea"]
    plain = masker(points_per_side=8, min_area_px=80, max_area_fraction=0.9)
    found = under("plain", of_masks(plain.generate(astronaut)))
    adaptive = masker(points_per_side=12, adaptive=True)
    found |= under("adaptive", of_masks(adaptive.generate(astronaut)))
    crops = masker(points_per_side=6, crop_layers=1)
    found |= under("crops", of_masks(crops.generate(chelsea)))
    tiled = generate_tiled(masker(points_per_side=5, min_area_px=20), chelsea, 256, 64)
    return found | under("tiled", of_masks(tiled))


def export_projects(folder: Path) -> Fingerprints:
    """Export a project of three images in all formats, and read exports back."""
    cli, names = Cli(folder), ("chelsea", "coffee", "coins")
    write_pictures(folder / "pictures", names)
    write_coco(folder / "masks.json", names)
    init = ("engine", "init", "pictures", "--admin", "ada", "--password-stdin")
    verb, every = ("engine", "export"), ("--states", "none,submitted,returned,accepted")
    copy = cli.option(verb, "--copy-images", "--copy-photos")

    def begin(store: str) -> None:
        cli.run(*init, "--classes", "cat,dog", "--store", store, text="correct horse\n")

    begin("store.db")
    cli.run("engine", "import", "masks.json", "--format", "coco", "--store", "store.db")
    for one in ("coco", "sa1b", "yolo", "voc", "png", "geojson"):
        cli.run(*verb, f"out/{one}", "--format", one, "--store", "store.db", copy, *every)
    cli.run(*verb, "out/split", "--val-fraction", "0.5", "--store", "store.db", *every)
    cli.run(*verb, "out/accepted", "--accepted-only", "--history", "--store", "store.db")
    for one, place in (("sa1b", "out/sa1b/all"), ("png", "out/png/all/masks")):
        store = f"{one}.db"
        begin(store)
        cli.run("engine", "import", place, "--format", one, "--store", store)
        cli.run(*verb, f"out/{one}_read", "--format", "coco", "--store", store, *every)
    return of_folder(folder / "out")


def write_files(folder: Path) -> Fingerprints:
    """Run `samkit segment` and `samkit auto`, and hash the files they write."""
    cli = Cli(folder)
    write_pictures(folder / "pictures", ("coffee", "chelsea"))
    prompts = {
        "coffee.png": {"points": [[300, 200], [20, 20]], "labels": [1, 0]},
        "chelsea.png": {"box": [100, 40, 380, 280]},
    }
    (folder / "pictures" / "prompts.json").write_text(json.dumps(prompts))
    segment = [
        *("segment", "--prompts", "pictures/prompts.json", "-o", "segment"),
        *(f"--format={one}" for one in ("coco", "png", "overlay", "logits")),
    ]
    cli.run(*segment, *cli.exact("segment"))
    formats = ("sa1b", "coco", "yolo", "label", "png", "geojson", "overlay")
    auto = ["auto", "pictures/coffee.png", "pictures/chelsea.png", "-o", "auto"]
    grid = ["--points-per-side", "6", "--iou-thresh", "0.7", "--stability-thresh", "0.8"]
    cli.run(*auto, *grid, *(f"--format={one}" for one in formats), *cli.exact("auto"))
    return {
        **under("segment", of_folder(folder / "segment")),
        **under("auto", of_folder(folder / "auto")),
    }


def train(folder: Path) -> Fingerprints:
    """Train 20 steps from nothing on scenes, and 4 steps of the shipped decoder on masks."""
    cli = Cli(folder)
    write_instances(folder / "data", ("chelsea", "coffee", "coins"))
    exact = ["run.precision=32-true", "run.accelerator=cpu", "run.log_every=1"]

    def images_per_evaluation(recipe: str, count: int) -> str:
        return cli.setting(recipe, ("evaluation.images", "evaluation.photos"), count)

    # Evaluated only at the end: after 10 steps, masks depend on the last bit of some logits, and
    # the scores take one of two values from run to run, with the same weights.
    scenes = ["run.steps=20", "run.evaluate_every=0", images_per_evaluation("scenes", 4)]
    cli.run("train", "scenes", *exact, *scenes, "-o", "scenes")
    batch = ("data.images_per_batch", "data.photos_per_batch")
    # Evaluated once, at the end: a second evaluation failed where frozen weights were averaged.
    tune = [
        *("data.train=png:data", "data.val=png:data", cli.setting("finetune", batch, 2)),
        *("run.steps=4", "run.evaluate_every=4", "run.evaluate_first=false"),
        "optim.warmup_steps=1",
        images_per_evaluation("finetune", 3),
    ]
    cli.run("train", "finetune", *exact, *tune, "-o", "finetune")
    found = {}
    for run in ("scenes", "finetune"):
        for path in sorted((folder / run).glob("*.csv")):
            found |= under(f"{run}/{path.stem}", of_log(path))
        for path in sorted((folder / run).glob("*.safetensors")):
            found[f"{run}/{path.stem}_weights"] = of_weights(path)
    return found


def of_log(path: Path) -> Fingerprints:
    """Values of a CSV log, by step and column."""
    with path.open(newline="") as file:
        return {
            f"{row['step']}/{renamed(column)}": value
            for row in csv.DictReader(file)
            for column, value in row.items()
            if not VOLATILE_COLUMNS.fullmatch(column)
        }


def of_weights(path: Path) -> str:
    """Hash of a checkpoint's names and values; -0.0 and 0.0 are equal."""
    weights = load_file(path)
    return digest(*(n.encode() + (weights[n] + 0).tobytes() for n in sorted(weights)))


def evaluate(folder: Path) -> Fingerprints:
    """Evaluate on masks of three images, and on a scene."""
    cli = Cli(folder)
    write_instances(folder / "data", ("chelsea", "coffee", "coins"))
    each = cli.option(["evaluate"], "--masks-per-image", "--masks-per-photo")
    common = [*cli.exact("evaluate"), each, "4"]
    clicks = ["--protocol", "one-click", "--protocol", "noc", "--max-clicks", "3"]
    recall = ["--protocol", "boxes", "--protocol", "recall", "--recall-points", "4"]
    cli.run("evaluate", "data", *clicks, *recall, *common, "-o", "masks")
    edges = ["--protocol", "edges", "--edge-thresholds", "5"]
    cli.run("evaluate", "scenes:count=1,size=96", *edges, *common, "-o", "edges")
    found = {}
    for name in ("masks", "edges"):
        report = json.loads((folder / name / "report.json").read_text())
        found |= under(name, dict(numbers(steady(report))))
    return found


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield all scalar values of a JSON document, by their path."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from numbers(part, f"{name}/{key}" if name else str(key))
    else:
        yield name, repr(value)


PARTS: dict[str, Callable[[Path], Fingerprints]] = {
    "prompts": lambda _: answer_prompts(BACKENDS),
    "compile": lambda _: answer_prompts([("compile", "float32")]),
    "automask": make_automatic_masks,
    "store": export_projects,
    "cli": write_files,
    "training": train,
    "evaluation": evaluate,
}
SLOW = {"compile"}


def compare(before: Fingerprints, after: Fingerprints) -> list[str]:
    """One line for each fingerprint that differs."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, "(none)"), after.get(name, "(none)")
        if old != new:
            lines.append(f"{name}: {old} -> {new}")
    return lines


def machine() -> dict[str, str]:
    """Everything besides samkit that results may depend on."""
    packages = ("torch", "numpy", "openvino", "onnxruntime", "opencv-python-headless", "pillow")
    found = {"processor": platform.processor() or platform.machine(), "python": sys.version}
    installed = {one.name.lower(): one.version for one in distributions()}
    return found | {name: installed.get(name, "none") for name in packages}


def main() -> int:
    """Run the parts; return 1 if they differ from an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--compare", type=Path, metavar="FILE.json", help="file of an earlier run")
    parser.add_argument(
        "--part",
        dest="parts",
        choices=PARTS,
        action="append",
        help="run only this; repeatable (compile takes minutes, and runs only if given)",
    )
    options = parser.parse_args()
    earlier = json.loads(options.compare.read_text()) if options.compare else None
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    parts = options.parts or [part for part in PARTS if part not in SLOW]
    found: Fingerprints = {}
    for part in parts:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="samkit-fingerprints-") as folder:
            own = under(part, PARTS[part](Path(folder)))
        print(f"{part}: {len(own)} fingerprints, {time.perf_counter() - start:.0f} s", flush=True)
        found |= own
    document = {"machine": machine(), "fingerprints": dict(sorted(found.items()))}
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    if earlier is None:
        return 0
    if earlier["machine"] != document["machine"]:
        print("machine or packages differ: they may cause differences")
    before = {k: v for k, v in earlier["fingerprints"].items() if k.split("/")[0] in parts}
    lines = compare(before, found)
    print("\n".join([*lines, f"{len(lines)} of {len(before)} fingerprints differ"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
