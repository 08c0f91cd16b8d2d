"""Reading a project's photos, and receiving new ones."""

import hashlib
import io
import os
from pathlib import Path, PurePosixPath

from PIL import Image

from samkit.dataengine.database import Store
from samkit.dataengine.ingest import add_photo
from samkit.dataengine.projects import get_project
from samkit.dataengine.sources import PhotoSource, is_photo
from samkit.dataengine.values import Photo
from samkit.errors import ConflictError, ImageError, SamkitError, StoreError
from samkit.formats.image import RgbImage, read_image, read_image_size

MOST_NAME = 200  # characters
# What other systems or shells take for something else.
FORBIDDEN = '<>:"|?*\\/'


def photo_content(store: Store, photo: Photo) -> bytes:
    """The bytes of a photo's file.

    Raises:
        ConflictError: it is another file by now; masks belong to the pixels that it had.
        StoreError: it cannot be read.
    """
    with PhotoSource(get_project(store, photo.project_id).root).open(photo.path) as file:
        content = file.read(photo.num_bytes + 1)
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise ConflictError(f"{photo.path} has changed since it was added")
    return content


def read_photo(store: Store, photo: Photo, *, max_pixels: int) -> RgbImage:
    """A photo's pixels (H, W, 3), upright.

    Raises:
        ImageError: damaged, or larger than `max_pixels`, which is seen before it is decoded.
        ConflictError: its file is another one by now.
        StoreError: it cannot be read.
    """
    file = io.BytesIO(photo_content(store, photo))
    read_image_size(file, photo.path, max_pixels=max_pixels)
    file.seek(0)
    try:
        with Image.open(file) as opened:
            return read_image(opened, max_pixels=max_pixels)
    except ImageError as error:
        raise ImageError(str(error).replace("the image", photo.path, 1)) from error


def upload_folder(store: Store, project_id: int) -> Path:
    """The folder that photos of a project are received in: its root.

    Raises:
        StoreError: the project's photos are behind a URL.
    """
    folder = PhotoSource(get_project(store, project_id).root).folder
    if folder is None:
        raise StoreError("the project's photos are behind a URL: put new ones there, then scan")
    return folder


def receive_photo(
    store: Store, project_id: int, received: Path, name: str, *, max_pixels: int
) -> Photo:
    """Take a file that came from outside into a project, under a name of its own.

    Args:
        store: where.
        project_id: of the project.
        received: the file, in `upload_folder`; it may be deleted afterwards.
        name: that it shall have, without folders.
        max_pixels: larger photos are refused before they are decoded.

    Raises:
        StoreError: the name is none for a photo.
        ImageError: no photo, or too large.
        ConflictError: the name or the content is there already.
    """
    check_name(name)
    with received.open("rb") as file:
        read_image_size(file, name, max_pixels=max_pixels)
    folder = upload_folder(store, project_id)
    target = folder / name
    try:
        # Temporary files are for their owner alone; a photo is for whom its folder is for.
        received.chmod(folder.stat().st_mode & 0o666)
        os.link(received, target)  # unlike renaming, refuses to replace another file
    except FileExistsError as error:
        raise ConflictError(f"there is a file {name!r} already: give it another name") from error
    except OSError as error:
        raise StoreError(f"cannot keep {name!r:.100}: {error.strerror}") from error
    try:
        return add_photo(store, project_id, name)
    except SamkitError:
        target.unlink()
        raise


def check_name(name: str) -> None:
    """Check the name of a file that comes from outside.

    Raises:
        StoreError: a path, hidden, not printable, or without the suffix of a photo.
    """
    plain = name == PurePosixPath(name).name and not set(name) & set(FORBIDDEN)
    if not plain or not name.isprintable() or name.startswith(".") or len(name) > MOST_NAME:
        raise StoreError(f"{name!r:.100} is no name of a file: give one without folders")
    if not is_photo(name):
        raise StoreError(f"{name!r:.100} has not the suffix of a photo, such as .jpg or .png")
