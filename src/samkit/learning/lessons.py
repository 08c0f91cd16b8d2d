"""What a round learns from, and the folder that it is resumed from if it is stopped.

The decoder's training begins anew when the masks are others. With LoRA it takes so long that people
finish other masks meanwhile, and it goes on with those that it began with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samkit.files import write_bytes
from samkit.learning.examples import FinishedImages, remembered_images

if TYPE_CHECKING:
    from samkit.dataengine import Learnt
    from samkit.learning.lesson_images import LessonFiles

LORA = "lora-"  # folders of rounds that also train the image encoder
LESSONS = "lessons.json"


@dataclass(frozen=True)
class Lessons:
    """What a round learns from.

    Attributes:
        folder: of the round.
        num_finished: verified masks of the project when it began.
    """

    folder: Path
    images: FinishedImages
    num_finished: int

    def save(self) -> None:
        """Write them into the folder, to go on with them however many masks people finish."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"num_finished": self.num_finished, "images": self.images.content()}
        write_bytes(self.folder / LESSONS, json.dumps(content).encode())


def read_lessons(files: LessonFiles, folder: Path) -> Lessons | None:
    """Read what a stopped round learns from; None if there is none, or its images are gone."""
    try:
        content = json.loads((folder / LESSONS).read_bytes())
    except OSError:
        return None
    images = remembered_images(files, content["images"])
    return None if images is None else Lessons(folder, images, content["num_finished"])


def lessons_of_round(
    rounds: Path,
    examples: FinishedImages,
    recipe: object,
    *,
    learns: Learnt,
    parent_id: int,
    num_finished: int,
) -> Lessons:
    """What a round learns from: the examples as they are, or those that it began with.

    Folders of rounds that nobody will go on with are removed.

    Args:
        rounds: the project's folder for rounds.
        recipe: all settings of the round, by their representation.
        parent_id: model version that the round begins from.
        num_finished: verified masks of the project.
    """
    ours = f"{LORA}{parent_id}-"  # of the version that answers now
    if learns == "decoder":
        folder = rounds / fingerprint(examples, parent_id, recipe)
        stale = [one for one in rounds.glob("*") if not one.name.startswith(ours)]
    else:
        folder = rounds / (ours + fingerprint(None, parent_id, recipe))
        stale = list(rounds.glob(f"{LORA}*"))
    for other in stale:
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    lessons = Lessons(folder, examples, num_finished)
    if learns == "lora":
        begun = read_lessons(examples.files, folder)
        if begun is not None:
            return begun
        shutil.rmtree(folder, ignore_errors=True)
        lessons.save()
    folder.mkdir(parents=True, exist_ok=True)
    return lessons


def fingerprint(examples: FinishedImages | None, parent_id: int, recipe: object) -> str:
    """Identify a training: its masks, if they are not remembered, what it begins from, settings."""
    digest = hashlib.sha256(f"{parent_id} {recipe}".encode())
    if examples is not None:
        for index, image in enumerate(examples.images):
            digest.update(image.pixels_key.encode())
            for rle in (*examples.masks(index), *examples.rejected(index)):
                digest.update(str(rle["counts"]).encode())
    return digest.hexdigest()[:16]
