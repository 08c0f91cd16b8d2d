"""samkit's models in FiftyOne's zoo: a remote source, as `foz.register_zoo_model_source` takes it.

FiftyOne copies this folder into its own, beside the models of other sources, and runs the copy: it
imports samkit by its public names only.

Source: `fiftyone.zoo.models`, 1.22.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samkit.weights import CATALOG, fetch

if TYPE_CHECKING:
    from fiftyone.operators.types import Property

    from samkit.integrations.fiftyone import SegmentationModel, VideoSegmentationModel

MANIFEST = "manifest.json"
PREFIX = "samkit/"  # of the models' names in the zoo


def install() -> Path:
    """Register the source that is in this package, without a download; return its folder.

    `foz.load_zoo_model("samkit/mobile_sam_tuned")` finds it from then on, in every process with the
    same `fiftyone.config.model_zoo_dir`. One that is there already is replaced.
    """
    import fiftyone as fo

    source = Path(__file__).parent
    name: str = json.loads((source / MANIFEST).read_text())["name"]
    folder: Path = Path(fo.config.model_zoo_dir) / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in (MANIFEST, "__init__.py"):
        shutil.copyfile(source / file, folder / file)
    return folder


def download_model(model_name: str, model_path: str) -> None:
    """Load a model's weights into samkit's own cache, and note in the zoo where they are.

    Args:
        model_name: as in the manifest: "samkit/" and a name of `samkit models`.
        model_path: the note (JSON), by which FiftyOne sees that the model was downloaded.

    Raises:
        DownloadError: the weights cannot be downloaded.
    """
    entry = CATALOG[model_name.removeprefix(PREFIX)]
    Path(model_path).write_text(json.dumps({"model": entry.name, "weights": str(fetch(entry))}))


def load_model(
    model_name: str,
    model_path: str,  # noqa: ARG001 - FiftyOne gives it
    *,
    video: bool = False,
    **options: Any,
) -> SegmentationModel | VideoSegmentationModel:
    """Load a model of the zoo.

    Args:
        model_name: as in the manifest.
        model_path: what `download_model` wrote; not read, since samkit finds its weights.
        video: whether it follows objects through videos; the other options are for images alone.
        options: `preset`, `classes` and `text_model` of `SegmentationModel`.
    """
    from samkit.integrations.fiftyone import SegmentationModel, VideoSegmentationModel

    name = model_name.removeprefix(PREFIX)
    return VideoSegmentationModel(name) if video else SegmentationModel(name, **options)


def resolve_input(model_name: str, ctx: Any) -> Property:  # noqa: ARG001 - FiftyOne gives both
    """What FiftyOne's app asks for before it loads a model; its answers are `load_model`'s options.

    Args:
        model_name: as in the manifest; all models take the same.
        ctx: an `ExecutionContext` of FiftyOne, of which nothing is needed.
    """
    from fiftyone.operators import types

    from samkit.proposals import PRESETS

    inputs = types.Object()
    inputs.bool(
        "video",
        default=False,
        label="Follow objects through videos",
        description="from prompts in their frames; all other options are for images",
    )
    inputs.enum(
        "preset",
        list(PRESETS),
        default="instant",
        label="Preset",
        description="of masks of everything, from fast to thorough",
    )
    inputs.list(
        "classes",
        types.String(),
        default=["object"],
        label="Classes",
        description="one name for all masks, or with a text model those to find",
    )
    inputs.str(
        "text_model",
        label="Text model",
        description="a detector or a CLIP, by its name on the hub or as a folder",
    )
    return types.Property(inputs)


def parse_parameters(
    model_name: str,  # noqa: ARG001
    ctx: Any,  # noqa: ARG001
    params: dict[str, Any],
) -> None:
    """Leave out options that a person left empty; changes `params`."""
    for name in [name for name, value in params.items() if value in (None, "", [])]:
        del params[name]
