"""Reading a project's images, and receiving new ones."""

import hashlib
import io
import os
from pathlib import Path, PurePosixPath

from PIL import Image

from samkit.dataengine.database import Store
from samkit.dataengine.values import StoredImage
from samkit.dataengine.work.ingest import add_image
from samkit.dataengine.work.projects import get_project
from samkit.dataengine.work.sources import ImageSource, is_image
from samkit.errors import ConflictError, ImageError, SamkitError, StoreError
from samkit.formats.image import RgbImage, read_image, read_image_size

MOST_NAME = 200  # characters
# What other systems or shells take for something else.
FORBIDDEN = '<>:"|?*\\/'


def image_content(store: Store, image: StoredImage) -> bytes:
    """The bytes of an image's file.

    Raises:
        ConflictError: it is another file by now; masks belong to the pixels that it had.
        StoreError: it cannot be read.
    """
    with ImageSource(get_project(store, image.project_id).root).open(image.path) as file:
        content = file.read(image.num_bytes + 1)
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise ConflictError(f"{image.path} has changed since it was added")
    return content


def read_stored_image(store: Store, image: StoredImage, *, max_pixels: int) -> RgbImage:
    """An image's pixels (H, W, 3), upright.

    Raises:
        ImageError: damaged, or larger than `max_pixels`, which is seen before it is decoded.
        ConflictError: its file is another one by now.
        StoreError: it cannot be read.
    """
    file = io.BytesIO(image_content(store, image))
    read_image_size(file, image.path, max_pixels=max_pixels)
    file.seek(0)
    try:
        with Image.open(file) as opened:
            return read_image(opened, max_pixels=max_pixels)
    except ImageError as error:
        raise ImageError(str(error).replace("the image", image.path, 1)) from error


def upload_folder(store: Store, project_id: int) -> Path:
    """The folder that images of a project are received in: its root.

    Raises:
        StoreError: the project's images are behind a URL.
    """
    folder = ImageSource(get_project(store, project_id).root).folder
    if folder is None:
        raise StoreError("the project's images are behind a URL: put new ones there, then scan")
    return folder


def receive_image(
    store: Store, project_id: int, received: Path, name: str, *, max_pixels: int
) -> StoredImage:
    """Take a file that came from outside into a project, under a name of its own.

    Args:
        store: where.
        project_id: of the project.
        received: the file, in `upload_folder`; it may be deleted afterwards.
        name: that it shall have, without folders.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        StoreError: the name is none for an image.
        ImageError: no image, or too large.
        ConflictError: the name or the content is there already.
    """
    check_name(name)
    with received.open("rb") as file:
        read_image_size(file, name, max_pixels=max_pixels)
    folder = upload_folder(store, project_id)
    target = folder / name
    try:
        # Temporary files are for their owner alone; an image is for whom its folder is for.
        received.chmod(folder.stat().st_mode & 0o666)
        os.link(received, target)  # unlike renaming, refuses to replace another file
    except FileExistsError as error:
        raise ConflictError(f"there is a file {name!r} already: give it another name") from error
    except OSError as error:
        raise StoreError(f"cannot keep {name!r:.100}: {error.strerror}") from error
    try:
        return add_image(store, project_id, name)
    except SamkitError:
        target.unlink()
        raise


def check_name(name: str) -> None:
    """Check the name of a file that comes from outside.

    Raises:
        StoreError: a path, hidden, not printable, or without the suffix of an image.
    """
    plain = name == PurePosixPath(name).name and not set(name) & set(FORBIDDEN)
    if not plain or not name.isprintable() or name.startswith(".") or len(name) > MOST_NAME:
        raise StoreError(f"{name!r:.100} is no name of a file: give one without folders")
    if not is_image(name):
        raise StoreError(f"{name!r:.100} has not the suffix of an image, such as .jpg or .png")
