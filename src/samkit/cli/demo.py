"""The command `samkit demo`: one click on an image from the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click

from samkit.backends import BackendChoice
from samkit.batch import (
    DEFAULT_SEGMENT_FORMATS,
    ImagePrompt,
    PromptedImage,
    SegmentOptions,
)
from samkit.cli.options import backend_options, json_option, output_option
from samkit.weights import DEFAULT_MODEL

# On the rim of the cup, which may mean the coffee, the cup, or the cup with its saucer.
CLICK_XY = (220, 170)


@click.command()
@output_option("demo-output")
@backend_options
@json_option
def demo(*, output: Path, backend: BackendChoice, as_json: bool) -> int:
    """Segment an image of a coffee cup from one click, with the embedded model."""
    from samkit.cli.segment import segment_images
    from samkit.types import Prompts

    with as_file(files("samkit") / "assets" / "coffee.jpg") as image:
        prompt = ImagePrompt(prompts=Prompts.of(points=[CLICK_XY], labels=[1]))
        return segment_images(
            [PromptedImage(image=image, prompt=prompt)],
            SegmentOptions(multimask=True),
            output=output,
            formats=frozenset(DEFAULT_SEGMENT_FORMATS),
            model=DEFAULT_MODEL,
            backend=backend,
            as_json=as_json,
        )
