"""Sequences in DAVIS layout: frames and label images in folders by sequence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samkit.arrays import BoolArray
from samkit.datasets.videos.clip import VideoClip
from samkit.errors import DataError
from samkit.formats import has_image_suffix, is_hidden, read_image, read_labels

# Folders of images and masks below a data set's, in DAVIS's own layout and in ours.
LAYOUTS = (
    ("JPEGImages/480p", "Annotations/480p"),
    ("JPEGImages", "Annotations"),
    ("images", "masks"),
)
STARTS_TRIED = 8  # until some object is there in a clip's first frame


@dataclass(frozen=True, kw_only=True)
class VosSequence:
    """A sequence of frames with masks.

    Attributes:
        name: of the sequence.
        images: its frames.
        masks: label image of each frame; None where there is none.
    """

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path | None, ...]

    def truth(self, index: int) -> Mapping[int, BoolArray]:
        """The masks (H, W) of a frame by object; an object that is not there has none."""
        path = self.masks[index]
        return {} if path is None else read_object_masks(path)


def read_object_masks(path: Path) -> dict[int, BoolArray]:
    """The masks of a label image by their number; 0 is background."""
    labels = read_labels(path).labels
    return {int(number): labels == number for number in np.unique(labels) if number}


def find_vos_sequences(folder: Path) -> list[VosSequence]:
    """Find the sequences of a folder in DAVIS layout: frames and masks in folders by sequence.

    Raises:
        DataError: there are none, or the first frame of one has no mask.
    """
    for images, masks in LAYOUTS:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            names = sorted(one.name for one in (folder / images).iterdir() if one.is_dir())
            found = [
                _sequence(folder / images / name, folder / masks / name)
                for name in names
                if (folder / masks / name).is_dir()
            ]
            if found:
                return found
    known = ", ".join(f"{images} and {masks}" for images, masks in LAYOUTS)
    raise DataError(f"{folder} has no sequences in DAVIS layout: folders {known}")


def _sequence(images: Path, masks: Path) -> VosSequence:
    files = sorted(
        path
        for path in images.iterdir()
        if has_image_suffix(path.name) and not is_hidden(path.name)
    )
    by_name = {path.stem: path for path in masks.iterdir() if has_image_suffix(path.name)}
    own = tuple(by_name.get(path.stem) for path in files)
    if not own or own[0] is None:
        raise DataError(f"{masks} has no mask for the first frame of {images}")
    return VosSequence(name=images.name, images=tuple(files), masks=own)


class SequenceClips:
    """Clips of the sequences of a folder in DAVIS layout; a `VideoSource`.

    A clip has frames with masks alone: of YouTube-VOS, every fifth one. Where a sequence is shorter
    than a clip, it goes back and forth.
    """

    def __init__(self, folder: Path) -> None:
        """Find the sequences.

        Raises:
            DataError: there are none.
        """
        self.sequences = find_vos_sequences(folder)

    def __len__(self) -> int:
        return len(self.sequences)

    def key(self, index: int) -> str:
        return self.sequences[index].name

    def draw(
        self, index: int, rng: np.random.Generator, *, num_frames: int, max_objects: int
    ) -> VideoClip:
        sequence = self.sequences[index]
        labelled = [at for at, path in enumerate(sequence.masks) if path is not None]
        for _ in range(STARTS_TRIED):
            start = int(rng.integers(max(1, len(labelled) - num_frames + 1)))
            chosen = back_and_forth(labelled[start:], num_frames)
            first = sequence.truth(chosen[0])
            if first:
                break
        else:
            raise DataError(f"{sequence.name}: no object is there in the frames that were drawn")
        numbers = sorted(rng.permutation(sorted(first))[:max_objects].tolist())
        truths = {at: sequence.truth(at) for at in set(chosen)}
        nothing = np.zeros_like(first[numbers[0]])
        masks = [[truths[at].get(number, nothing) for at in chosen] for number in numbers]
        frames = {at: read_image(sequence.images[at]) for at in set(chosen)}
        return VideoClip(
            key=sequence.name,
            frames=tuple(frames[at] for at in chosen),
            masks=np.array(masks),
        )


def back_and_forth(indices: list[int], count: int) -> list[int]:
    """The first indices; if there are fewer, back to the first one, forth again, and so on."""
    there_and_back = indices + indices[-2:0:-1]
    return [there_and_back[number % len(there_and_back)] for number in range(count)]
