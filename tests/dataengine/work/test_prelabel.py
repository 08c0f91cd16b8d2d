"""Pre-labelling: which masks are added, to which images, and only once."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from sqlalchemy import select, update

from samkit.batch import ProcessPool, prelabel_images, retries
from samkit.dataengine import (
    ImageGenerator,
    Prelabelling,
    Store,
    accept_image,
    add_class,
    add_images,
    annotation_events,
    change_user,
    count_images,
    create_project,
    create_user,
    delete_annotation,
    export_history,
    export_project,
    get_image,
    give_back,
    import_masks,
    list_annotations,
    list_classes,
    list_images,
    move_project,
    replace_annotation,
    return_image,
    save_annotation,
    set_num_annotators,
    submit_image,
    take_image,
    take_next,
    visible_annotations,
)
from samkit.dataengine.schema import ImageJobRow
from samkit.dataengine.work.image_jobs import ImageJobRun
from samkit.errors import (
    ImageError,
    MissingError,
    PromptError,
    RoleError,
    StoreError,
)
from samkit.geometry import decode_rle
from stub_boxes import PooledBoxes, boxes_of

PROCESS = Path(__file__).with_name("prelabel_process.py")


def named_boxes(image):
    """The first mask is a cell, the second one nothing that is known."""
    return replace(
        boxes_of(image),
        stability=np.array([0.96, 0.97], np.float32),
        phrases=("cell", ""),
        phrase_scores=np.array([0.75, 0], np.float32),
    )


class Generator:
    """Makes masks, and counts the images that it has seen by their first pixel."""

    def __init__(self, make=named_boxes):
        self.make = make
        self.seen = Counter()

    def __call__(self, image):
        self.seen[int(image[0, 0, 0])] += 1
        return self.make(image)

    @property
    def calls(self):
        return sum(self.seen.values())


def prelabel(scene, generate, **options):
    who = options.pop("user_id", scene.rev)
    return prelabel_images(scene.store, scene.project.id, generate, user_id=who, **options)


def new_steps(scene, generate):
    generator = ImageGenerator.of(scene.store, scene.project.id, generate)
    return Prelabelling(scene.store, scene.project.id, generator, user_id=scene.rev)


def contents(scene):
    """All masks of each image, as they are now."""
    names = {one.id: one.name for one in list_classes(scene.store, scene.project.id)}
    return {
        image.path: (
            image.num_masks,
            image.stage,
            [
                (one.rle["counts"], names.get(one.class_id), one.score, one.stage, one.version)
                for one in list_annotations(scene.store, image.id, deleted=True)
            ],
        )
        for image in list_images(scene.store, scene.project.id).items
    }


# --- What is added ---


def test_masks_have_stage_class_scores_and_one_event(scene):
    steps = []
    known = add_class(scene.store, scene.project.id, "nucleus")
    report = prelabel(scene, Generator(), on_image=lambda *counts: steps.append(counts))
    assert (report.num_images, report.num_added, report.num_labelled) == (4, 8, 4)
    assert (report.num_left, report.faults) == (0, ())
    assert steps == [(done, 4) for done in range(5)]
    classes = list_classes(scene.store, scene.project.id)
    assert [one.name for one in classes] == ["nucleus", "cell"]
    assert classes[0] == known
    for number, image in enumerate(scene.images):
        kept = get_image(scene.store, image.id)
        assert (kept.num_masks, kept.stage, kept.review) == (2, "fully-automatic", "none")
        assert (kept.open, kept.version) == (True, image.version + 2)
        cell, other = list_annotations(scene.store, image.id)
        assert (cell.class_id, other.class_id) == (classes[1].id, None)
        assert {one.stage for one in (cell, other)} == {"fully-automatic"}
        assert {one.user_id for one in (cell, other)} == {scene.rev}
        assert [one.score for one in (cell, other)] == pytest.approx([0.9, 0.8])
        assert [one.stability for one in (cell, other)] == pytest.approx([0.96, 0.97])
        truth = boxes_of(np.full((12, 16, 3), 20 * number, np.uint8)).to_arrays()
        if image.path.endswith("png"):  # JPEG's values are near
            np.testing.assert_array_equal([decode_rle(one.rle) for one in (cell, other)], truth)
        assert (cell.area_px, other.area_px) == (12, 12)
        assert [(one.num_clicks, one.duration_ms) for one in (cell, other)] == [(0, 0)] * 2
        (words,), (event,) = (annotation_events(scene.store, one.id) for one in (cell, other))
        assert words.kind == "text"
        assert words.data == {"phrase": "cell", "phrase_score": 0.75}
        # On the page, a mask that begins so is the ground that clicks correct.
        assert (event.kind, event.data) == ("import", {"origin": "prelabel"})


def test_masks_without_phrases_and_stability_have_none(sqlite_scene):
    scene = sqlite_scene
    report = prelabel(scene, boxes_of, user_id=scene.adm)
    assert (report.num_added, report.num_labelled) == (8, 0)
    (first, _) = list_annotations(scene.store, scene.images[0].id)
    assert (first.class_id, first.stability) == (None, None)
    assert list_classes(scene.store, scene.project.id) == ()


def test_annotators_see_correct_and_delete_them(scene, rle_of):
    set_num_annotators(scene.store, scene.images[0].id, 2, user_id=scene.rev)
    prelabel(scene, Generator())
    lease = take_next(scene.store, scene.project.id, scene.ann)
    assert lease.image.id == scene.images[0].id
    seen = visible_annotations(scene.store, lease.image.id, user_id=scene.ann)
    assert [one.stage for one in seen] == ["fully-automatic"] * 2
    cell, other = seen
    who = {"user_id": scene.ann, "version": 1}
    fixed = replace_annotation(
        scene.store, cell.id, rle=rle_of(1, 1, 5, 4), class_id=cell.class_id, **who
    )
    assert (fixed.version, fixed.area_px, fixed.class_id) == (2, 12, cell.class_id)
    assert delete_annotation(scene.store, other.id, **who).deleted
    image = submit_image(scene.store, lease.image.id, scene.ann)
    assert image.num_masks == 1
    # The other person begins with the masks as they are now; reviewers see them too.
    take_image(scene.store, image.id, scene.bob)
    for user in (scene.bob, scene.rev):
        assert visible_annotations(scene.store, image.id, user_id=user) == (fixed,)


def test_exports_carry_classes_scores_and_words(sqlite_scene, tmp_path, capsys):
    scene = sqlite_scene
    prelabel(scene, Generator())
    export_project(
        scene.store, scene.project.id, tmp_path / "out", file_format="coco", states=["none"]
    )
    coco = COCO(tmp_path / "out/all.json")
    capsys.readouterr()
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    found = coco.loadAnns(coco.getAnnIds())
    assert Counter(names[one["category_id"]] for one in found) == {"cell": 4, "object": 4}
    assert {one["samkit"]["stage"] for one in found} == {"fully-automatic"}
    assert [one["score"] for one in found] == pytest.approx([0.9, 0.8] * 4)
    export_history(scene.store, scene.project.id, tmp_path / "history.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert Counter(line["class"] for line in lines) == {"cell": 4, None: 4}
    # What is exported is imported as it was.
    with Store.open(tmp_path / "other.db") as other:
        copy = create_project(other, name="copy", root=scene.project.root).id
        add_images(other, copy)
        user = create_user(other, name="imp", role="admin").id
        where = tmp_path / "out/all.json"
        import_masks(other, copy, where, file_format="coco", user_id=user)
        image = list_images(other, copy).items[0]
        assert [one.stage for one in list_annotations(other, image.id)] == ["fully-automatic"] * 2
        again = prelabel_images(other, copy, Generator(), user_id=user)
        assert again.num_images == 0  # all of them have masks


# --- Once, however often it is stopped ---


def test_a_second_run_adds_nothing_and_asks_no_model(scene):
    generate = Generator()
    prelabel(scene, generate)
    before = contents(scene)
    for only_empty in (True, False):
        report = prelabel(scene, generate, only_empty=only_empty)
        assert (report.num_images, report.num_added, report.num_left) == (0, 0, 0)
    assert generate.calls == 4
    assert contents(scene) == before


def test_an_interrupted_run_goes_on(scene):
    whole = Generator(boxes_of)

    def stop_at_the_third(image):
        if whole.calls == 3:
            raise KeyboardInterrupt
        return boxes_of(image)

    whole.make = stop_at_the_third
    with pytest.raises(KeyboardInterrupt):
        prelabel(scene, whole)
    assert [count for count, _, _ in contents(scene).values()] == [2, 2, 0, 0]
    rest = Generator(boxes_of)
    report = prelabel(scene, rest)
    assert (report.num_images, report.num_added, rest.calls) == (2, 4, 2)
    assert [count for count, _, _ in contents(scene).values()] == [2, 2, 2, 2]


# Two states of each of four images: before the first of all, in the middle of images, between.
@pytest.mark.parametrize("moment", [1, 4, 5, 8])
def test_a_killed_run_leaves_whole_images_and_goes_on(moment, scene):
    args = [scene.store.address, str(scene.project.id), str(scene.rev), str(moment)]
    command = [sys.executable, "-W", "error", str(PROCESS), *args]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    finished = (moment - 1) // 2
    counts = [count for count, _, _ in contents(scene).values()]
    assert counts == [2] * finished + [0] * (4 - finished)
    generate = Generator(boxes_of)
    report = prelabel(scene, generate)
    assert (report.num_added, generate.calls) == (2 * (4 - finished), 4 - finished)
    after = contents(scene)
    assert [len(masks) for _, _, masks in after.values()] == [2] * 4
    assert [count for count, _, _ in after.values()] == [2] * 4


def test_two_runs_at_once_share_the_images(scene):
    """The second one comes while the first is at its first image, and does all others."""
    held, others_done = threading.Event(), threading.Event()

    def hold_the_first(image):
        if not others_done.is_set():
            held.set()
            others_done.wait()
        return named_boxes(image)

    def note_the_third(image):
        if second.calls == 3:
            others_done.set()
        return named_boxes(image)

    first, second = Generator(hold_the_first), Generator(note_the_third)
    with ThreadPoolExecutor(1) as thread:
        begun = thread.submit(prelabel, scene, first)
        held.wait()
        report = prelabel(scene, second)
        begun = begun.result()
    assert (first.calls, second.calls) == (1, 3)
    assert (begun.num_images, begun.num_added, begun.num_left) == (1, 2, 3)
    assert (report.num_images, report.num_added, report.num_left) == (3, 6, 1)
    assert [len(masks) for _, _, masks in contents(scene).values()] == [2] * 4
    assert ledger(scene) == []


def ledger(scene):
    """Images that a run holds or has failed with: id, run, runs lost, error."""
    with scene.store.read() as session:
        rows = session.scalars(select(ImageJobRow).order_by(ImageJobRow.image_id)).all()
    return [(row.image_id, row.run, row.num_lost, row.error) for row in rows]


def leave_held(scene, run, *, lost=0, index=0):
    """Leave an image as a run that was killed does; its lease is for two minutes."""
    steps = new_steps(scene, boxes_of)
    steps.claim(scene.images[index].id)
    with scene.store.write() as session:
        session.execute(update(ImageJobRow).values(run=run, num_lost=lost))


def dead_process():
    """Name of a run of this machine whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return f"{socket.gethostname()}:{process.pid}:0"


