"""`samkit demo`: the main thing, on a photograph that the package ships."""

from importlib.resources import as_file, files
from pathlib import Path

import click

from samkit.cli.options import EngineChoice, engine_options, json_option, output_option
from samkit.cli.prompts import Ask

# On the rim of the cup: may mean the coffee, the cup, or the cup with its saucer.
CLICK_XY = (220, 170)


@click.command()
@output_option("demo-output")
@engine_options
@json_option
def demo(*, output: Path, engine: EngineChoice, as_json: bool) -> int:
    """Segment a photograph of a coffee cup from one click, with the embedded model."""
    from samkit.cli.segment import DEFAULT_FORMATS, Choices, Task, segment_photos
    from samkit.types import Prompts

    choices = Choices(
        output=output, formats=frozenset(DEFAULT_FORMATS), multimask=True, every_candidate=False
    )
    with as_file(files("samkit") / "assets" / "coffee.jpg") as photo:
        ask = Ask(prompts=Prompts.of(points=[CLICK_XY], labels=[1]))
        task = Task(image=photo, ask=ask)
        return segment_photos([task], choices, model="mobile_sam", engine=engine, as_json=as_json)
