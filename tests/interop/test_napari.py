"""The napari plugin without its window: layers of the real package, masks of the predictor."""

from importlib import resources
from importlib.metadata import entry_points

import numpy as np
import pytest

from other_programs import load
from samkit import AutoMaskConfig, AutoMasker, Predictor
from samkit.integrations.napari import (
    NEGATIVE,
    POSITIVE,
    PROMPT,
    LayerSession,
    shown_plane,
)
from samkit.integrations.napari.layers import set_meaning_of_next_point
from samkit.proposals import PRESETS, TileConfig

pytestmark = pytest.mark.filterwarnings("ignore")
load("napari")
ViewerModel = load("napari.components").ViewerModel
HEIGHT, WIDTH = 48, 64
STACK = np.random.default_rng(5).integers(0, 256, (3, HEIGHT, WIDTH), np.uint8)
ONE, OTHER = (20.0, 30.0), (40.0, 8.0)  # row and column, as napari has them
BOX = (10.0, 4.0, 30.0, 50.0)


class Counting:
    """A predictor that counts what it encodes."""

    def __init__(self, predictor):
        self.predictor, self.encoded = predictor, []

    def embed(self, image, **options):
        self.encoded.append(image)
        return self.predictor.embed(image, **options)

    def __getattr__(self, name):
        return getattr(self.predictor, name)


@pytest.fixture
def predictor(tiny_sam):
    return Counting(Predictor(tiny_sam, model_name="tiny"))


@pytest.fixture
def begin(predictor):
    """Begin with a layer; lines that are reported are in `lines`."""

    def start(data, **options):
        viewer = ViewerModel()
        image = viewer.add_image(data, **options)
        lines = []
        session = LayerSession(viewer, image, lambda: predictor, report=lines.append)
        session.lines = lines
        return session

    return start


def expected(predictor, pixels, **prompt):
    embedding = predictor.predictor.embed(pixels)
    single = "boxes" not in prompt and len(prompt["points"]) == 1
    mask = predictor.predict(embedding, multimask=single, **prompt).best().masks[0]
    assert mask.any()
    assert not mask.all()
    return mask


def xy(*places):
    """Points of samkit: pixel centres are halves."""
    return [(column + 0.5, row + 0.5) for row, column in places]


def rectangle(top, left, bottom, right, *before):
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.array([[*before, *corner] for corner in corners])


def test_points_give_the_predictors_mask(begin, predictor):
    session = begin(STACK[0])
    session.points.add(ONE)
    assert (session.labels.data > 0).tolist() == expected(
        predictor, STACK[0], points=xy(ONE)
    ).tolist()
    set_meaning_of_next_point(session.points, NEGATIVE)
    session.points.add(OTHER)
    assert session.points.features[PROMPT].tolist() == [POSITIVE, NEGATIVE]
    refined = expected(predictor, STACK[0], points=xy(ONE, OTHER), labels=[1, 0])
    assert ((session.labels.data == 1) == refined).all()
    assert len(predictor.encoded) == 1
    assert session.lines[-1] == "1 mask"


def test_a_point_whose_meaning_is_changed_counts_anew(begin, predictor):
    session = begin(STACK[0])
    session.points.add(ONE)
    session.points.add(OTHER)
    session.points.features = {PROMPT: [POSITIVE, NEGATIVE]}
    refined = expected(predictor, STACK[0], points=xy(ONE, OTHER), labels=[1, 0])
    assert ((session.labels.data == 1) == refined).all()


def test_undo_restores_what_was_there(begin):
    session = begin(STACK[0])
    session.labels.data[:5] = 9
    session.points.add(ONE)
    first = session.labels.data.copy()
    session.boxes.add_rectangles(rectangle(*BOX))
    assert (session.labels.data != first).any()
    session.undo()
    assert (session.labels.data == first).all()
    session.undo()
    assert (session.labels.data[:5] == 9).all()
    assert not session.labels.data[5:].any()
    session.undo()  # nothing is left