def test_what_another_machine_holds_is_done_when_its_lease_has_expired(scene, clock, monkeypatch):
    leave_held(scene, "elsewhere:1:0")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        clock.advance(seconds=seconds)

    monkeypatch.setattr(retries.time, "sleep", pause)
    generate = Generator()
    report = prelabel(scene, generate)
    assert (report.num_images, report.num_added, report.num_left) == (4, 8, 0)
    assert generate.calls == 4
    assert sum(pauses) == 120
    assert ledger(scene) == []


def test_what_a_dead_process_of_this_machine_held_is_done_at_once(scene, monkeypatch):
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: pytest.fail("it waits"))
    leave_held(scene, dead_process())
    assert prelabel(scene, Generator()).num_images == 4


def test_leases_are_renewed_and_given_back(scene, clock):
    run = ImageJobRun(scene.store, "prelabel")
    image_id = scene.images[0].id
    with run.renewing():
        with scene.store.write() as session:
            assert run.claim(session, image_id) == "ours"
        clock.advance(seconds=100)
        run.renew()
        clock.advance(seconds=100)
        other = ImageJobRun(scene.store, "prelabel")
        with scene.store.write() as session:
            assert other.claim(session, image_id) == "theirs"
    assert ledger(scene) == []
    with scene.store.write() as session:
        assert other.claim(session, image_id) == "ours"
        assert (other.holds(session, image_id), run.holds(session, image_id)) == (True, False)


