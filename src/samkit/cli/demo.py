"""The command `samkit demo`: one click on an image from the package, or on a clip made of it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # OpenCV takes a tenth of a second to import
    from samkit.video import FrameSource

# On the rim of the cup, which may mean the coffee, the cup, or the cup with its saucer.
CLICK_XY = (220, 170)
# In the first frame of the clip: around the cup, and on the spoon.
BOX_XYXY, SPOON_XY = (170, 16, 405, 285), (363, 283)
PICTURE_ROWS, PICTURE_COLUMNS = 2, 3  # frames of the picture


@click.command()
@click.option("--video", is_flag=True, help="Follow a cup and a spoon through a clip instead.")
@output_option("demo-output")
@backend_options
@json_option
def demo(*, video: bool, output: Path, backend: BackendChoice, as_json: bool) -> int:
    """Segment an image of a coffee cup from one click, with the embedded model.

    With --video, a clip is made of the image, in which the view moves and a bar passes in front; a
    cup, shown by a box, and a spoon, shown by a click, are followed through it.
    """
    with as_file(files("samkit") / "assets" / "coffee.jpg") as image:
        if video:
            return follow(image, output=output, backend=backend, as_json=as_json)
        return segment(image, output=output, backend=backend, as_json=as_json)


def segment(image: Path, *, output: Path, backend: BackendChoice, as_json: bool) -> int:
    """Segment the image; return the exit code."""
    from samkit.cli.segment import segment_images
    from samkit.types import Prompts

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


def follow(image: Path, *, output: Path, backend: BackendChoice, as_json: bool) -> int:
    """Make a clip of the image, and follow two objects through it; return the exit code."""
    from samkit.batch import DEFAULT_TRACK_FORMATS, ObjectPrompt
    from samkit.cli.demo_clip import NUM_FRAMES, RATE, demo_frames
    from samkit.cli.track import frame_names, report, track_objects
    from samkit.files import make_folder
    from samkit.formats import read_image
    from samkit.video import open_frames, write_video

    make_folder(output)
    clip, picture = output / "clip.mp4", output / "overlay.png"
    write_video(clip, demo_frames(read_image(image)), rate=RATE)
    source = open_frames(clip)
    if not as_json:
        click.echo(f"{clip}: {NUM_FRAMES} frames made of an image of a coffee cup")
        click.echo("object 1, the cup, is shown by a box, and object 2, the spoon, by a click")
    try:
        answers, written = track_objects(
            source,
            [
                ObjectPrompt(object_id=1, index=0, box_xyxy=BOX_XYXY),
                ObjectPrompt(object_id=2, index=0, points_xy=(SPOON_XY,), labels=(1,)),
            ],
            names=frame_names(source),
            video_name=clip.name,
            settings={"every": 1, "reverse": False, "non_overlapping": False},
            model=DEFAULT_MODEL,
            policy=None,
            backend=backend,
            output=output,
            formats=DEFAULT_TRACK_FORMATS,
            shows_progress=not as_json,
        )
    finally:
        source.close()
    overlay = open_frames(output / "overlay.mp4")
    try:
        write_picture(overlay, picture)
    finally:
        overlay.close()
    report(answers, [*written, picture], as_json=as_json)
    if not as_json:
        box, point = (",".join(map(str, numbers)) for numbers in (BOX_XYXY, SPOON_XY))
        click.echo("the same by samkit track, which takes any video; frames count from 0:")
        click.echo(f"  samkit track {clip} --box 1@0:{box} --point 2@0:{point}")
    return 0


def write_picture(video: FrameSource, path: Path) -> None:
    """Write some frames of a video beside each other, the first one and the last one among them.

    Raises:
        OutputError: the file cannot be written.
    """
    import numpy as np

    from samkit.formats import write_png

    shown = np.linspace(0, (video.count or 1) - 1, PICTURE_ROWS * PICTURE_COLUMNS).round()
    frames = [video.read(int(index)) for index in shown]
    rows = [
        np.hstack(frames[first : first + PICTURE_COLUMNS])
        for first in range(0, len(frames), PICTURE_COLUMNS)
    ]
    write_png(path, np.vstack(rows))
