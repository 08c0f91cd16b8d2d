"""Atomic writes, locks and checksums."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from samkit.errors import DataError, OutputError
from samkit.files import (
    cache_folder,
    check_writable,
    complete_lines,
    file_sha256,
    make_folder,
    read_json,
    replacing,
    write_bytes,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_success_replaces_the_old_file(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_path_may_be_a_string_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bytes("a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def write_half(target, error):
    with replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, b"old"])
def test_exception_leaves_the_folder_as_it_was(error, before, tmp_path):
    target = tmp_path / "a.bin"
    if before is not None:
        target.write_bytes(before)
    with pytest.raises(error):
        write_half(target, error)
    assert names(tmp_path) == ([] if before is None else ["a.bin"])
    assert before is None or target.read_bytes() == before


def test_error_of_the_system_becomes_an_output_error(tmp_path, refusal):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with refusal(OutputError, str(target), "No space left"), replacing(target):
        raise OSError(28, "No space left on device")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_temporary_that_the_body_removed_is_an_output_error(tmp_path, refusal):
    with refusal(OutputError, "No such file"), replacing(tmp_path / "a.bin") as temporary:
        temporary.unlink()
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_file_mode_is_that_of_the_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "a.bin", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == mode


def test_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    target = tmp_path / ("a" * 255)
    write_bytes(target, b"data")
    assert target.read_bytes() == b"data"


def test_missing_folder_is_refused(tmp_path, refusal):
    with refusal(OutputError, "cannot write", "No such file or directory"):
        write_bytes(tmp_path / "missing" / "a.bin", b"data")
    assert names(tmp_path) == []


def test_file_as_folder_is_refused(tmp_path, refusal):
    (tmp_path / "file").write_bytes(b"")
    with refusal(OutputError, "cannot write", "Not a directory"):
        write_bytes(tmp_path / "file" / "a.bin", b"data")


def test_folder_as_target_is_refused(tmp_path, refusal):
    (tmp_path / "folder").mkdir()
    with refusal(OutputError, "cannot write", "Is a directory"):
        write_bytes(tmp_path / "folder", b"data")
    assert names(tmp_path) == ["folder"]


@pytest.fixture
def locked(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere")
    yield folder
    folder.chmod(0o700)


def test_folder_without_permission_is_refused(locked, refusal):
    with refusal(OutputError, "cannot write", "Permission denied"):
        write_bytes(locked / "a.bin", b"data")
    with refusal(OutputError, "no permission", str(locked)):
        check_writable(locked / "new")


def test_checking_a_folder_makes_nothing(tmp_path, refusal):
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    with refusal(OutputError, "is not a folder", str(tmp_path / "file")):
        check_writable(tmp_path / "file" / "b")


@pytest.mark.parametrize("size", [0, 1, 2**22, 2**22 + 1])
def test_checksum_is_that_of_the_whole_file(size, tmp_path):
    data = bytes(size)
    (tmp_path / "a.bin").write_bytes(data)
    assert file_sha256(tmp_path / "a.bin") == hashlib.sha256(data).hexdigest()


def test_json_comes_back_or_is_refused(tmp_path, refusal):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, null]}')
    assert read_json(path) == {"a": [1, None]}
    for content in (b"{", b"", b"\xff\xfe\xfd", b"[" * 100_000):
        path.write_bytes(content)
        with refusal(DataError, "a.json is not JSON"):
            read_json(path)
    with refusal(DataError, "cannot read", "No such file"):
        read_json(tmp_path / "none.json")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a place where no folder can be made")
def test_places_where_no_folder_can_be_made_are_refused(refusal):
    """Also for the administrator, to whom file modes allow everything."""
    with refusal(OutputError, "cannot write to /proc/x/out", "/proc"):
        check_writable("/proc/x/out")
    with refusal(OutputError, "cannot write to /proc/x/out"):
        make_folder("/proc/x/out")


def test_a_folder_below_a_file_cannot_be_made(tmp_path, refusal):
    (tmp_path / "file").write_bytes(b"")
    with refusal(OutputError, f"cannot write to {tmp_path}/file/a: Not a directory"):
        make_folder(tmp_path / "file" / "a")
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_cache_that_cannot_be_written_is_replaced_with_one_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "file" / "cache"))
    folder = cache_folder()
    assert cache_folder() == folder
    write_bytes(folder / "a.bin", b"data")
    (warning,) = caplog.messages
    assert "is not a folder" in warning
    assert "set SAMKIT_CACHE to a folder that can be written to" in warning
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "new"))
    assert cache_folder() == tmp_path / "new"


def test_a_prepared_cache_is_read_where_nothing_can_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model").write_bytes(b"")

    def refuse(folder):
        raise OutputError("read-only")

    monkeypatch.setattr("samkit.files.check_writable", refuse)
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    assert caplog.messages == []


def test_half_a_line_of_a_killed_run_is_removed(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"first\nsecond\nthi")
    with path.open("a+b") as file:
        assert complete_lines(file) == [b"first", b"second"]
        file.write(b"third\n")
    assert path.read_bytes() == b"first\nsecond\nthird\n"
