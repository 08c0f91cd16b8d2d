"""Images behind URLs: lists, changes, copies, and what is told when they cannot be read."""

from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tifffile
from fsspec.registry import known_implementations

from samkit.batch import PageChoice, find_images, split_into_pages
from samkit.batch.remote import VERSION_KEYS, list_url, local_copy, url_identity, url_name
from samkit.errors import ConfigError, ImageError
from samkit.formats import read_image

BELOW = ["a.png", "deep/[1].jpg", "deep/b.jpg", "deep/er/c.tif"]
NAMES = ["a.png", "deep/b.jpg", "deep/er/c.tif", ".hidden/d.png", "notes.txt", "deep/[1].jpg"]


@pytest.fixture
def bucket(memory_files):
    for name in NAMES:
        memory_files.pipe(f"/bucket/{name}", name.encode())
    return memory_files


def found(*inputs):
    images, skipped = find_images(inputs, Path("out"))
    return [(one.source, one.name) for one in images], [(one.image, one.error) for one in skipped]


@pytest.mark.parametrize(
    ("url", "root", "names"),
    [
        ("memory://bucket", "memory://bucket", BELOW),
        ("memory://bucket/", "memory://bucket", BELOW),
        ("memory://bucket/deep/er", "memory://bucket/deep/er", ["c.tif"]),
        ("memory://bucket/*.png", "memory://bucket", ["a.png"]),
        ("memory://bucket/**/*.[jt]*", "memory://bucket", BELOW[1:]),
        ("memory://*/a.png", "memory://", ["bucket/a.png"]),
    ],
)
def test_folders_and_patterns_are_listed_by_the_rule_of_folders(url, root, names, bucket):
    images, skipped = found(url)
    assert images == [(f"{root}/{name}", name) for name in names]
    assert skipped == []
    for source, name in images:
        with local_copy(source, url_identity(source)) as copy:
            assert copy.read_text() == name.removeprefix("bucket/") or name == "c.tif"


def test_single_files_are_not_listed(bucket):
    urls = ["memory://bucket/a.png", "memory://bucket/notes.txt", "memory://bucket/deep/[1].jpg"]
    images, skipped = found(*urls, "memory://bucket/a.png")
    assert images == [(urls[0], "a.png"), (urls[1], "notes.txt"), (urls[2], "[1].jpg")]
    assert skipped == []


def test_file_urls_are_paths(tmp_path):
    (tmp_path / "a.png").touch()
    expected = [(str(tmp_path / "a.png"), "a.png")]
    assert found(f"file://{tmp_path}")[0] == expected
    assert found(f"file://{tmp_path}/a.png", f"local://{tmp_path}/*.png")[0] == expected


def test_web_pages_have_queries_and_escapes():
    url = "https://example.org/a%20b.jpg?size=full&key=secret"
    assert list_url(url) is None  # without asking the server
    assert url_name(url) == "a b.jpg"
    assert url_name("https://example.org/") == "image"


def test_what_has_no_images_is_told(bucket):
    assert found("memory://bucket/none/*", "memory://none.jpg")[1] == [
        ("memory://bucket/none/*", "no image behind memory://bucket/none/*")
    ]
    with pytest.raises(ImageError, match=r"^no such file: memory://none.jpg$"):
        url_identity("memory://none.jpg")


