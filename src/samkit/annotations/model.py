"""Annotations as the files of other programs have them: read, but not drawn yet."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from samkit.annotations.numbers import stated_size
from samkit.errors import DataError, SamkitError
from samkit.formats import is_hidden
from samkit.geometry import Rle

T = TypeVar("T")
# Attributes by which CVAT and datumaro describe their shapes, not objects.
SHAPE_ATTRIBUTES = ("rotation", "keyframe", "outside")
# What reading a document of unknown content may raise: values of other types than expected.
BROKEN = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)


class Drawn(NamedTuple):
    """A mask that was drawn.

    Attributes:
        rle: its pixels.
        fault: one line about parts of it that are broken and left out; empty if none is.
        num_left_out: annotations that are such parts; 0 if they are parts of one.
    """

    rle: Rle
    fault: str = ""
    num_left_out: int = 0


class Shape(Protocol):
    """A mask as its file describes it, in the file's own space."""

    def draw(self, space_hw: tuple[int, int], size_hw: tuple[int, int]) -> Drawn:
        """Draw the mask.

        Args:
            space_hw: size of the image that the file's coordinates belong to.
            size_hw: size to draw it at; usually the same.

        Raises:
            DataError: malformed, or of another size than `space_hw`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that was left out, and why.

    Attributes:
        text: one line.
        num_annotations: annotations that were left out; 0 if only a part of one was, or if nobody
            can tell, such as for a file that is not JSON.
    """

    text: str
    num_annotations: int = 1


@dataclass(frozen=True, kw_only=True)
class AnnotatedMask:
    """A mask as its file has it.

    Attributes:
        where: names it in faults, such as "annotation 17".
        num_annotations: annotations of the file that together are this mask.
        score: predicted IoU; None if unknown.
        stability: stability score; None if unknown.
        stage: data-engine stage, if samkit wrote the file.
        is_crowd: the file calls it a crowd region (`iscrowd`).
        attributes: values by name, as the file has them; texts where it has only texts.
    """

    where: str
    shape: Shape
    class_name: str | None = None
    num_annotations: int = 1
    score: float | None = None
    stability: float | None = None
    stage: str = ""
    is_crowd: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """An image's annotations.

    Attributes:
        name: the image's name or path as the file states it; empty if it is not known.
        has_suffix: whether `name` ends in the image's suffix.
        file: the annotation file.
        folder: folder in which names are looked for first, below the folder that was read: that of
            the annotation file where names are relative to it; None where names are paths from the
            top.
        size_hw: the image's size as the file states it; None if it does not.
        split: part of the data set that the image is in, such as "train"; empty if there is one.
        void: pixels that belong to nothing and are not to be judged, in the file's space.
        review: the data engine's verdict, if samkit wrote the file; else empty.
        notes: one line about each thing that was understood in an unusual way.
        tags: of the image.
    """

    name: str
    has_suffix: bool = True
    file: Path
    folder: str | None = None
    size_hw: tuple[int, int] | None = None
    masks: tuple[AnnotatedMask, ...] = ()
    split: str = ""
    void: Rle | None = None
    review: str = ""
    comment: str = ""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def num_annotations(self) -> int:
        """Annotations that the file holds for this image, whether or not they are masks."""
        masks = sum(one.num_annotations for one in self.masks)
        return masks + sum(one.num_annotations for one in self.faults)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What annotations are read as.

    Attributes:
        crowds: whether crowd regions are masks. Programs such as CVAT mark every run-length code
            as one; in COCO's own files they are groups of things too many to tell apart.
        boxes: whether a box without a mask is one, of all its pixels.
        void: the number in label images that stands for pixels which belong to nothing, 0 for none;
            None: what the file itself says.
        binary: whether a label image is one mask (True), or numbers of instances whatever it looks
            like (False); None: numbers, but pictures that look like a mask are refused.
        threshold: values of a mask's picture from this on, of 255, are inside.
    """

    crowds: bool = True
    boxes: bool = False
    void: int | None = None
    binary: bool | None = None
    threshold: int = 128


class AnnotationSet(Protocol):
    """The annotations of a file, or of a folder of files.

    Attributes:
        format_name: name of the format, such as "coco".
        is_listed: whether keys are the images' names; else they are those of annotation files.
        faults: what belongs to no image.
    """

    format_name: str
    is_listed: bool
    faults: tuple[Fault, ...]

    def __len__(self) -> int:
        """Number of images, as far as files list them."""
        ...

    def key(self, index: int) -> str:
        """Name of an image or its annotation file, known without reading the file."""
        ...

    def read(self, index: int) -> AnnotatedImage:
        """Read an image's annotations; what is broken is among its faults."""
        ...


class AnnotationList:
    """Annotations of one file that lists many images.

    They are kept pickled, which takes a fifth of the memory of lists of numbers and stays shared
    with forked workers.
    """

    def __init__(
        self, format_name: str, images: Iterable[AnnotatedImage], faults: Sequence[Fault] = ()
    ) -> None:
        self.format_name = format_name
        self.is_listed = True
        self._keys: list[str] = []
        self._packed: list[bytes] = []
        for image in images:
            self._keys.append(image.name)
            self._packed.append(pickle.dumps(image))
        self.faults = tuple(faults)

    def __len__(self) -> int:
        return len(self._packed)

    def key(self, index: int) -> str:
        return self._keys[index]

    def read(self, index: int) -> AnnotatedImage:
        image: AnnotatedImage = pickle.loads(self._packed[index])  # noqa: S301 - made above
        return image


