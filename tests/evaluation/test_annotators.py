"""Assignment of masks to annotators."""

import json

import pytest

from evaluation.stub import make_sample, rectangle
from samkit.errors import DataError
from samkit.evaluation import read_annotators
from samkit.evaluation.annotators import ONE_ANNOTATOR, read_image_names
from samkit.geometry import encode_rle

ONE, TWO, THREE = (encode_rle(rectangle(0, 0, n, n)) for n in (10, 20, 30))


def coco_file(tmp_path, annotations, images=({"id": 5, "file_name": "a.jpg"},)):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def annotation(rle, **fields):
    return {"image_id": 5, "segmentation": rle, **fields}


def test_masks_by_annotator(tmp_path):
    path = coco_file(
        tmp_path,
        [
            annotation(ONE, annotator=1),
            annotation(TWO, annotator=0),
            annotation(THREE, annotator=1),
            annotation(THREE, image_id=9, annotator=1),
            annotation(TWO, annotator=1, image_id=6),
            annotation({"size": [64, 64], "counts": "broken"}, annotator=0),
        ],
    )
    annotators = read_annotators(path)
    assert annotators.of(make_sample(key="a.jpg")) == ((TWO,), (ONE, THREE))
    other = make_sample(rectangle(0, 0, 10, 10), key="b.jpg")
    assert annotators.of(other) == ((ONE,),)


def test_results_of_other_annotators_can_be_told_apart(tmp_path):
    def checksum(**changes):
        path = coco_file(tmp_path, [annotation(ONE, annotator=1), annotation(TWO, **changes)])
        return read_annotators(path).checksum

    assert checksum(annotator=0) == checksum(annotator=0)
    assert len({checksum(annotator=0), checksum(annotator=1), checksum()}) == 3


def test_without_the_field_there_is_one_annotator(tmp_path):
    annotators = read_annotators(coco_file(tmp_path, [annotation(ONE)]))
    sample = make_sample(rectangle(0, 0, 20, 20), key="a.jpg")
    assert annotators.of(sample) == ONE_ANNOTATOR.of(sample) == ((TWO,),)


def test_image_names_by_id(tmp_path):
    images = [{"id": 5, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}, 7]
    assert read_image_names(coco_file(tmp_path, [], images)) == {"5": "a.jpg", "x": "b.jpg"}


@pytest.mark.parametrize("content", ["[]", '{"images": []}', '{"images": 1, "annotations": []}'])
def test_other_files_are_refused(content, tmp_path, refusal):
    path = tmp_path / "data.json"
    path.write_text(content)
    with refusal(DataError, "is not a COCO file"):
        read_annotators(path)
