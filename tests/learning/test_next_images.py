"""Which image comes next: signs of what a model would learn, and the choice by them."""

import json

import numpy as np
import pytest

from samkit.cli.main import main
from samkit.dataengine import Learning, count_next_images, set_learning, take_next
from samkit.learning import ImageSigns, choose_images
from samkit.learning.next_images import choose, disagreements, image_vector, read_signs
from samkit.weights import save_checkpoint


def signs(disagreement, doubt, vector):
    return ImageSigns(disagreement=disagreement, doubt=doubt, vector=np.array(vector, np.float64))


def test_answers_that_are_alike_agree():
    masks = np.zeros((4, 3, 4, 4), bool)
    masks[0, :, :2] = True  # three times the same
    masks[1, 0, :2], masks[1, 1, 2:], masks[1, 2, :, :2] = True, True, True
    masks[2, 0] = True  # two are empty
    expected = [0, 1 - (0 + 1 / 3 + 1 / 3) / 3, 1 - (0 + 0 + 1) / 3, 0]
    assert disagreements(masks) == pytest.approx(expected)


def test_promising_images_come_first_and_unlike_ones_next():
    similar = [signs(0.9, 0.9, [1, 0]), signs(0.8, 0.8, [1, 0.01])]
    other = signs(0.1, 0.1, [-1, 0])
    assert choose([*similar, other], [], 3) == [0, 2, 1]
    # Finished images are like those that were chosen.
    assert choose([*similar, other], [np.array([1.0, 0])], 1) == [2]
    assert choose([*similar, other], [], 2) == [0, 2]


def test_both_signs_count_alike_whatever_their_scale():
    vectors = np.eye(4)
    found = [
        signs(0.001, 0.9, vectors[0]),
        signs(0.004, 0.8, vectors[1]),
        signs(0.002, 0.1, vectors[2]),
        signs(0.003, 0.7, vectors[3]),
    ]
    # Mean ranks: 2.5, 3.5, 1.5 and 2.5 of 4.
    assert choose(found, [], 4) == [1, 0, 3, 2]


def test_nothing_to_choose_from():
    assert choose([], [np.ones(2)], 3) == []
    same = [signs(0.5, 0.5, [1, 1])] * 3
    assert sorted(choose(same, [], 5)) == [0, 1, 2]


def test_signs_are_within_their_ranges_and_ignore_padding(tiny, scenes):
    sample = scenes[0]
    wide = np.concatenate([sample.image, sample.image], axis=1)
    for image in (sample.image, wide):
        found = read_signs(tiny, tiny.embed(image), None)
        assert 0 <= found.disagreement <= 1
        assert 0 <= found.doubt <= 1
    embedding = tiny.embed(wide)
    grid = embedding.features.grid[0].numpy()
    half = grid.shape[1] // 2
    expected = grid[:, :half].mean((1, 2), dtype=np.float64)
    np.testing.assert_allclose(image_vector(embedding), expected)


def test_the_queue_gets_the_choice(team, make_learner):
    learner, done = make_learner(), []
    team.finish(team.images[:4])
    choice = choose_images(
        learner, team.project.id, None, limit=5, on_image=lambda *one: done.append(one)
    )
    waiting = {image.id for image in team.images[4:]}
    assert (choice.num_waiting, choice.faults) == (20, ())
    assert len(set(choice.image_ids)) == 5
    assert set(choice.image_ids) <= waiting
    assert done[-1] == (24, 24)
    assert choose_images(learner, team.project.id, None, limit=5) == choice
    set_learning(team.store, team.project.id, Learning(choose_next=True))
    assert take_next(team.store, team.project.id, team.robot).image.id == choice.image_ids[0]


def test_images_that_cannot_be_read_are_told(team, make_learner, scene_folder, tmp_path):
    import shutil

    from samkit.dataengine import move_project

    root = tmp_path / "copy"
    shutil.copytree(scene_folder, root)
    move_project(team.store, team.project.id, root)
    (root / "03.png").write_bytes(b"no image")
    choice = choose_images(make_learner(), team.project.id, None, limit=24)
    assert len(choice.image_ids) == 23
    (fault,) = choice.faults
    assert fault.startswith("03.png: ")


def test_the_command_chooses(team, tiny, tmp_path, capsys):
    model = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny.model, model, name="tiny")
    command = ["engine", "choose", "--store", str(tmp_path / "store.db"), "--limit", "3"]
    command += ["--model", str(model), "--threads", "1"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (len(printed["chosen"]), printed["waiting"], printed["offered"]) == (3, 24, False)
    assert count_next_images(team.store, team.project.id) == 3
    assert main(command) == 0
    assert "3 of 24 waiting images chosen; the project does not" in capsys.readouterr().out
