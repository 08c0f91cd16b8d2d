"""docs/serving.md: its Python runs against a real server, with a real client."""

import threading
import time

import numpy as np
import pytest
import uvicorn
from PIL import Image

from documents.blocks import read_blocks
from samkit.annotations import read_label_interface
from samkit.serving import create_app
from serving.conftest import draw
from video.clips import write_clip

PAGE, URL = "docs/serving.md", "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(pool, config):
    """A server on a free port."""
    app = create_app(pool, config)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, ws="websockets-sansio", loop="asyncio")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_the_quick_start_runs(url, predictor, tmp_path, monkeypatch):
    image = draw(8, (400, 600))
    Image.fromarray(image).save(tmp_path / "image.png")
    (tmp_path / "image.png").rename(tmp_path / "image.jpg")  # the same pixels here and there
    write_clip(tmp_path / "clip.mp4", [image, image])
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in read_blocks(PAGE, "python"):
        assert URL in block.text
        text = block.text.replace(URL, url).replace('"fast"', '"fast", points_per_side=2')
        exec(compile("\n" * (block.line - 1) + text, PAGE, "exec"), names)
    session = predictor.session(image)
    session.click(300, 200)
    np.testing.assert_array_equal(names["mask"], session.mask)
    session.click(100, 60, label=0)
    np.testing.assert_array_equal(names["refined"].masks[0], session.mask)
    assert names["boxes"].masks.shape == (2, 1, 400, 600)
    assert [answer.index for answer in names["frames"]] == [0, 1]
    assert len(names["masks"]) == len(names["masks"].rles)


def test_the_labelling_interface_can_be_answered():
    (block,) = read_blocks(PAGE, "xml")
    found = read_label_interface(block.text)
    assert (found.key, found.brush, found.labels) == ("image", "mask", ("cup",))
