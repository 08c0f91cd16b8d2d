"""Datumaro's JSON; `tests/interop` reads it with datumaro."""

import json

from samkit.formats import datumaro_item, datumaro_writer


def test_items_have_their_masks_and_the_file_its_classes(tmp_path, masks):
    numbers = [0] * len(masks)
    with datumaro_writer(tmp_path / "a.json", lambda: ["cell"]) as items:
        for name in ("a", "b"):
            items.add(
                datumaro_item(
                    masks,
                    item_id=name,
                    image_path=f"{name}.png",
                    label_ids=numbers,
                    attributes=[{"score": 1}] * len(masks),
                )
            )
    document = json.loads((tmp_path / "a.json").read_text())
    assert [one["id"] for one in document["items"]] == ["a", "b"]
    assert [one["name"] for one in document["categories"]["label"]["labels"]] == ["cell"]
    item = document["items"][1]
    assert item["image"] == {"path": "b.png", "size": list(masks.size_hw)}
    assert [one["rle"] for one in item["annotations"]] == list(masks.rles)
    assert {(one["label_id"], one["attributes"]["score"]) for one in item["annotations"]} == {
        (0, 1)
    }
