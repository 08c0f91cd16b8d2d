"""Pictures, and uploads, including malicious ones."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def png(size_hw=(5, 7), value=200, mode="RGB", **save):
    shape = size_hw if mode in ("L", "P") else (*size_hw, len(mode))
    out = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(out, "PNG", **save)
    return out.getvalue()


def bomb_png(width, height):
    """A file of a few bytes that claims to be a picture of any size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        PNG_HEAD + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def open_picture(answer):
    return Image.open(io.BytesIO(answer.content))


@pytest.fixture
def own(shared_server, tmp_path):
    """A project of its own, whose folder may be written to; a function that uploads into it."""
    from samkit.dataengine import create_project

    root = tmp_path / "root"
    root.mkdir()
    project = create_project(shared_server.scene.store, name=str(root), root=root)

    def upload(content, name="new.png", kind="image/png"):
        return shared_server.adm.post(
            f"/api/projects/{project.id}/images",
            params={"name": name},
            content=content,
            headers={"Content-Type": kind},
        )

    upload.root, upload.project_id, upload.server = root, project.id, shared_server
    return upload


# --- Pictures ---


def test_picture_is_the_image(shared_server):
    image = shared_server.scene.images[1]
    answer = shared_server.ann.get(f"/api/images/{image.id}/content")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert np.asarray(open_picture(answer)).tolist() == np.full((12, 16, 3), 20).tolist()
    tag = answer.headers["etag"]
    assert image.sha256 in tag
    again = shared_server.ann.get(f"/api/images/{image.id}/content", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("max_side", "size"), [(128, (128, 64)), (256, (256, 128)), (512, (300, 150))]
)
def test_picture_is_as_small_as_asked_for(max_side, size, own):
    image = own(png((150, 300))).json()
    path = f"/api/images/{image['id']}/content"
    answer = own.server.ann.get(path, params={"max_side": max_side})
    assert open_picture(answer).size == size
    assert own.server.ann.get(path, params={"max_side": 100}).status_code == 422


def test_picture_is_upright_and_without_transparency(own):
    out = io.BytesIO()
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(out, "JPEG", exif=exif, quality=95)
    image = own(out.getvalue(), "turned.jpg", "image/jpeg").json()
    assert image["size_hw"] == [40, 20]
    for params in ({}, {"max_side": 128}):
        picture = open_picture(
            own.server.ann.get(f"/api/images/{image['id']}/content", params=params)
        )
        shown = np.asarray(picture)
        assert shown.shape == (40, 20, 3)
        assert shown[:15].min() > 240
        assert shown[25:].max() < 15
    clear = own(png((5, 7), 0, "RGBA"), "clear.png").json()
    shown = np.asarray(open_picture(own.server.ann.get(f"/api/images/{clear['id']}/content")))
    assert shown.shape == (5, 7, 3)
    assert shown.min() == 255


# --- Uploads ---


def test_upload(own):
    own.root.chmod(0o750)
    made = own(png())
    assert made.status_code == 201
    assert (made.json()["path"], made.json()["size_hw"]) == ("new.png", [5, 7])
    [path] = own.root.iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("new.png", 0o640)  # as its folder
    assert own(png(value=1)).status_code == 409


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [
        (b"x" * (2**20 + 1), {}, 413),
        (bomb_png(60_000, 60_000), {}, 422),
        (bomb_png(2**31 - 1, 2**31 - 1), {}, 422),
        (bomb_png(0, 0), {}, 422),
        (bomb_png(500, 500), {}, 422),  # without the pixels
        (PNG_HEAD, {}, 422),
        (b"", {}, 422),
        (b"<html><script>alert(1)</script>", {}, 422),
        (png(), {"kind": "text/html"}, 415),
        (png(), {"name": "../../evil.png"}, 422),
        (png(), {"name": "/etc/evil.png"}, 422),
        (png(), {"name": "a.png\0.html"}, 422),
        (png(), {"name": "evil.html"}, 422),
        (png(), {"name": "x" * 300 + ".png"}, 422),
    ],
)
def test_harmful_uploads_leave_nothing(content, more, status, own):
    answer = own(content, **more)
    assert answer.status_code == status, answer.text
    assert list(own.root.iterdir()) == []
    assert not (own.root.parent / "evil.png").exists()


def test_upload_without_a_length_is_bounded_too(own):
    def chunks():
        for _ in range(40):
            yield b"x" * 2**16

    assert own(chunks()).status_code == 413
    assert list(own.root.iterdir()) == []


@pytest.mark.parametrize("root", ["/", "/etc", "..", "\0", "http://127.0.0.1/", "s3://bucket", ""])
def test_projects_are_only_where_allowed(root, shared_server):
    answer = shared_server.adm.post("/api/projects", json={"name": "p", "root": root})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "no such folder, or it is not allowed",
    )