def test_who_has_lost_an_image_stores_nothing(scene, clock):
    """A run that stood still for minutes, and wakes up after another has done the image."""
    late = new_steps(scene, boxes_of)
    image = late.claim(scene.images[0].id)
    clock.advance(seconds=121)
    other = new_steps(scene, boxes_of)
    assert other.claim(image.id) == image
    masks = late.generate(image)
    assert late.commit(image, masks) is None
    assert contents(scene)["a.png"] == (0, "assisted-manual", [])
    assert other.commit(image, masks) == 2
    assert late.commit(image, masks) is None
    assert (late.report().num_left, other.report().num_added) == (2, 2)
    assert contents(scene)["a.png"][0] == 2


def test_failures_are_tried_three_times_and_recorded(scene):
    def fail_at_first(image):
        if image[0, 0, 0] == 0 and generate.seen[0] < 3:
            raise ImageError("not enough memory")
        return named_boxes(image)

    generate = Generator(fail_at_first)
    report = prelabel(scene, generate)
    assert (report.num_images, report.faults) == (4, ())
    assert generate.seen[0] == 3


def test_what_fails_three_times_is_listed_and_tried_by_the_next_run(scene, clock):
    def fail(image):
        if image[0, 0, 0] == 0:
            raise ImageError("not enough memory")
        return named_boxes(image)

    generate = Generator(fail)
    meanwhile = new_steps(scene, boxes_of)
    clock.advance(seconds=1)
    report = prelabel(scene, generate)
    assert (report.num_images, report.faults) == (3, ("a.png: not enough memory",))
    assert generate.seen[0] == 3
    ((image_id, _, lost, error),) = ledger(scene)
    assert (image_id, lost, error) == (scene.images[0].id, 0, "not enough memory")
    # A run that is older than the failure leaves it; a later one tries again.
    assert meanwhile.claim(image_id) is None
    clock.advance(seconds=1)
    assert prelabel(scene, Generator()).num_images == 1
    assert ledger(scene) == []


