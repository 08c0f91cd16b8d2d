"""Catalog of published models: where their weights are and how to recognise them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from samkit.errors import WeightsError

CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt")
PUBLISHED_IOU_THRESH = 0.88  # of automatic masks, in arXiv:2304.02643, appendix B
SAM2_IOU_THRESH = 0.8  # of SAM 2's own automatic masks, whose predicted IoUs are probabilities
EMBEDDED_DIR = Path(__file__).parent / "embedded"


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A model that can be loaded by name.

    Attributes:
        name: its name for `load_model`; a key of `samkit.models.CONFIGS` unless there is a `base`.
        parameters: number of learned parameters.
        size_bytes: size of the authors' file or of the embedded one; a download differs slightly.
        hub_repo, hub_file: repository and file on the Hugging Face hub; None if embedded.
        embedded: file inside this package; None for a model on the hub.
        iou_thresh: predicted IoU from which automatic masks are taken.
        base: the model whose image encoder this one shares; its file is a decoder alone.
        sha256: checksums of the embedded file and of the authors' `.pth` or `.pt`, by which they
            are recognised. Files from the hub are checked against the hub's own record.
    """

    name: str
    summary: str
    parameters: int
    size_bytes: int
    licence: str
    hub_repo: str | None = None
    hub_file: str = "model.safetensors"
    embedded: Path | None = None
    iou_thresh: float = PUBLISHED_IOU_THRESH
    base: str | None = None
    sha256: tuple[str, ...] = ()

    @property
    def config(self) -> str:
        """Key of `samkit.models.CONFIGS`."""
        return self.base or self.name


# Name on the hub, summary, and parameters of SAM 2.1; SAM 2 has fewer.
SAM2_SIZES = {
    "tiny": ("tiny", "Hiera-T: the smallest", 38_962_498),
    "small": ("small", "Hiera-S", 46_060_354),
    "base_plus": ("base-plus", "Hiera-B+", 80_850_178),
    "large": ("large", "Hiera-L", 224_446_642),
}
SAM2_LACKS = 16_512  # parameters of SAM 2.1 that SAM 2 does not have


def sam2_entry(version: str, size: str) -> CatalogEntry:
    """The entry of a SAM 2 or 2.1, whose file is about as large as its parameters in float32."""
    hub_size, summary, parameters = SAM2_SIZES[size]
    prefix = version.replace(" ", "").lower()
    parameters -= SAM2_LACKS if version == "SAM 2" else 0
    return CatalogEntry(
        name=f"{prefix}_hiera_{size}",
        summary=f"{version} {summary}",
        parameters=parameters,
        size_bytes=4 * parameters,
        licence="Apache-2.0",
        hub_repo=f"facebook/{prefix}-hiera-{hub_size}",
        iou_thresh=SAM2_IOU_THRESH,
    )


DEFAULT_MODEL = "mobile_sam_tuned"
CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="mobile_sam",
            summary="MobileSAM as published: TinyViT encoder; in the package",
            parameters=9_808_452,
            size_bytes=22_007_504,
            licence="Apache-2.0",
            embedded=EMBEDDED_DIR / "mobile_sam.safetensors",
            sha256=(
                "3518564f1380f5810bc2999d5c22fa1a00b3c73bc00b4a7d2355cc695f2501b7",
                "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            ),
        ),
        CatalogEntry(
            name="mobile_sam_tuned",
            summary="MobileSAM, trained for fewer clicks; the default, in the package",
            parameters=9_808_452,
            size_bytes=8_146_504,
            licence="Apache-2.0",
            embedded=EMBEDDED_DIR / "mobile_sam_tuned.safetensors",
            iou_thresh=0.4,
            base="mobile_sam",
            sha256=("193884238b540839526e4ca9482a1cdc9590c32af804244029d303ca578d4720",),
        ),
        CatalogEntry(
            name="sam_vit_b",
            summary="SAM ViT-B",
            parameters=93_735_472,
            size_bytes=375_042_383,
            licence="Apache-2.0",
            hub_repo="facebook/sam-vit-base",
            sha256=("ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",),
        ),
        CatalogEntry(
            name="sam_vit_l",
            summary="SAM ViT-L",
            parameters=312_342_832,
            size_bytes=1_249_524_607,
            licence="Apache-2.0",
            hub_repo="facebook/sam-vit-large",
            sha256=("3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",),
        ),
        CatalogEntry(
            name="sam_vit_h",
            summary="SAM ViT-H: the paper's model",
            parameters=641_090_608,
            size_bytes=2_564_550_879,
            licence="Apache-2.0",
            hub_repo="facebook/sam-vit-huge",
            sha256=("a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",),
        ),
        *(sam2_entry(version, size) for version in ("SAM 2.1", "SAM 2") for size in SAM2_SIZES),
        CatalogEntry(
            name="edgetam",
            summary="EdgeTAM, RepViT-M1: for videos on small devices",
            parameters=13_895_794,
            size_bytes=56_116_523,
            licence="Apache-2.0",
            hub_repo="facebook/EdgeTAM",
            hub_file="edgetam.pt",
            iou_thresh=SAM2_IOU_THRESH,
            sha256=("ed2d4850b8792c239689b043c47046ec239b6e808a3d9b6ae676c803fd8780df",),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class TextModelEntry:
    """A text model on the hub that is known to work; others of its kind work too.

    Attributes:
        name: name of its repository.
        parameters: number of learned parameters.
        licence: as stated by its authors.
    """

    name: str
    kind: Literal["detector", "clip"]
    summary: str
    parameters: int
    licence: str

    @property
    def size_bytes(self) -> int:
        """Approximate download size: four bytes per parameter."""
        return 4 * self.parameters


TEXT_CATALOG: dict[str, TextModelEntry] = {
    entry.name: entry
    for entry in (
        TextModelEntry(
            name="IDEA-Research/grounding-dino-tiny",
            kind="detector",
            summary="Grounding DINO, Swin-T: the default for words",
            parameters=172_250_626,
            licence="Apache-2.0",
        ),
        TextModelEntry(
            name="google/owlv2-base-patch16-ensemble",
            kind="detector",
            summary="OWLv2, ViT-B/16: half of the time",
            parameters=154_966_792,
            licence="Apache-2.0",
        ),
        TextModelEntry(
            name="openai/clip-vit-base-patch32",
            kind="clip",
            summary="CLIP ViT-B/32: names masks",
            parameters=151_277_313,
            licence="MIT",
        ),
        TextModelEntry(
            name="openai/clip-vit-large-patch14-336",
            kind="clip",
            summary="CLIP ViT-L/14, 336 px: the paper's, to train text prompts",
            parameters=427_944_193,
            licence="MIT",
        ),
    )
}


def check_source(source: str | os.PathLike[str]) -> None:
    """Check that a model has a known name or that its file exists; the file is not read.

    Raises:
        WeightsError: neither.
    """
    path = Path(source)
    if source in CATALOG or path.exists():
        return
    if path.suffix in CHECKPOINT_SUFFIXES:
        raise WeightsError(f"no such file: {path}")
    raise WeightsError(
        f"unknown model {os.fspath(source)!r}; known are {', '.join(CATALOG)},"
        " or the path of a .safetensors, .pth or .pt file"
    )
