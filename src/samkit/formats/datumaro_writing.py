"""Datumaro's JSON: masks without loss."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from samkit.files import replacing
from samkit.formats.json_list import JsonList, json_list
from samkit.types import Masks

VERSION = "1.0"
IMAGES = 2  # datumaro's number of this type of media


@contextmanager
def datumaro_writer(
    path: str | os.PathLike[str], categories: Callable[[], Sequence[str]]
) -> Iterator[JsonList]:
    """Open the file of one subset, for items of `datumaro_item`; on any error, write nothing.

    Args:
        path: the JSON file.
        categories: called at the end: all classes, in the order of their numbers.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"items": ')
        with json_list(file) as items:
            yield items
        labels = [{"name": name, "parent": "", "attributes": []} for name in categories()]
        rest = {
            "dm_format_version": VERSION,
            "media_type": IMAGES,
            "infos": {},
            "categories": {"label": {"labels": labels, "label_groups": [], "attributes": []}},
        }
        file.write(f", {json.dumps(rest)[1:]}")


def datumaro_item(
    masks: Masks,
    *,
    item_id: str,
    image_path: str,
    label_ids: Sequence[int],
    attributes: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Build the entry of one image.

    Args:
        masks: M masks.
        item_id: the image's path without suffix.
        image_path: below the subset's folder of images.
        label_ids: the M masks' classes, from 0.
        attributes: more about each mask.

    Source: datumaro.plugins.data_formats.datumaro.
    """
    annotations = [
        {
            "id": index,
            "type": "mask",
            "attributes": more,
            "group": 0,
            "label_id": label_id,
            "rle": rle,
            "z_order": 0,
        }
        for index, (rle, label_id, more) in enumerate(
            zip(masks.rles, label_ids, attributes, strict=True)
        )
    ]
    image = {"path": image_path, "size": list(masks.size_hw)}
    return {"id": item_id, "annotations": annotations, "image": image}