def test_an_image_that_ends_three_runs_is_left_until_it_is_asked_for(scene):
    leave_held(scene, dead_process(), lost=2)
    generate = Generator()
    report = prelabel(scene, generate)
    assert (report.num_images, generate.calls, len(report.faults)) == (3, 3, 1)
    assert "3 runs have ended while they worked on it" in report.faults[0]
    assert "give --again" in report.faults[0]
    assert prelabel(scene, generate).num_images == 0
    assert prelabel(scene, generate, again=True).num_images == 1
    assert ledger(scene) == []


@pytest.mark.slow
def test_a_pool_gives_the_same_masks_although_processes_are_killed(scene, tmp_path):
    """Its processes read the images themselves; the store is used in this one alone."""
    generate = PooledBoxes(tmp_path)
    with ProcessPool(2, threads_per_worker=1) as pool:
        report = prelabel(scene, generate, executor=pool)
    assert (report.num_images, report.num_added, report.faults) == (4, 8, ())
    assert (tmp_path / "killed").exists()
    for number, image in enumerate(scene.images):
        truth = boxes_of(np.full((12, 16, 3), 20 * number, np.uint8)).to_arrays()
        if image.path.endswith("png"):
            found = [decode_rle(one.rle) for one in list_annotations(scene.store, image.id)]
            np.testing.assert_array_equal(found, truth)
    assert ledger(scene) == []


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_lose_and_double_nothing(scene, image_folder):
    """Two at a time, three of them killed one after the other, the last ones go on."""
    many = image_folder.parent / "many"
    many.mkdir(exist_ok=True)
    for number in range(40):
        pixels = np.full((12, 16, 3), number, np.uint8)
        Image.fromarray(pixels).save(many / f"{number}.png")
    project = create_project(scene.store, name="many", root=many)
    add_images(scene.store, project.id)
    args = [scene.store.address, str(project.id), str(scene.rev)]
    moments = iter([7, 25, 30])
    running = []

    def start():
        moment = str(next(moments, 0))  # 0: is not killed
        command = [sys.executable, "-W", "error", str(PROCESS), *args, moment]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE))

    start()
    start()
    codes = []
    while running:
        process = next((one for one in running if one.poll() is not None), None)
        if process is None:  # whichever ends first, since one that nobody waits for is not gone
            time.sleep(0.05)
            continue
        running.remove(process)
        told = process.communicate()[1].decode()
        codes.append(process.returncode)
        assert process.returncode in (0, -9), told
        if process.returncode == -9:
            start()
    assert codes.count(-9) >= 1
    for image in list_images(scene.store, project.id).items:
        assert (image.num_masks, image.stage) == (2, "fully-automatic")
        assert len(list_annotations(scene.store, image.id, deleted=True)) == 2
    assert ledger(scene) == []


