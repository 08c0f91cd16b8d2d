"""The folder of an export: filled aside, then swapped in; a manifest lists what is in it.

A folder holds one export, and nothing of an earlier one. Files that are not the export's are left
alone.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from samkit.errors import DataError, OutputError
from samkit.files import file_sha256, hold, make_folder, read_json, reason

# JSON; not called so, since programs and our own imports look for all JSON files in a folder.
MANIFEST_NAME = "samkit-export.manifest"
MANIFEST_FORMAT = "samkit-export-1"
# In the folder itself, so that files are moved within one disk.
STAGING_NAME = ".samkit-export"
NAMED = 3  # files in a message


class ExportFolder:
    """An export that is being written.

    Attributes:
        staging: write all files here.
        facts: what the manifest says besides the files.
    """

    def __init__(self, staging: Path, facts: dict[str, Any]) -> None:
        self.staging = staging
        self.facts = facts


@contextmanager
def export_folder(folder: Path, facts: Mapping[str, Any]) -> Iterator[ExportFolder]:
    """Open a folder for an export; at the end, its files take the place of the earlier export's.

    On any error the folder stays as it was. If the process is killed while files are moved, the
    next export into the folder moves the rest first.

    Args:
        folder: created if missing; must be empty, or hold an earlier export of the same project and
            format, of which no file was changed.
        facts: for the manifest; `project` and `file_format` tell what the folder is for.

    Raises:
        OutputError: the folder holds something else, or cannot be written to.
    """
    is_new = not folder.exists()
    work = folder / STAGING_NAME
    make_folder(work)
    try:
        with (work / "lock").open("wb") as lock:
            hold(lock, folder)
            try:
                _finish(folder)
                earlier = _read_manifest(folder)
                _check_same_export(folder, earlier, facts)
                _check_unchanged(folder, _files_of(earlier))
                opened = ExportFolder(work / "files", dict(facts))
                shutil.rmtree(opened.staging, ignore_errors=True)
                make_folder(opened.staging)
                yield opened
                _commit(folder, opened, _files_of(earlier))
            finally:
                _remove_work(work)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {reason(error)}") from error
    finally:
        if is_new:
            with suppress(OSError):  # not empty: the export is there
                folder.rmdir()


def _commit(folder: Path, opened: ExportFolder, earlier: Iterable[str]) -> None:
    """Make the export what the folder holds."""
    paths = sorted(path for path in opened.staging.rglob("*") if path.is_file())
    names = [path.relative_to(opened.staging).as_posix() for path in paths]
    own = {*earlier, MANIFEST_NAME}
    if taken := sorted({one for name in names for one in _in_the_way(folder, name, own)}):
        raise OutputError(
            f"{_named(taken)} in {folder} would be replaced, but no export wrote"
            f" {'it' if len(taken) == 1 else 'them'}: give another folder"
        )
    files = {
        name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for name, path in zip(names, paths, strict=True)
    }
    document = {"format": MANIFEST_FORMAT, **opened.facts, "files": files}
    # Once this file is there, the export is complete, even if moving its files is interrupted.
    _replace_text(folder / STAGING_NAME / MANIFEST_NAME, json.dumps(document, indent=1))
    _finish(folder)


def _in_the_way(folder: Path, name: str, own: Collection[str]) -> list[str]:
    """Names of what no export wrote, and a new file or one of its folders would replace."""
    place = folder / name
    parents = [path for path in place.parents if folder in path.parents]
    found = [path for path in parents if os.path.lexists(path) and not path.is_dir()]
    if _is_folder(place):  # of the earlier export, or else something is in it
        found += [path for path in place.rglob("*") if not _is_folder(path)]
    elif os.path.lexists(place):
        found.append(place)
    return [one for path in found if (one := path.relative_to(folder).as_posix()) not in own]


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _finish(folder: Path) -> None:
    """Delete the earlier export's files and move the new ones in, or what is left to move."""
    work = folder / STAGING_NAME
    journal = work / MANIFEST_NAME
    if not journal.exists():
        return
    current = set(_files_of(read_json(journal)))
    for name in _files_of(_read_manifest(folder)):
        place = folder / name
        # Otherwise it is gone; there may even be a new file where its folder was, or the reverse.
        if name not in current and (place.is_file() or place.is_symlink()):
            place.unlink()
            _remove_empty(folder, place.parent)
    for path in sorted((work / "files").rglob("*")):
        if path.is_file():
            place = folder / path.relative_to(work / "files")
            place.parent.mkdir(parents=True, exist_ok=True)
            _remove_folders(place)
            path.replace(place)
    journal.replace(folder / MANIFEST_NAME)


def _remove_empty(folder: Path, inner: Path) -> None:
    """Remove a folder and those above it that are empty now, below the export's."""
    while inner != folder:
        try:
            inner.rmdir()
        except OSError:
            return
        inner = inner.parent


def _remove_folders(place: Path) -> None:
    """Remove a folder with nothing but folders in it, where a file is to be."""
    if _is_folder(place):
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir()
        place.rmdir()


def _remove_work(work: Path) -> None:
    if not (work / MANIFEST_NAME).exists():  # else its files are still to be moved
        shutil.rmtree(work, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the export in a folder; None without one.

    Raises:
        OutputError: it is damaged.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    try:
        document = read_json(path)
        if document["format"] == MANIFEST_FORMAT:
            return {**document, "files": dict(document["files"])}
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} is damaged: delete {folder}, or give another") from error
    raise OutputError(f"{path} is of another version of samkit: give another folder")


def _files_of(manifest: dict[str, Any] | None) -> dict[str, Any]:
    return {} if manifest is None else manifest["files"]


def _check_same_export(
    folder: Path, earlier: dict[str, Any] | None, facts: Mapping[str, Any]
) -> None:
    """Check that a folder is empty, or has an export of the same project and format."""
    if earlier is None:
        others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if others:
            raise OutputError(
                f"{folder} is not empty, and holds no export of samkit's: give a new folder"
            )
        return
    had, wanted = ((one.get("project"), one.get("file_format")) for one in (earlier, facts))
    if had != wanted:
        raise OutputError(
            f"{folder} holds an export of the project {had[0]} as {had[1]}: give another folder,"
            " or delete it"
        )


def _check_unchanged(folder: Path, files: Mapping[str, Any]) -> None:
    """Check that nobody has changed an earlier export's files, which are going to be deleted."""
    changed = [name for name, facts in files.items() if _is_changed(folder / name, facts)]
    if changed:
        raise OutputError(
            f"{_named(changed)} in {folder} {'was' if len(changed) == 1 else 'were'} changed since"
            " the earlier export: give another folder, or delete this one"
        )


def _is_changed(path: Path, facts: Mapping[str, Any]) -> bool:
    if not path.exists():
        return False  # deleted: nothing is lost
    return (
        not path.is_file()
        or path.stat().st_size != facts["bytes"]
        or file_sha256(path) != facts["sha256"]
    )


def _named(names: Sequence[str]) -> str:
    """The first few names, and how many there are more."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
