"""Folders of images without masks."""

from PIL import Image

from samkit.datasets import ImageFolder


def test_images_without_masks(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/b.webp", "d.gif", "e.pgm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 5), 100).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    data = ImageFolder(tmp_path)
    keys = [data.key(index) for index in range(len(data))]
    assert keys == ["a/b.webp", "a/c.PNG", "b.jpg", "d.gif", "e.pgm"]
    for index, key in enumerate(keys):
        assert data[index].image.shape == (5, 8, 3)
        assert data[index].key == key
        assert data[index].rles == ()