def test_where_nothing_was_found_it_is_not_looked_again(scene):
    nothing = Generator(lambda image: named_boxes(image).select(np.zeros(0, int)))
    report = prelabel(scene, nothing)
    assert (report.num_images, report.num_added, nothing.calls) == (4, 0, 4)
    image = get_image(scene.store, scene.images[0].id)
    assert (image.num_masks, image.version) == (0, 1)
    assert prelabel(scene, nothing).num_images == 0
    assert nothing.calls == 4
    report = prelabel(scene, Generator(), again=True)
    assert (report.num_images, report.num_added) == (4, 8)


# --- Which images ---


def test_images_that_somebody_has_begun_are_left_alone(scene, image_folder, rle_of):
    """Held, submitted, accepted, or with masks that were all deleted again."""
    store, (held, submitted, accepted, begun) = scene.store, (one.id for one in scene.images)
    scene.hold(scene.ann, 0)
    for index in (1, 2):
        scene.hold(scene.bob, index)
        image = submit_image(store, scene.images[index].id, scene.bob)
    accept_image(store, accepted, scene.rev, version=image.version)
    scene.hold(scene.bob, 3)
    one = save_annotation(store, image_id=begun, user_id=scene.bob, rle=rle_of(1, 1, 3, 3))
    delete_annotation(store, one.id, user_id=scene.bob, version=1)
    before = contents(scene)
    generate = Generator()
    report = prelabel(scene, generate)
    assert (report.num_images, report.num_left, report.faults) == (0, 1, ())
    assert generate.calls == 0
    assert contents(scene) == before
    states = {image.id: image.review for image in list_images(store, scene.project.id).items}
    assert states == {held: "none", submitted: "submitted", accepted: "accepted", begun: "none"}


def test_a_image_that_was_returned_or_waits_for_a_second_person_is_begun(sqlite_scene):
    scene = sqlite_scene
    set_num_annotators(scene.store, scene.images[1].id, 2, user_id=scene.rev)
    for index in (0, 1):
        scene.hold(scene.ann, index)
        image = submit_image(scene.store, scene.images[index].id, scene.ann)
        if index == 0:
            version = image.version
            return_image(scene.store, image.id, scene.rev, version=version, comment="look again")
    assert get_image(scene.store, scene.images[1].id).review == "none"
    report = prelabel(scene, Generator())
    assert report.num_images == 2
    assert [count for count, _, _ in contents(scene).values()] == [0, 0, 2, 2]


def test_one_s_own_lease_counts_until_it_ends(scene, clock):
    scene.hold(scene.rev, 0)
    report = prelabel(scene, Generator())
    assert (report.num_images, report.num_left) == (3, 1)
    clock.advance(minutes=16)
    report = prelabel(scene, Generator())
    assert (report.num_images, report.num_added, report.num_left) == (1, 2, 0)


def test_a_image_that_is_taken_meanwhile_is_left(scene):
    def take(image):
        if image[0, 0, 0] == 0:
            scene.hold(scene.ann, 0)
        return named_boxes(image)

    report = prelabel(scene, take)
    assert (report.num_images, report.num_added, report.num_left) == (3, 6, 1)
    assert contents(scene)["a.png"] == (0, "assisted-manual", [])


def test_other_projects_are_not_touched(sqlite_scene, image_folder):
    scene = sqlite_scene
    other = create_project(scene.store, name="other", root=image_folder).id
    add_images(scene.store, other)
    prelabel(scene, Generator())
    assert count_images(scene.store, other)["none"].num_masks == 0
    assert list_classes(scene.store, other) == ()


