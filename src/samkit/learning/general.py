"""General images: what a model should still segment, whatever it learns from a project.

Some are among those that it learns from, so that it forgets less; others judge it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from samkit.datasets import JoinedData, PickedData, SampleSource, open_data, require_indexed
from samkit.learning.examples import is_held_out

# Drawn scenes: other ones to learn from than those that judge.
GENERAL = "scenes:count=24,size=256,seed=7"
REHEARSED = "scenes:count=48,size=256,seed=8"
REHEARSALS = 1 / 3  # general images for each of the project's


class GeneralImages(NamedTuple):
    """General images that judge, and those to learn from; the latter may be none."""

    judges: SampleSource
    rehearsed: SampleSource


def open_general(name: str) -> GeneralImages:
    """Open a data set of general images; of others than drawn scenes every third or so judges.

    Raises:
        DataError: there is no such data set, or it is damaged.
    """
    from samkit.predict import pixels_sha256

    source = require_indexed(open_data(name), "general images")
    if name == GENERAL:
        return GeneralImages(source, require_indexed(open_data(REHEARSED), "general images"))
    judges = [
        index for index in range(len(source)) if is_held_out(pixels_sha256(source[index].image))
    ]
    others = sorted(set(range(len(source))) - set(judges))
    if not judges:  # too few to learn from any
        return GeneralImages(source, PickedData(source, []))
    return GeneralImages(PickedData(source, judges), PickedData(source, others))


def with_rehearsal(images: SampleSource, general: SampleSource) -> SampleSource:
    """The images to learn from, with a third as many general ones, which may repeat."""
    if not len(general):
        return images
    count = math.ceil(len(images) * REHEARSALS)
    return JoinedData([images, PickedData(general, [at % len(general) for at in range(count)])])
