"""Training of SAM 2 on clips."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from samkit.datasets.synthetic import Scenes
from samkit.errors import ConfigError, WeightsError
from samkit.models import CONFIGS, Sam2
from samkit.training.run import train
from samkit.training.sam.trainable import ModelRecipe, Trainable, build_trainable
from samkit.training.settings import override
from samkit.training.task import Batch
from samkit.training.video import task as task_module
from samkit.training.video.prompts import Plan, VideoPromptRecipe
from samkit.training.video.recipe import VideoSessionRecipe, video_scenes
from samkit.training.video.task import VideoTask
from samkit.types import Prompts
from samkit.video import PUBLISHED, Sam2Tracker, VideoPredictor
from samkit.weights.checkpoint import save_checkpoint

SHORT = [
    "model.config=tiny_sam2",
    "data.train=moving:scenes:count=6,size=48,seed=0,things=4",
    "data.val=none",
    "data.clips_per_batch=1",
    "data.frames=3",
    "data.max_objects=2",
    "truth_size=32",
    "run.accelerator=cpu",
    "run.save_every=2",
    "optim.warmup_steps=1",
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clips(*, num_frames=3, objects=(1, 2)):
    """A batch of noise in which bright squares move to the right."""
    torch.manual_seed(5)
    pixels = torch.randn(len(objects) * num_frames, 3, 128, 128) / 4
    masks, index = [], []
    for clip, count in enumerate(objects):
        for number in range(count):
            for at in range(num_frames):
                mask = torch.zeros(32, 32, dtype=torch.bool)
                mask[4 + 12 * number : 12 + 12 * number, 2 + 5 * at : 12 + 5 * at] = True
                frame = clip * num_frames + at
                pixels[frame] += 2 * mask.repeat_interleave(4, 0).repeat_interleave(4, 1)
                masks.append(mask)
                index.append(frame)
    return Batch(
        pixels=pixels,
        features=None,
        masks=torch.stack(masks),
        image_index=torch.tensor(index),
        keys=tuple(map(str, range(len(pixels)))),
        num_frames=num_frames,
    )


def make_task(sam, config):
    recipe = VideoSessionRecipe(prompts=VideoPromptRecipe(corrections=2))
    return VideoTask(Trainable(sam, ModelRecipe(config=config, weights=None, learns="all")), recipe)


@pytest.fixture
def task(tiny_sam2):
    return make_task(tiny_sam2, "tiny_sam2")


@pytest.fixture
def edgetam_task():
    torch.manual_seed(0)
    return make_task(Sam2(CONFIGS["tiny_edgetam"]), "tiny_edgetam")


def with_plan(monkeypatch, kind, shown=(0,), corrected=()):
    plan = Plan(kind, tuple(shown), frozenset(corrected))
    monkeypatch.setattr(task_module, "draw_plan", lambda *_: plan)


@pytest.mark.parametrize(
    ("kind", "shown", "corrected", "answers"),
    [
        ("mask", (0,), (), 2),  # masks that were shown are no answers
        ("mask", (0, 2), (), 1),
        ("box", (0,), (), 3),
        ("click", (0,), (0, 2), 3 + 2 + 2),
        ("click", (0, 1), (0,), 3 + 2),
    ],
)
def test_every_answer_has_a_loss(task, monkeypatch, kind, shown, corrected, answers):
    with_plan(monkeypatch, kind, shown, corrected)
    found = []
    mean = task_module.mean_losses
    monkeypatch.setattr(
        task_module, "mean_losses", lambda losses: found.append(len(losses)) or mean(losses)
    )
    result = task(clips(), generator())
    assert found == [answers]
    assert torch.isfinite(result.loss)
    assert set(result.parts) == {"focal", "dice", "iou_error", "object_error", "iou"}


@pytest.mark.parametrize("kind", ["mask", "box", "click"])
def test_all_that_takes_part_learns(task, monkeypatch, kind):
    with_plan(monkeypatch, kind, (0,), () if kind == "mask" else (0, 2))
    task.train()
    task(clips(num_frames=4), generator()).loss.backward()
    unused = {name for name, one in task.sam.named_parameters() if one.grad is None}
    expected = {"memory.no_mem_pos_enc"}
    if kind == "mask":
        # Nothing is said, and no frame is seen without memory.
        expected |= {f"prompt_encoder.point_embeddings.{n}.weight" for n in range(4)}
        expected |= {"no_mem_embed"}
    else:
        expected |= {"memory.mask_downsample.weight", "memory.mask_downsample.bias"}
    assert not {name for name in unused if name.startswith("memory.")} - expected
    assert "memory.attention.layers.0.cross_attn_image.k_proj.weight" not in unused
    assert "memory.encoder.out_proj.weight" not in unused
    assert "image_encoder.trunk.patch_embed.proj.weight" not in unused


def test_all_of_edgetams_memory_learns(edgetam_task, monkeypatch):
    with_plan(monkeypatch, "box", (0,), (0, 2))
    edgetam_task.train()
    edgetam_task(clips(num_frames=4), generator()).loss.backward()
    named = dict(edgetam_task.sam.named_parameters())
    unused = {name for name, one in named.items() if one.grad is None}
    assert {name for name in unused if name.startswith("memory.")} == {
        "memory.no_mem_pos_enc",
        "memory.mask_downsample.weight",
        "memory.mask_downsample.bias",
    }
    assert not {name for name in unused if name.startswith("image_encoder.")}
    moved = [one for name, one in named.items() if "spatial_perceiver." in name and one.grad.any()]
    assert len(moved) == len([name for name in named if "spatial_perceiver." in name]) > 0


def test_frames_answer_as_the_tracker_does(task, monkeypatch):
    """What is trained is what tracks: the masks of later frames, for two objects of one clip."""
    with_plan(monkeypatch, "mask")
    task.eval()
    batch = clips(objects=(2,))
    found = []
    losses = task_module.object_losses
    monkeypatch.setattr(
        task_module,
        "object_losses",
        lambda logits, *rest, **more: found.append(logits) or losses(logits, *rest, **more),
    )
    with torch.no_grad():  # objects are there, whatever the random weights say
        task.sam.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
        task(batch, generator())
    tracker = Sam2Tracker(predictor_of(task), PUBLISHED)
    truth = batch.masks.view(2, 3, 32, 32)
    for number in range(2):
        memory = tracker.start()
        for index in range(3):
            features = features_of(tracker, task, batch.pixels[index])
            if index == 0:
                given = truth[number, 0].repeat_interleave(4, 0).repeat_interleave(4, 1)
                prompts = Prompts.of(mask_logits=given.numpy())
                answer = tracker.prompt(features, memory, 0, prompts, None)
            else:
                (answer,) = tracker.track(features, [memory], index, reverse=False)
                logits = torch.from_numpy(answer.logits)
                distance = (found[index - 1][number] - logits).abs().amax((1, 2)).min()
                # The tracker stores maps in bfloat16.
                assert distance < 0.02 * logits.abs().max()
            tracker.memorise(features, memory, index, answer, prompted=index == 0, reverse=False)


def predictor_of(task):
    from samkit.training.sam.setup import task_predictor

    return task_predictor(task, "cpu")


def features_of(tracker, task, pixels):
    from samkit.video.sam2_answer import Sam2Features

    with torch.no_grad():
        return Sam2Features(
            task.sam.encode(pixels[None]), tracker.coords((128, 128)), tracker.model
        )


def test_frames_of_absent_objects_are_marked_for_the_memory(task, monkeypatch):
    with_plan(monkeypatch, "mask")
    batch = clips(objects=(1,))
    batch.masks[1] = False
    result = task(batch, generator())
    assert torch.isfinite(result.loss)
    assert float(result.parts["object_error"]) > 0


@pytest.mark.parametrize("kind", ["mask", "click"])
def test_in_bfloat16_the_loss_is_nearly_the_same(task, monkeypatch, kind):
    with_plan(monkeypatch, kind, (0,), () if kind == "mask" else (0, 2))
    with torch.no_grad():  # objects are there in both
        task.sam.mask_decoder.pred_obj_score_head.layers[2].bias.fill_(30)
    task.train()
    for module in task.sam.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    exact = task(clips(objects=(1,)), generator()).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = task(clips(objects=(1,)), generator()).loss
    rounded.backward()
    torch.testing.assert_close(rounded.detach(), exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kind", ["task", "edgetam_task"])
def test_it_learns_to_follow(kind, request):
    task = request.getfixturevalue(kind)
    task.train()
    batch = clips(objects=(1,))
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(8):
        result = task(batch, generator(1))
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        losses.append(float(result.loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_steps_depend_on_their_seed_alone(task):
    task.train()
    losses = []
    for _ in range(2):
        torch.manual_seed(3)  # of dropout
        losses.append(float(task(clips(), generator(2)).loss.detach()))
    assert losses[0] == losses[1]


def test_models_without_memory_are_refused(tiny_sam2, refusal):
    image_only = Sam2(replace(tiny_sam2.config, memory=None))
    trainable = Trainable(image_only, ModelRecipe(config="tiny_sam2", weights="mine.pt"))
    with refusal(WeightsError, "mine.pt has no networks for videos"):
        VideoTask(trainable, VideoSessionRecipe())


def test_with_a_frozen_encoder_decoder_and_memory_learn(tiny_sam2, tmp_path):
    save_checkpoint(tiny_sam2, tmp_path / "own.safetensors", name="tiny_sam2")
    trainable = build_trainable(
        ModelRecipe(config="tiny_sam2", weights=str(tmp_path / "own.safetensors"))
    )
    task = VideoTask(trainable, VideoSessionRecipe())
    learning = {name for name, one in task.sam.named_parameters() if one.requires_grad}
    assert not any(name.startswith("image_encoder.") for name in learning)
    assert {
        name for name, _ in task.sam.named_parameters() if name.startswith("memory.")
    } < learning


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.config=tiny", "only SAM 2 has a memory to train"),
        ("truth_size=200", "truth_size must be at least 1 and at most 128"),
        (
            "session.prompts.first_frames=5",
            "session.prompts.first_frames must be at least 1 and at most 4",
        ),
        ("evaluation.frames=1", "evaluation.frames must be at least 2"),
    ],
)
def test_recipes_are_checked(change, message, refusal):
    with refusal(ConfigError, message):
        override(video_scenes(), [change])


def test_without_data_nothing_is_trained(tmp_path, refusal):
    with refusal(ConfigError, "no videos to train on: give data.train=davis:FOLDER"):
        train(override(video_scenes(), [*SHORT, "data.train=none"]), tmp_path)


def test_a_data_set_of_images_is_refused(tmp_path, refusal):
    with refusal(ConfigError, "takes its data from data.train alone"):
        train(override(video_scenes(), SHORT), tmp_path, source=Scenes(count=2, size=32))


def test_a_training_resumes_as_if_it_had_not_stopped_and_its_weights_track(tmp_path):
    recipe = override(video_scenes(), [*SHORT, "run.steps=4", "optim.schedule=steps"])
    through = train(recipe, tmp_path / "through")
    train(override(recipe, ["run.steps=2"]), tmp_path / "resumed")
    steps = []
    resumed = train(recipe, tmp_path / "resumed", resume=True, on_step=steps.append)
    assert [progress.step for progress in steps] == [3, 4]
    one, other = load_file(through.last), load_file(resumed.last)
    assert all(torch.equal(one[name], other[name]) for name in one)
    predictor = VideoPredictor.load(through.last)
    assert isinstance(predictor.tracker, Sam2Tracker)
    assert predictor.predictor.model_name == "tiny_sam2"
