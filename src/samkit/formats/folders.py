"""Which files below a folder are images: one rule for all commands.

Hidden files and folders are no images, nor are other systems' copies: Jupyter's checkpoints, file
managers' thumbnails, the forks of macOS. Pictures of kinds that are not read, and linked folders,
which may lead anywhere, are left out and counted.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from samkit.formats.names import has_image_suffix

logger = logging.getLogger(__name__)

# Folders with copies: of macOS in zip files, and of Synology's thumbnails.
COPIES = ("__MACOSX", "@eaDir")
# Pictures that are not read: of phones, raw files of cameras, of microscopes and other programs.
PHONES = (".heic", ".heif", ".hif", ".jxl")
RAW = tuple(".arw .cr2 .cr3 .dng .nef .orf .pef .raf .raw .rw2 .srw".split())  # noqa: SIM905
OTHERS = tuple(".czi .dcm .exr .fits .hdr .lif .nd2 .ndpi .nii .psd .svg .svs .tga .vsi".split())  # noqa: SIM905
OTHER_PICTURES = frozenset((*PHONES, *RAW, *OTHERS))
LINKED_FOLDERS = "linked folders"


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """The images below a folder.

    Attributes:
        names: their paths below the folder with forward slashes, sorted by folder.
        left_out: number of pictures that are not read by suffix, and of linked folders.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, int]

    def summary(self) -> str:
        """What was left out, in one line; "" if nothing was."""
        return left_out_summary(self.left_out)


def left_out_summary(left_out: Mapping[str, int]) -> str:
    """Describe what was left out in one line; "" if nothing was."""
    if not left_out:
        return ""
    count = sum(left_out.values())
    kinds = ", ".join(f"{kind} ({number})" for kind, number in sorted(left_out.items()))
    return f"{count} left out: {kinds}"


def find_images_below(folder: str | os.PathLike[str], *, skip: str | None = None) -> FoundImages:
    """Find the images below a folder.

    Args:
        folder: the folder.
        skip: real path of a folder that is not searched.
    """
    names: list[str] = []
    num_links = 0
    for parent, folders, files in os.walk(folder):
        links = [one for one in folders if os.path.islink(os.path.join(parent, one))]  # noqa: PTH114, PTH118 - millions of files
        num_links += sum(not is_hidden(one) for one in links)
        folders[:] = [
            one
            for one in folders
            if one not in links
            and not is_hidden(one)
            and (skip is None or os.path.realpath(os.path.join(parent, one)) != skip)  # noqa: PTH118
        ]
        below = Path(parent).relative_to(folder)
        names += [(below / one).as_posix() for one in files]
    found = sort_out_images(names)
    links_left = {LINKED_FOLDERS: num_links} if num_links else {}
    return FoundImages(names=found.names, left_out={**found.left_out, **links_left})


def sort_out_images(names: Iterable[str]) -> FoundImages:
    """Choose the images among files, by their paths below a folder."""
    images: list[PurePosixPath] = []
    left_out: Counter[str] = Counter()
    for name in names:
        path = PurePosixPath(name)
        if any(is_hidden(part) for part in path.parts):
            continue
        if has_image_suffix(name):
            images.append(path)
        elif path.suffix.lower() in OTHER_PICTURES:
            left_out[path.suffix.lower()] += 1
    images.sort(key=lambda path: path.parts)
    return FoundImages(names=tuple(map(str, images)), left_out=dict(left_out))


def is_hidden(name: str) -> bool:
    """Whether a file's or folder's name is hidden, or of copies."""
    return name.startswith(".") or name in COPIES


def find_image_files(folder: Path) -> list[Path]:
    """All images in a folder and its subfolders, sorted by path; what is left out is logged."""
    found = find_images_below(folder)
    if found.left_out:
        logger.warning("%s: %s", folder, found.summary())
    return [folder / name for name in found.names]
