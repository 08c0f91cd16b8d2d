"""COCO data sets: one JSON file of instance masks, and a folder of images."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from samkit.datasets.sample import Sample
from samkit.errors import DataError
from samkit.formats import CocoImage, check_image_size, read_coco, read_image, read_numbered_rles

IMAGES_TRIED = 32  # images looked for to find their folder; all but one may be missing
PREFIX = "instances_"  # as in COCO's own names: annotations/instances_val2017.json beside val2017/


class CocoData:
    """Images and masks of a COCO JSON file.

    Masks may be polygons, or RLEs with compressed or plain counts. Annotations of crowds
    (`iscrowd`) are not instances and are left out. The phrase of a mask is its category's name.

    Attributes:
        path: the JSON file.
        folder: folder of the images.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None
    ) -> None:
        """Read the JSON file and find the images.

        Args:
            path: the JSON file.
            images: folder of the images; default: a folder with the JSON file's name (or the part
                of it after `instances_`) beside the file or its folder, or the file's own folder.

        Raises:
            DataError: not a COCO file, or none of its images are found.
        """
        self.path = Path(path)
        file = read_coco(self.path)
        if not file.images:
            raise DataError(f"{path} lists no images")
        self._entries = [image.entry for image in file.images]
        # Each image's segmentations with their phrases, as JSON: this takes a fifth of the memory
        # of lists of numbers, and stays shared with forked workers.
        self._annotations = [
            json.dumps(
                [
                    (one.get("segmentation"), file.category_name(one) or "")
                    for one in image.annotations
                ]
            ).encode()
            for image in file.images
        ]
        self._keys = _unique_keys(file.images)
        self.folder = _find_folder(self.path, file.images, None if images is None else Path(images))

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, index: int) -> str:
        return self._keys[index]

    def __getitem__(self, index: int) -> Sample:
        entry, key = self._entries[index], self.key(index)
        try:
            name = CocoImage(entry=entry, annotations=[]).file_name
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from error
        image = read_image(self.folder / name)
        height, width = image.shape[:2]
        check_image_size(self.folder / name, entry, (height, width))
        annotations = json.loads(self._annotations[index])
        rles, faults = read_numbered_rles((one for one, _ in annotations), (height, width))
        return Sample(
            key=key,
            image=image,
            rles=tuple(rles.values()),
            faults=faults,
            phrases=tuple(annotations[index][1] for index in rles),
        )


def _unique_keys(images: Sequence[CocoImage]) -> list[str]:
    """File names, made unique by indices if images share one."""
    names = [one.file_name if one.is_valid else f"entry {i}" for i, one in enumerate(images)]
    counts = Counter(names)
    return [f"{name}#{i}" if counts[name] > 1 else name for i, name in enumerate(names)]


def _find_folder(path: Path, images: Sequence[CocoImage], given: Path | None) -> Path:
    """The first folder that contains any of the first images."""
    folder, stem = path.parent, path.stem.removeprefix(PREFIX)
    usual = [folder / path.stem, folder / stem, folder.parent / stem, folder / "images", folder]
    folders = list(dict.fromkeys(usual)) if given is None else [given]
    names = [one.file_name for one in images if one.is_valid][:IMAGES_TRIED]
    for tried in folders:
        if any((tried / name).is_file() for name in names):
            return tried
    listed = ", ".join(str(tried) for tried in folders)
    raise DataError(
        f"none of the images of {path} are in {listed}: name their folder (coco:{path},images=...)"
    )