def test_protocols_that_nobody_knows_or_has_installed_are_one_line(monkeypatch):
    with pytest.raises(ConfigError, match=r"cannot open nowhere://a.jpg: Protocol not known"):
        find_images(["nowhere://a.jpg"], Path("out"))
    absent = {"class": "absent_package.Files", "err": "Install absent_package to access absent"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    with pytest.raises(ConfigError) as caught:
        find_images(["absent://bucket"], Path("out"))
    assert (
        str(caught.value) == "cannot open absent://bucket: Install absent_package to access absent"
    )


def test_a_file_that_was_written_again_is_another_one(bucket):
    first = url_identity("memory://bucket/a.png")
    assert first == url_identity("memory://bucket/a.png")
    assert (first["url"], first["size"]) == ("memory://bucket/a.png", 5)
    assert isinstance(datetime.fromisoformat(first["version"]), datetime)
    bucket.pipe("/bucket/a.png", b"A.png")
    assert url_identity("memory://bucket/a.png") != first


def test_a_checksum_says_more_than_a_time(bucket, monkeypatch):
    facts = {"size": 5, "LastModified": "now", "ETag": "abc"}
    monkeypatch.setattr(type(bucket), "info", lambda self, path: facts)
    assert url_identity("memory://a?b")["version"] == "abc"
    assert VERSION_KEYS.index("ETag") < VERSION_KEYS.index("LastModified")
    facts.clear()
    assert url_identity("memory://a") == {"url": "memory://a", "size": None, "version": None}


def test_a_copy_is_the_file_that_was_claimed(bucket):
    url = "memory://bucket/a.png"
    claimed = url_identity(url)
    with local_copy(url, claimed) as copy:
        assert copy.read_bytes() == b"a.png"
    assert not copy.exists()
    bucket.pipe("/bucket/a.png", b"longer")
    with (
        pytest.raises(ImageError, match="must have 5 bytes; 6 came"),
        local_copy(url, claimed),
    ):
        pass


def test_errors_name_the_url_and_not_the_copy(bucket):
    url = "memory://bucket/a.png"
    with pytest.raises(ImageError) as caught, local_copy(url, url_identity(url)) as copy:
        read_image(copy)
    assert str(caught.value).startswith(f"{url} ")
    assert "/samkit-image-" not in str(caught.value)


def test_whatever_a_file_system_raises_is_about_one_image(bucket, monkeypatch):
    def fail(self, path):
        raise RuntimeError("the server\nis away")

    monkeypatch.setattr(type(bucket), "info", fail)
    with pytest.raises(ImageError, match=r"memory://a.png cannot be read: the server is away"):
        url_identity("memory://a.png")


def test_pages_of_a_url(bucket, tmp_path):
    stack = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    url = "memory://bucket/stack.tif"
    bucket.pipe("/bucket/stack.tif", (tmp_path / "stack.tif").read_bytes())
    images, _ = find_images([url], Path("out"))
    images, without = split_into_pages(images, PageChoice(first=2))
    assert [(one.source, one.name, one.file) for one in images] == [
        (f"{url}#page=2", "stack.tif#page=2", url),
        (f"{url}#page=3", "stack.tif#page=3", url),
    ]
    assert without == []
    with local_copy(images[1].source, url_identity(images[1].file)) as copy:
        np.testing.assert_array_equal(read_image(copy)[..., 0], stack[2])


@pytest.fixture
def web(tmp_path):
    """A web server on this machine, which lists its folders."""
    pytest.importorskip("aiohttp")
    for name in NAMES:
        (tmp_path / "web" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "web" / name).write_text(name)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "web"))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_folders_of_a_web_server(web):
    images, skipped = found(f"{web}/", f"{web}/none/", f"{web}/*.png")
    names = ["a.png", "deep/%5B1%5D.jpg", "deep/b.jpg", "deep/er/c.tif"]
    assert images == [(f"{web}/{name}", name) for name in names]
    assert skipped == [(f"{web}/none/", f"no image behind {web}/none/")]
    identity = url_identity(f"{web}/a.png")
    assert (identity["url"], identity["size"]) == (f"{web}/a.png", 5)
    assert identity["version"]
    with local_copy(f"{web}/deep/%5B1%5D.jpg?key=1", identity | {"size": 12}) as copy:
        assert (copy.name, copy.read_text()) == ("[1].jpg", "deep/[1].jpg")
    with pytest.raises(ImageError, match=r"no such file: .*/none\.jpg"):
        url_identity(f"{web}/none.jpg")