def test_what_is_painted_meanwhile_stays(begin):
    session = begin(STACK[0])
    session.points.add(ONE)
    session.labels.data[44:, 60:] = 7
    session.undo()
    assert (session.labels.data[44:, 60:] == 7).all()
    assert (session.labels.data > 0).sum() == 16


def test_boxes_are_objects_each_with_the_points_inside(begin, predictor):
    session = begin(STACK[0])
    session.labels.preserve_labels = False
    session.boxes.add_rectangles(rectangle(2, 2, 20, 20))
    session.boxes.add_rectangles(rectangle(25, 30, 45, 60))
    session.points.add((30, 40))
    set_meaning_of_next_point(session.points, NEGATIVE)
    session.points.add((47, 2))  # in no box, and nothing positive with it
    one = expected(predictor, STACK[0], boxes=[2.5, 2.5, 20.5, 20.5])
    other = expected(
        predictor, STACK[0], boxes=[30.5, 25.5, 60.5, 45.5], points=xy((30, 40)), labels=[1]
    )
    drawn = np.zeros(STACK[0].shape, int)
    for number, mask in sorted([(1, one), (2, other)], key=lambda pair: -pair[1].sum()):
        drawn[mask] = number
    assert (session.labels.data == drawn).all()


def test_with_one_box_all_points_are_its(begin, predictor):
    session = begin(STACK[0])
    session.boxes.add_rectangles(rectangle(*BOX))
    set_meaning_of_next_point(session.points, NEGATIVE)
    session.points.add(OTHER)
    top, left, bottom, right = BOX
    mask = expected(
        predictor,
        STACK[0],
        boxes=[left + 0.5, top + 0.5, right + 0.5, bottom + 0.5],
        points=xy(OTHER),
        labels=[0],
    )
    assert ((session.labels.data > 0) == mask).all()


def test_the_next_object_takes_no_pixels_and_a_new_label(begin, predictor):
    session = begin(STACK[0])
    session.points.add(ONE)
    first = session.labels.data > 0
    session.next_object()
    assert len(session.points.data) == 0
    assert ((session.labels.data > 0) == first).all()
    session.points.add(OTHER)
    second = expected(predictor, STACK[0], points=xy(OTHER))
    assert ((session.labels.data == 1) == first).all()
    assert ((session.labels.data == 2) == (second & ~first)).all()
    assert len(predictor.encoded) == 1


def test_of_a_stack_each_slice_has_its_prompts_and_is_encoded_once(begin, predictor):
    session = begin(STACK, scale=(5, 0.5, 0.25), translate=(10, 3, 7))
    viewer = session.viewer
    for number in (0, 2, 0):
        viewer.dims.set_current_step(0, number)
        if number not in session.points.data[:, 0]:
            session.points.add((number, *ONE))
    session.boxes.add_rectangles(rectangle(*BOX, 2))  # not in the slice that is shown
    for number in (0, 2):
        mask = expected(predictor, STACK[number], points=xy(ONE))
        assert ((session.labels.data[number] == 1) == mask).all()
    assert not session.labels.data[1].any()
    slices = [image[..., 0].tolist() for image in predictor.encoded]
    # The middle one was shown at the beginning.
    assert slices == [STACK[number].tolist() for number in (1, 0, 2)]


def test_axes_may_be_exchanged(begin, predictor):
    session = begin(STACK)
    session.viewer.dims.order = (1, 2, 0)
    plane = shown_plane(session.image, session.viewer.dims)
    assert (plane.numbers, plane.is_transposed) == ((None, 23, None), True)
    session.points.add((1.0, 23.0, 30.0))
    assert (plane.of(session.labels.data) > 0).any()
    assert not np.delete(session.labels.data, 23, axis=1).any()
    assert predictor.encoded[-1][..., 0].tolist() == STACK[:, 23].T.tolist()


