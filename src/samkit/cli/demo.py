"""`samkit demo`: the main thing, on an image that the package ships."""

from importlib.resources import as_file, files
from pathlib import Path

import click

from samkit.cli.options import BackendChoice, backend_options, json_option, output_option
from samkit.cli.prompts import Ask

# On the rim of the cup: may mean the coffee, the cup, or the cup with its saucer.
CLICK_XY = (220, 170)


@click.command()
@output_option("demo-output")
@backend_options
@json_option
def demo(*, output: Path, backend: BackendChoice, as_json: bool) -> int:
    """Segment an image of a coffee cup from one click, with the embedded model."""
    from samkit.cli.segment import DEFAULT_FORMATS, Choices, Task, segment_images
    from samkit.types import Prompts

    choices = Choices(
        output=output, formats=frozenset(DEFAULT_FORMATS), multimask=True, every_candidate=False
    )
    with as_file(files("samkit") / "assets" / "coffee.jpg") as image:
        ask = Ask(prompts=Prompts.of(points=[CLICK_XY], labels=[1]))
        task = Task(image=image, ask=ask)
        return segment_images([task], choices, model="mobile_sam", backend=backend, as_json=as_json)