FileReader = Callable[[Path, Path, ReadOptions], AnnotatedImage]


class AnnotationFiles:
    """Annotation files of one image each, which are read when they are asked for."""

    def __init__(
        self,
        format_name: str,
        files: Sequence[Path],
        *,
        root: Path,
        reader: FileReader,
        options: ReadOptions,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Keep the list of files.

        Args:
            files: in the order of their indices.
            root: the folder that they are in, or below.
            reader: called with a file, the root and the options.
        """
        self.format_name = format_name
        self.is_listed = False
        self.root = root
        self.files = list(files)
        self.faults = tuple(faults)
        self._reader = reader
        self._options = options

    def __len__(self) -> int:
        return len(self.files)

    def key(self, index: int) -> str:
        return self.files[index].relative_to(self.root).as_posix()

    def read(self, index: int) -> AnnotatedImage:
        file = self.files[index]
        try:
            return self._reader(file, self.root, self._options)
        except SamkitError as error:
            text = str(error) if str(file) in str(error) else f"{file}: {error}"
        except BROKEN as error:
            text = f"{file} is not as in {self.format_name}: {describe(error)}"
        return AnnotatedImage(name="", file=file, faults=(Fault(text=text, num_annotations=0),))


def fault_of(error: BaseException, where: str, num_annotations: int = 1) -> Fault:
    """A fault from what reading an annotation has raised: an error of ours, or one of `BROKEN`."""
    text = f": {error}" if isinstance(error, SamkitError) else f" is broken: {describe(error)}"
    return Fault(text=f"{where}{text}", num_annotations=num_annotations)


def describe(error: BaseException) -> str:
    """An error's type and message on one line of limited length."""
    return f"{type(error).__name__} {' '.join(str(error).split())}"[:120]


def faults_of_nothing(image: AnnotatedImage) -> tuple[Fault, ...]:
    """Faults of annotations whose file names no image: all of them are left out."""
    lost = sum(one.num_annotations for one in image.masks)
    nameless = Fault(text=f"{image.file} names no image", num_annotations=lost)
    return (*image.faults, nameless) if image.masks else image.faults


def text_or_empty(value: Any) -> str:
    """A text; empty for anything else."""
    return value if isinstance(value, str) else ""


def named_values(value: Any) -> dict[str, Any]:
    """Values by name, of an object in JSON; empty for anything else."""
    return dict(value) if isinstance(value, dict) else {}


def words_of(value: Any) -> tuple[str, ...]:
    """Texts of a list; empty for anything else."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def with_size(image: AnnotatedImage, height: Any, width: Any) -> AnnotatedImage:
    """Set the size that a file states; if it is none, nobody knows where the masks belong."""
    try:
        return replace(image, size_hw=stated_size(height, width))
    except DataError as error:
        lost = sum(one.num_annotations for one in image.masks)
        fault = Fault(text=str(error), num_annotations=lost)
        return replace(image, masks=(), faults=(*image.faults, fault))


def folder_of(file: Path, root: Path) -> str:
    """Folder of a file below a root, with forward slashes; empty for the root itself."""
    found = file.parent.relative_to(root).as_posix()
    return "" if found == "." else found


def take_options(image: AnnotatedImage, options: ReadOptions) -> AnnotatedImage:
    """Leave out what the options do not want, and count it."""
    crowds = [one for one in image.masks if one.is_crowd]
    if options.crowds or not crowds:
        return image
    left_out = Fault(
        text=f"{len(crowds)} crowd region{'s' * (len(crowds) > 1)} left out, as asked for",
        num_annotations=sum(one.num_annotations for one in crowds),
    )
    masks = tuple(one for one in image.masks if not one.is_crowd)
    return replace(image, masks=masks, faults=(*image.faults, left_out))


def find_files(folder: Path, *suffixes: str) -> list[Path]:
    """All files with any of these suffixes in a folder and its subfolders, sorted by path.

    Args:
        folder: the folder.
        suffixes: in lower case; files may have them in upper case.

    Raises:
        DataError: there are none.
    """
    every = folder.rglob("*") if folder.is_dir() else iter(())
    named = (path for path in every if path.suffix.lower() in suffixes)
    found = sorted(path for path in named if is_visible(path, folder) and path.is_file())
    if not found:
        raise DataError(f"{folder} has no {' or '.join(suffixes)} files")
    return found


def files_and_root(path: Path, *suffixes: str) -> tuple[list[Path], Path]:
    """A file and its folder; or the files with these suffixes in a folder, and the folder.

    Raises:
        DataError: the folder has none.
    """
    return ([path], path.parent) if path.is_file() else (find_files(path, *suffixes), path)


def read_each(
    files: Iterable[Path], read: Callable[[Path], T], faults: list[Fault], *, raises: bool
) -> Iterator[tuple[Path, T]]:
    """Read files one after another; those that cannot be read are added to the faults.

    Args:
        files: the files.
        read: reads one of them.
        faults: a fault for each that cannot be read is appended.
        raises: raise the error instead, as for the only file.

    Raises:
        DataError: a file cannot be read, and `raises`.
    """
    for file in files:
        try:
            found = read(file)
        except DataError as error:  # noqa: PERF203 - few files
            if raises:
                raise
            faults.append(Fault(text=str(error), num_annotations=0))
        else:
            yield file, found


def is_visible(path: Path, folder: Path) -> bool:
    """Whether neither a file nor a folder above it, below `folder`, is hidden or a copy."""
    return not any(is_hidden(part) for part in path.relative_to(folder).parts)