def test_links_out_of_allowed_folders_are_refused(sqlite_server, image_folder, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "link").symlink_to(image_folder)
    made = sqlite_server.adm.post(
        "/api/projects", json={"name": "p", "root": str(tmp_path / "inside")}
    )
    assert made.status_code == 201
    assert made.json()["root"] == str(tmp_path / "inside")
    # Only admins see where images are.
    assert sqlite_server.ann.get(f"/api/projects/{made.json()['id']}").json()["root"] is None
    link = {"name": "q", "root": str(tmp_path / "link")}
    assert sqlite_server.adm.post("/api/projects", json=link).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/page/../../app.py",
        "/%00",
        "//etc/passwd",
    ],
)
def test_page_gives_its_own_files_only(path, shared_server):
    assert shared_server.stranger.get(path).status_code == 404


# --- Zips ---


def zipped(files, **attributes):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return out.getvalue()


def lying_zip():
    """A zip whose directory says that its file is small."""
    size = 3 * 2**20
    content = zipped({"a.json": b"0" * size})
    return content.replace(struct.pack("<I", size), struct.pack("<I", 10))


@pytest.mark.parametrize(
    ("content", "status", "part"),
    [
        (b"not a zip", 422, "cannot be unpacked"),
        (zipped({"a.json": b"0" * (3 * 2**20)}), 413, "unpacks to 3,145,728 bytes"),
        (zipped({"a.json": b"0" * (2**20 + 2**19)}), 413, "may be a bomb"),
        (zipped({"../evil.json": b"{}"}), 422, "a path outside of itself"),
        (zipped({"/evil.json": b"{}"}), 422, "a path outside of itself"),
        (zipped({"..\\evil.json": b"{}"}), 422, "a path outside of itself"),
        (zipped({"C:/evil.json": b"{}"}), 422, "a path outside of itself"),
        (zipped({"link": b"/etc/passwd"}, external_attr=0o120777 << 16), 422, "plain files"),
        (zipped({"pipe": b""}, external_attr=0o010666 << 16), 422, "plain files"),
        (zipped({"a": b"", "a/b.json": b""}), 422, "cannot be unpacked"),
        (zipped({"a.png": b""})[:-10], 422, "cannot be unpacked"),
        (lying_zip(), 422, "cannot be unpacked"),
    ],
)
def test_harmful_zips_are_refused(content, status, part, own):
    answer = own.server.adm.post(
        f"/api/projects/{own.project_id}/import",
        params={"format": "sa1b"},
        content=content,
        headers={"Content-Type": "application/zip"},
    )
    assert (answer.status_code, part in answer.json()["detail"]) == (status, True), answer.text
    assert not (own.root.parent / "evil.json").exists()


@pytest.mark.parametrize(
    ("file_format", "content", "kind", "status"),
    [
        ("coco", b"{", "application/json", 422),
        ("coco", b"[" * 100_000, "application/json", 422),
        ("coco", b'{"images": 1, "annotations": {}}', "application/json", 422),
        ("coco", zipped({"a.json": b"{}", "b.json": b"{}"}), "application/zip", 422),
        ("png", zipped({"a.json": b"{}"}), "application/zip", 422),
        ("coco", b"{}", "text/plain", 415),
        ("tiff", b"{}", "application/json", 422),
    ],
)
def test_files_that_are_no_masks_are_refused(file_format, content, kind, status, own):
    answer = own.server.adm.post(
        f"/api/projects/{own.project_id}/import",
        params={"format": file_format},
        content=content,
        headers={"Content-Type": kind},
    )
    assert answer.status_code == status
    assert str(own.root.parent) not in answer.text


def test_bombs_in_a_zip_of_pictures_are_told(own):
    answer = own.server.adm.post(
        f"/api/projects/{own.project_id}/import",
        params={"format": "png"},
        content=zipped({"a.png": bomb_png(60_000, 60_000)}),
        headers={"Content-Type": "application/zip"},
    )
    assert answer.status_code == 200
    (fault,) = answer.json()["faults"]
    assert "cannot be read" in fault


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_bodies_of_json_are_bounded(method, shared_server):
    path = {"POST": "/api/images/1/annotations", "PUT": "/api/annotations/1"}[method]
    huge = b'{"rle": "' + b"0" * (5 * 2**20) + b'"}'
    answer = shared_server.ann.request(method, path, content=huge)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"version": ' + b"9" * 5000 + b"}",
        b'{"version": NaN}',
    ],
)
def test_broken_json_is_refused(content, shared_server):
    answer = shared_server.ann.post(
        "/api/annotations/1/undo", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["detail"]
