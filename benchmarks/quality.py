"""Quality of models against the published MobileSAM, and whether a difference is real.

    python benchmarks/quality.py runs/tuned/best.safetensors --work records --output report

measures "mobile_sam" and each given model (names or files, as `Predictor.load` takes them) on five
data sets, and compares them on the same masks. `MODEL:refine=best` measures its clicks with that
refinement. Results are stored in --work image by image: an
interrupted run resumes, and "mobile_sam" is measured once for all models. Prints the main table;
--output FOLDER also gets report.md with all numbers, quality.json and pictures. On 2 cores a model
takes under 20 minutes; `--images 8 --sets coco,davis` is a quick look.

Metrics, the protocols are those of docs/evaluation.md:

- clicks: 1-click mIoU (top-ranked, best of three), mIoU after 2 to 10 clicks, clicks until IoU
  0.85, 0.90 and 0.95, at most 20 (NoC), on some masks of each image of at least 100 pixels; overall
  and by the object's size: below 1% of the image, 1% to 10%, from 10%;
- boxes: mIoU of the single masks from the boxes of all true masks, likewise by size;
- AR@100 of automatic masks by the default thresholds, 32 x 32 points, ranked by predicted IoU;
  COCO's one-to-one matching without classes. On fewer images, as it takes the most time;
- calibration: expected error of the predicted IoU, in 10 bins, of the top-ranked and of all three
  answers to the first click, and of the answers to later clicks.

Each difference from "mobile_sam" has a 95% confidence interval by bootstrap over images, on davis
over sequences, whose frames are alike; it is flagged "better" or "worse" if the interval excludes
0, never with fewer than 6 of them. The mean of sets counts each set equally, but for sets with
fewer than 6 images of such objects. By chance alone, one in twenty comparisons of equally good
models is flagged: decide by the mean, not by the best single number.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from quality_metrics import Results
from quality_report import QualityReport, write_report
from samkit import Predictor
from samkit.datasets import PickedData, Sample, SampleSource, open_data
from samkit.errors import ConfigError, SamkitError
from samkit.evaluation import (
    ONE_ANNOTATOR,
    Annotators,
    BoxPrompts,
    EvaluationProtocol,
    Interactive,
    MaskChoice,
    OneClick,
    evaluate_model,
    model_identity,
    read_annotators,
)
from samkit.evaluation.protocol import Result, Summary
from samkit.evaluation.recall import Recall, generate_masks, recall_result
from samkit.evaluation.truth import find_known
from samkit.predict import Refine, check_refine
from samkit.proposals import AutoMaskConfig
from samkit.types import ImageEmbedding

DATA = Path(__file__).parent.parent / "../shared/data"
BASELINE = "mobile_sam"
FRAMES_PER_SEQUENCE = 5
CHECKSUM_DIGITS = 12
# The defaults, stated lest another default change what is measured; from the predicted IoU on from
# which the model itself takes automatic masks.
AUTOMATIC = AutoMaskConfig(
    points_per_side=32, crop_layers=0, iou_thresh=None, stability_thresh=0.95, box_nms_thresh=0.7
)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set, and how much of it is measured.

    Attributes:
        images: number of images from the start.
        masks_per_image: number of masks to click in each image.
        automatic: number of images, from the start, of which automatic masks are generated.
        annotators: who drew which masks.
        group: the group of alike images that an image's key belongs to.
    """

    name: str
    source: SampleSource
    images: int
    masks_per_image: int
    automatic: int
    annotators: Annotators = ONE_ANNOTATOR
    group: Callable[[str], str] = str

    @property
    def choice(self) -> MaskChoice:
        """The masks to click."""
        return MaskChoice(masks_per_image=self.masks_per_image)


def open_coco(name: str, path: Path, *, images: int, masks: int, automatic: int) -> DataSet:
    """A data set of a COCO file, with its annotators."""
    return DataSet(
        name=name,
        source=cast("SampleSource", open_data(f"coco:{path}")),
        images=images,
        masks_per_image=masks,
        automatic=automatic,
        annotators=read_annotators(path),
    )


def open_davis(folder: Path) -> DataSet:
    """Evenly spaced frames of each sequence: first one of each sequence, then the next of each."""
    frames = cast("SampleSource", open_data(f"png:{folder},binary=yes"))
    sequences: dict[str, list[int]] = {}
    for index in range(len(frames)):
        sequences.setdefault(sequence_of(frames.key(index)), []).append(index)
    chosen = [
        own[position]
        for step in range(FRAMES_PER_SEQUENCE)
        for own in sequences.values()
        for position in [round(step * (len(own) - 1) / (FRAMES_PER_SEQUENCE - 1))]
    ]
    shown = [index for index in chosen if frames[index].rles]  # the object may have left
    return DataSet(
        name="davis",
        source=PickedData(frames, shown),
        images=len(shown),
        masks_per_image=1,
        automatic=len(sequences),
        group=sequence_of,
    )


def sequence_of(key: str) -> str:
    """The sequence of a frame SEQUENCE/NNNNN.jpg."""
    return key.split("/", maxsplit=1)[0]


# Numbers of images and masks are such that a model takes less than 20 minutes on 2 cores.
SETS: Mapping[str, Callable[[Path], DataSet]] = {
    "coco": lambda data: open_coco(
        "coco", data / "coco705/val.json", images=60, masks=3, automatic=15
    ),
    "voc": lambda data: open_coco(
        "voc", data / "voc632/val.json", images=60, masks=3, automatic=12
    ),
    "nuclei": lambda data: open_coco(
        "nuclei", data / "nuclei80/val.json", images=20, masks=6, automatic=8
    ),
    "bsds": lambda data: open_coco(
        "bsds", data / "bsds500/val.json", images=30, masks=4, automatic=10
    ),
    "davis": lambda data: open_davis(data / "davis_dev"),
}