def test_what_is_shown_is_encoded_in_colours_pyramids_and_by_contrast(begin, predictor):
    colours = np.stack([STACK] * 2, -1)[..., [0, 1, 0]]
    begin(colours, rgb=True)
    assert predictor.encoded.pop().tolist() == colours[1].tolist()
    begin([STACK[0], STACK[0, ::2, ::2]], multiscale=True)
    assert predictor.encoded.pop()[..., 1].tolist() == STACK[0].tolist()
    deep = STACK[0].astype(np.uint16) * 4
    session = begin(deep, contrast_limits=(0, 1020))
    assert predictor.encoded.pop()[..., 2].tolist() == STACK[0].tolist()
    session.image.contrast_limits = (0, 510)
    session.points.add(ONE)
    assert (
        predictor.encoded.pop()[..., 0].tolist()
        == np.where(STACK[0] > 127, 255, STACK[0] * 2).tolist()
    )


def test_new_pixels_are_encoded_again(begin, predictor):
    session = begin(STACK[0])
    session.points.add(ONE)
    session.image.data = STACK[1]
    assert ((session.labels.data > 0) == expected(predictor, STACK[1], points=xy(ONE))).all()


def test_everything_gets_labels_of_its_own(begin, predictor, monkeypatch):
    config = AutoMaskConfig(points_per_side=4, iou_thresh=0, stability_thresh=0)
    monkeypatch.setattr("samkit.proposals.PRESETS", {**PRESETS, "test": config})
    session = begin(STACK[0])
    session.labels.data[:3] = 4
    session.segment_everything("test")
    found = AutoMasker(predictor, config).generate(STACK[0])
    assert len(found) > 1
    drawn = session.labels.data.copy()
    assert (drawn[:3] == 4).all()
    union = found.to_arrays().any(0)
    assert ((drawn[3:] > 4) == union[3:]).all()
    assert drawn.max() <= 4 + len(found)
    session.undo()
    assert (session.labels.data == drawn).all()
    session.segment_everything("test", TileConfig(tile_px=32, overlap_px=8))
    assert "masks of everything" in session.lines[-2] + session.lines[-1]


def test_what_is_wrong_is_said_in_one_line(begin):
    session = begin(STACK, name="stack")
    session.viewer.dims.ndisplay = 3
    session.points.add((1, *ONE))
    assert session.lines[-1] == "prompts are for slices: switch the viewer to 2D"
    session.viewer.dims.ndisplay = 2
    session.viewer.add_image(np.zeros((9, HEIGHT, WIDTH)))
    session.viewer.dims.set_current_step(0, 7)
    assert session.lines[-1] == ("layer 'stack' has 3 slices along axis 0; number 7 is shown")
    session.viewer.dims.set_current_step(0, 1)
    session.points.add((1, 400, 400))
    assert "400" in session.lines[-1]
    session.viewer.layers.remove(session.labels)
    assert not session.is_open
    session.points.add((1, *OTHER))
    assert session.lines[-1] == "layer 'masks' is gone: begin again"


def test_prompts_while_an_answer_is_made_are_answered_after_it(predictor):
    waiting = []
    viewer = ViewerModel()
    image = viewer.add_image(STACK[0])
    session = LayerSession(
        viewer, image, lambda: predictor, run=lambda *job: waiting.append(job), report=print
    )
    session.points.add(ONE)
    session.points.add(OTHER)
    session.next_object()  # is refused: the mask would be lost
    while waiting:
        work, done = waiting.pop()
        done(work())
    mask = expected(predictor, STACK[0], points=xy(ONE, OTHER))
    assert ((session.labels.data > 0) == mask).all()
    assert len(session.points.data) == 2


def test_napari_finds_the_plugin():
    npe2 = load("npe2")
    [entry] = [one for one in entry_points(group="napari.manifest") if one.name == "samkit"]
    module, _, file = entry.value.partition(":")
    manifest = npe2.PluginManifest.from_file(resources.files(module) / file)
    [widget] = manifest.contributions.widgets
    [command] = manifest.contributions.commands
    assert widget.command == command.id
    module, _, name = command.python_name.partition(":")
    assert (module, name) == ("samkit.integrations.napari.widget", "SegmentWidget")