def test_images_with_masks_get_those_of_other_things_once(scene):
    """`only_empty=False`: beside masks by hand, none of the same thing twice."""
    image_id = scene.hold(scene.ann)
    same, _ = boxes_of(np.zeros((12, 16, 3), np.uint8)).rles
    save_annotation(scene.store, image_id=image_id, user_id=scene.ann, rle=same)
    give_back(scene.store, image_id, scene.ann)
    assert prelabel(scene, Generator()).num_images == 3
    generate = Generator()
    report = prelabel(scene, generate, only_empty=False)
    assert (report.num_images, report.num_added, report.num_labelled) == (1, 1, 0)
    masks = list_annotations(scene.store, image_id)
    assert [one.stage for one in masks] == ["assisted-manual", "fully-automatic"]
    assert get_image(scene.store, image_id).num_masks == 2
    assert prelabel(scene, generate, only_empty=False).num_images == 0
    assert generate.calls == 1


# --- What goes wrong ---


@pytest.fixture
def own_scene(sqlite_scene, image_folder, tmp_path):
    """`sqlite_scene` with images that may be changed, and their folder."""
    folder = tmp_path / "own"
    shutil.copytree(image_folder, folder)
    move_project(sqlite_scene.store, sqlite_scene.project.id, folder)
    return sqlite_scene, folder


def test_images_that_cannot_be_read_are_told_and_done_later(own_scene):
    scene, folder = own_scene
    kept = {name: (folder / name).read_bytes() for name in ("a.png", "b.png")}
    (folder / "a.png").unlink()
    Image.new("RGB", (16, 12), "red").save(folder / "b.png")
    report = prelabel(scene, Generator())
    assert (report.num_images, report.num_added) == (2, 4)
    assert report.faults == (
        f"no such file: {folder}/a.png",
        "b.png has changed since it was added",
    )
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    report = prelabel(scene, Generator())
    assert (report.num_images, report.num_added, report.faults) == (2, 4, ())


def test_large_images_are_told_before_they_are_decoded(sqlite_scene):
    generate = Generator()
    report = prelabel(sqlite_scene, generate, max_pixels=16 * 12 - 1)
    assert (report.num_images, len(report.faults), generate.calls) == (0, 4, 0)
    assert report.faults[2].startswith("deep/c.png")


def test_what_the_model_says_of_one_image_is_told(sqlite_scene):
    def refuse_the_first(image):
        if image[0, 0, 0] == 0:
            raise ImageError("too narrow:\n 1 x 9")
        return named_boxes(image)

    report = prelabel(sqlite_scene, refuse_the_first)
    assert report.faults == ("a.png: too narrow: 1 x 9",)
    assert report.num_images == 3


def test_what_the_model_says_of_all_images_ends_the_run(sqlite_scene):
    def refuse(image):
        raise PromptError("a phrase is too long")

    generate = Generator(refuse)
    with pytest.raises(PromptError):
        prelabel(sqlite_scene, generate)
    assert generate.calls == 1


def test_masks_that_do_not_fit_are_told_and_the_others_kept(sqlite_scene):
    def broken(image):
        masks = named_boxes(image)
        rles = (masks.rles[0], {"size": [5, 5], "counts": masks.rles[1]["counts"]})
        scores = np.array([np.nan, 0.8], np.float32)
        if image[0, 0, 0] == 0:
            return replace(masks, scores=scores)
        return replace(masks, rles=rles, phrases=("x" * 201, ""))

    report = prelabel(sqlite_scene, broken)
    assert (report.num_images, report.num_added) == (4, 1)
    assert report.faults[0] == "a.png: mask 1: score must be from 0 to 1; got nan"
    assert report.faults[1].startswith("b.png: a class's name must have 1 to 200 characters")
    assert report.faults[2].startswith("b.png: mask 1: the name of its class, 'xxx")
    assert report.faults[3].startswith("b.png: mask 2: ")
    assert len(report.faults) == 1 + 3 * 3


def test_it_is_for_reviewers_and_of_projects_that_are_there(own_scene, refusal):
    scene, folder = own_scene
    generate = Generator()
    with refusal(RoleError, "needs the role reviewer or admin; 'ann' is annotator"):
        prelabel(scene, generate, user_id=scene.ann)
    change_user(scene.store, scene.rev, active=False)
    with refusal(RoleError, "is not active"):
        prelabel(scene, generate)
    with refusal(MissingError, "no project 99"):
        prelabel_images(scene.store, 99, generate, user_id=scene.adm)
    folder.rename(folder.with_name("elsewhere"))
    with refusal(StoreError, f"no such folder: {folder}"):
        prelabel(scene, generate, user_id=scene.adm)
    assert generate.calls == 0