@dataclass(frozen=True, kw_only=True)
class AutomaticMasks:
    """AR of automatic masks as users get them: default thresholds, ranked by predicted IoU."""

    config: AutoMaskConfig
    annotators: Annotators = ONE_ANNOTATOR

    @property
    def name(self) -> str:
        return "automatic"

    def settings(self) -> dict[str, Any]:
        return {**vars(self.config), "annotators": self.annotators.checksum}

    def differences(self) -> tuple[str, ...]:
        return ("masks are filtered by thresholds",)

    def measure(self, predictor: Predictor, embedding: ImageEmbedding, sample: Sample) -> Result:
        found = generate_masks(predictor, embedding, sample, self.config)
        numbers, rles = find_known(found.rles, sample)
        return recall_result(rles, found.scores[numbers], self.annotators.of(sample))

    def summarise(self, results: Sequence[Result]) -> Summary:
        return Recall(annotators=self.annotators).summarise(results)


def measure(predictor: Predictor, data_set: DataSet, work: Path, refine: Refine) -> Results:
    """Measure a model on a data set, or read what is stored in the folder `work`.

    Only clicks are refined; their results are in a folder of their own, beside all others.
    """
    others = [OneClick(choice=data_set.choice), BoxPrompts(annotators=data_set.annotators)]
    clicks = Interactive(choice=data_set.choice, refine=refine)
    automatic = AutomaticMasks(config=AUTOMATIC, annotators=data_set.annotators)

    def run(own: Sequence[EvaluationProtocol], images: int, folder: Path) -> Results:
        start_s = time.monotonic()

        def show(key: str, masks: int) -> None:
            if masks:
                seconds = time.monotonic() - start_s
                print(f"{data_set.name}: {key}, after {seconds:.0f} s", file=sys.stderr)

        result = evaluate_model(
            predictor, data_set.source, own, images=images, folder=folder, on_image=show
        )
        for skipped in result.skipped:
            print(f"{data_set.name}: skipped {skipped.image}: {skipped.error}", file=sys.stderr)
        return result.records

    images, few = data_set.images, min(data_set.automatic, data_set.images)
    if refine != "none":
        refined = run([clicks], images, work.with_name(f"{work.name}-{refine}"))
        first = run([*others, automatic], few, work)
        return {**run(others, images, work), **refined, automatic.name: first[automatic.name]}
    first = run([*others, clicks, automatic], few, work)  # an image is embedded once for all
    return {**run([*others, clicks], images, work), automatic.name: first[automatic.name]}


def read_spec(spec: str) -> tuple[str, Refine]:
    """A model, and how its clicks are refined, of `MODEL` or `MODEL:refine=best`."""
    model, _, refine = spec.partition(":refine=")
    check_refine(refine or "none")
    return model, cast("Refine", refine or "none")


def load(model: str, args: argparse.Namespace) -> Predictor:
    """Load a model by name or file."""
    return Predictor.load(
        model, backend=args.backend, precision=args.precision, threads=args.threads
    )


def results_folder(work: Path, identity: Mapping[str, Any]) -> Path:
    """Folder of a model's results: another one for other weights, even of the same file name."""
    parts = (identity["kind"], identity["checksum"][:CHECKSUM_DIGITS], identity["backend"])
    return work / "-".join((*parts, identity["precision"]))


def run(args: argparse.Namespace) -> None:
    """Measure the models, and report."""
    unknown = sorted({*args.sets} - {*SETS})
    if unknown:
        raise ConfigError(f"unknown set {unknown[0]!r}: expected some of {', '.join(SETS)}")
    if args.images is not None and args.images < 1:
        raise ConfigError(f"--images must be at least 1; got {args.images}")
    data_sets = [SETS[name](args.data) for name in args.sets]
    if args.images is not None:
        data_sets = [replace(own, images=min(own.images, args.images)) for own in data_sets]
    results: dict[str, dict[str, Results]] = {}
    identities = {}
    for spec in dict.fromkeys([BASELINE, *args.models]):
        print(f"model {spec}", file=sys.stderr)
        model, refine = read_spec(spec)
        predictor = load(model, args)
        identities[spec] = model_identity(predictor)
        folder = results_folder(args.work, identities[spec])
        results[spec] = {
            own.name: measure(predictor, own, folder / own.name, refine) for own in data_sets
        }
    groups = {own.name: own.group for own in data_sets}
    report = QualityReport(identities=identities, results=results, groups=groups)
    print(report.main_tables())
    if args.output:
        write_report(report, args.output)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names or checkpoint files")
    parser.add_argument("--work", type=Path, required=True, help="folder of results, to resume")
    parser.add_argument("--output", type=Path, help="folder for the report and pictures")
    parser.add_argument(
        "--sets",
        type=lambda text: text.split(","),
        default=list(SETS),
        help=f"some of {','.join(SETS)} (default all)",
    )
    parser.add_argument("--images", type=int, help="at most so many images of each set")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets")
    parser.add_argument("--backend", default="openvino", help="default openvino")
    parser.add_argument("--precision", default="float32", help="default float32, for exactness")
    parser.add_argument("--threads", type=int, help="default: all cores")
    try:
        run(parser.parse_args())
    except SamkitError as error:
        sys.exit(f"quality.py: {error}")


if __name__ == "__main__":
    main()
