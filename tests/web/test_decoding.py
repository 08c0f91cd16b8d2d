"""Decoding in browsers: decoders by version, embeddings, rights, and what stays with the server."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

import samkit
from samkit import extras
from samkit.dataengine import set_members
from samkit.errors import BackendError
from samkit.web import decoders, prompting

from .conftest import run_server, settings
from .test_prompting import Page, connect


def test_the_vendored_files_are_those_of_the_package():
    root = Path(samkit.__file__).parent / "web/page/vendor/onnxruntime-web"
    said = (root / "README.md").read_text()
    files = [path for path in root.iterdir() if path.suffix in (".mjs", ".wasm")]
    assert len(files) == 4
    for path in files:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"| `{path.name}` | `{checksum}` |" in said


def decoder_of(server, index=1):
    """Wait for the model; the image, and what the server says of its decoder."""
    image = server.scene.images[index]
    server.studio.embedder.loading().result(60)
    answer = server.ann.get(f"/api/images/{image.id}/decoder")
    assert answer.status_code == 200, answer.text
    return image, answer.json()


def part_of(server, part, version, browser=None, **headers):
    url = f"/api/projects/{server.scene.project.id}/decoder/{part}?model_version_id={version}"
    return (browser or server.ann).get(url, headers=headers)


def embedding_of(server, image, version, **headers):
    url = f"/api/images/{image.id}/embedding?model_version_id={version}"
    return server.ann.get(url, headers=headers)


def test_a_browser_gets_what_it_decodes_with(shared_server, tiny_predictor):
    image, found = decoder_of(shared_server)
    version = shared_server.studio.embedder.served().version.id
    config = tiny_predictor.model.config.prompts
    assert found == {
        "model_version_id": version,
        "hindrance": None,
        "model_side": config.image_size,
        "grid_side": config.grid_size,
        "num_channels": config.dim,
    }
    for part in ("prepare", "decode"):
        answer = part_of(shared_server, part, version)
        assert b"image_embeddings" in answer.content or b"point_coords" in answer.content
        tag = {"If-None-Match": answer.headers["etag"]}
        assert part_of(shared_server, part, version, **tag).status_code == 304
        assert answer.headers["cache-control"] == "private, no-cache"
    assert part_of(shared_server, "encode", version).status_code == 422
    answer = embedding_of(shared_server, image, version)
    values = np.frombuffer(answer.content, "<f2").reshape(
        config.dim, config.grid_size, config.grid_size
    )
    path = Path(shared_server.scene.project.root) / image.path
    expected = tiny_predictor.embed(path).features.grid[0].numpy()
    np.testing.assert_allclose(values, expected, atol=2e-3, rtol=2e-3)
    tag = {"If-None-Match": answer.headers["etag"]}
    assert embedding_of(shared_server, image, version, **tag).status_code == 304


def test_only_who_may_see_an_image_gets_its_embedding(sqlite_server):
    scene = sqlite_server.scene
    image, found = decoder_of(sqlite_server)
    version = found["model_version_id"]
    assert part_of(sqlite_server, "decode", version, sqlite_server.stranger).status_code == 401
    set_members(scene.store, scene.project.id, [scene.ann], user_id=scene.adm)
    assert part_of(sqlite_server, "decode", version, sqlite_server.bob).status_code == 404
    url = f"/api/images/{image.id}/embedding?model_version_id={version}"
    assert sqlite_server.bob.get(url).status_code == 404
    assert sqlite_server.ann.get(url).status_code == 200


def test_another_version_is_told_and_the_old_ones_files_are_not_given(sqlite_server, monkeypatch):
    """Whoever has them goes on with them; whoever comes now gets those of the new one."""
    monkeypatch.setattr(prompting, "VERSION_EVERY_S", 0.01)
    image, found = decoder_of(sqlite_server)
    version = found["model_version_id"]
    with connect(sqlite_server.ann, image.id) as socket:
        page = Page(socket).wait_until_ready()
        assert page.ready["model_version_id"] == version
        embedder = sqlite_server.studio.embedder
        served = embedder.served()
        other = replace(served.version, id=version + 1, checksum="f" * 64)
        embedder._served = replace(served, version=other)
        told = socket.receive_json()
        assert told == {"type": "version", "model_version_id": version + 1}
    for answer in (
        part_of(sqlite_server, "decode", version),
        embedding_of(sqlite_server, image, version),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "another version of the model answers by now",
        )
    assert decoder_of(sqlite_server)[1]["model_version_id"] == version + 1
    assert part_of(sqlite_server, "decode", version + 1).status_code == 200


def test_what_browsers_cannot_do_stays_with_the_server(
    sqlite_scene, tmp_path, tiny_predictor, monkeypatch
):
    config = settings(tmp_path)
    for server in run_server(sqlite_scene, replace(config, refine="fast"), tiny_predictor):
        image, found = decoder_of(server)
        assert found["hindrance"] == "refine"
        assert embedding_of(server, image, found["model_version_id"]).status_code == 409
    with monkeypatch.context() as patch:
        patch.setattr(extras, "find_spec", lambda _: None)
        for server in run_server(sqlite_scene, config, tiny_predictor):
            assert decoder_of(server)[1]["hindrance"] == "model"


def test_a_decoder_that_cannot_be_made_is_not_given(
    sqlite_scene, tmp_path, tiny_predictor, monkeypatch, caplog
):
    from samkit import export

    def fail(*_):
        raise BackendError("the masks differ")

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_for_browser", fail)
        for server in run_server(sqlite_scene, settings(tmp_path), tiny_predictor):
            _, found = decoder_of(server)
            assert found["hindrance"] == "failed"
            assert part_of(server, "decode", found["model_version_id"]).status_code == 404
    assert "the masks differ" in caplog.text


def test_decoders_are_made_once_and_the_oldest_removed(
    sqlite_scene, tmp_path, tiny_predictor, monkeypatch
):
    from samkit import export

    made = []

    def write(predictor, folder):
        made.append(predictor.model_name)
        for part in export.BROWSER_PARTS:
            (folder / f"{part}.onnx").write_bytes(b"x" * 100)

    monkeypatch.setattr(export, "write_for_browser", write)
    monkeypatch.setattr(decoders, "MAX_BYTES", 250)
    for _ in range(2):
        for server in run_server(sqlite_scene, settings(tmp_path), tiny_predictor):
            _, found = decoder_of(server)
            assert found["hindrance"] is None
    assert made == ["tiny"]
    for server in run_server(sqlite_scene, settings(tmp_path), tiny_predictor):
        first = decoder_of(server)[1]["model_version_id"]
        embedder = server.studio.embedder
        served = embedder.served()
        other = replace(served.version, id=first + 1, checksum="f" * 64)
        embedder._served = replace(served, version=other)
        assert decoder_of(server)[1]["hindrance"] is None
        embedder._served = served
        # Removed behind the server's back: it says so, and makes it again when asked.
        assert part_of(server, "prepare", first).status_code in (200, 404)
    assert made == ["tiny", "tiny"]
