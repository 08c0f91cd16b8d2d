"""The loop: interrupted, killed or distributed trainings give the same result."""

import os
import random
import signal
import time

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from safetensors.torch import load_file

from read_log import read_log
from samkit.errors import RecipeError, TrainingError, WeightsError
from samkit.training.distributed import world_layout
from samkit.training.log import TrainingLog, drop_after
from samkit.training.loop import fit
from samkit.training.settings import OptimRecipe, RunRecipe
from training.starting import start, start_of_two
from training.stub_task import StubLoader, StubTask

OPTIM = OptimRecipe(lr=0.01, warmup_steps=3, average_decay=0.9)
KILLS = int(os.environ.get("SAMKIT_TEST_KILLS", "3"))


def run_recipe(steps=12, **changes):
    return RunRecipe(
        **{"steps": steps, "accelerator": "cpu", "log_every": 1, "save_every": 5, **changes}
    )


def scores(task):
    return {"score": float(task.layer.weight.detach().sum())}


def test_resuming_is_going_on(tmp_path):
    run = run_recipe(accumulate=2, evaluate_every=4)
    fit(StubTask(), StubLoader(), optim=OPTIM, run=run, folder=tmp_path / "a", evaluate=scores)
    part = run_recipe(steps=12, accumulate=2, evaluate_every=4)

    def stop(progress):
        if progress.step == 7:
            signal.raise_signal(signal.SIGTERM)

    kwargs = {"optim": OPTIM, "folder": tmp_path / "b", "evaluate": scores}
    with pytest.raises(KeyboardInterrupt):
        fit(StubTask(), StubLoader(), run=part, on_step=stop, **kwargs)
    assert [row["step"] for row in read_log(tmp_path / "b" / "log.csv")] == list(range(1, 8))
    fit(StubTask(), StubLoader(), run=run, resume=True, **kwargs)
    for name in ("last.safetensors", "best.safetensors"):
        whole, resumed = (load_file(tmp_path / run_name / name) for run_name in "ab")
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    logs = [read_log(tmp_path / run_name / "log.csv") for run_name in "ab"]
    for row in [row for log in logs for row in log]:
        for time_dependent in ("seconds", "images_per_s", "masks_per_s"):
            del row[time_dependent]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 12


def test_without_average_and_evaluation_the_last_weights_are_exported(tmp_path):
    task = StubTask()
    trained = fit(
        task,
        StubLoader(),
        optim=OptimRecipe(lr=0.1, warmup_steps=0),
        run=run_recipe(steps=3),
        folder=tmp_path,
    )
    assert trained.best_score is None
    for path in (trained.last, trained.best):
        exported = load_file(path)
        assert all(torch.equal(exported[key], value) for key, value in task.state_dict().items())


def test_the_average_forgets_as_it_should(tmp_path):
    seen = []
    task = StubTask()
    before = task.layer.weight.detach().clone()
    fit(
        task,
        StubLoader(),
        optim=OPTIM,
        run=run_recipe(steps=4),
        folder=tmp_path,
        on_step=lambda _: seen.append(task.layer.weight.detach().clone()),
    )
    del before  # the first step's weights begin the average
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.9 * expected + 0.1 * weight
    exported = load_file(tmp_path / "last.safetensors")["layer.weight"]
    torch.testing.assert_close(exported, expected)


def test_accumulated_batches_count_by_their_masks(tmp_path):
    """One step of two batches has the gradient of both batches as one."""

    class Plain(StubTask):
        def forward(self, batch, generator):
            values = batch.pixels.mean((2, 3))[batch.image_index]
            return type(super().forward(batch, generator))(self.layer(values).square().mean(), {})

    class Uneven(StubLoader):
        def batch(self, number):
            self.masks = (1, 2) if number % 2 else (4, 3)
            return super().batch(number)

    optim = OptimRecipe(lr=0.1, warmup_steps=0, clip_norm=1e6)
    fit(Plain(), Uneven(), optim=optim, run=run_recipe(steps=1, accumulate=2), folder=tmp_path)
    first, second = (Uneven().batch(number) for number in (1, 2))
    task = Plain()
    generator = torch.Generator().manual_seed(0)
    joint = (3 * task(first, generator).loss + 7 * task(second, generator).loss) / 10
    joint.backward()
    norm = torch.stack([p.grad.norm() for p in task.parameters()]).norm()
    (row,) = read_log(tmp_path / "log.csv")
    assert row["loss"] == pytest.approx(joint.item(), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-5)


def test_a_loss_that_is_not_finite_stops_and_leaves_its_batch(tmp_path):
    class Broken(StubTask):
        def forward(self, batch, generator):
            result = super().forward(batch, generator)
            bad = torch.nan if "3.0" in batch.keys else 1.0
            return result._replace(loss=result.loss * bad)

    with pytest.raises(
        TrainingError, match="the loss is nan at step 3; the batch is saved"
    ) as caught:
        fit(Broken(), StubLoader(), optim=OPTIM, run=run_recipe(), folder=tmp_path)
    assert "\n" not in str(caught.value)
    saved = load_file(tmp_path / "not_finite_step3_rank0.safetensors")
    assert torch.equal(saved["0.pixels"], StubLoader().batch(3).pixels)
    assert torch.equal(saved["0.masks"], StubLoader().batch(3).masks)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_and_leaves_its_batch(tmp_path, clip_norm):
    class Broken(StubTask):
        def forward(self, batch, generator):
            result = super().forward(batch, generator)
            # The root of 0 is finite, its slope is not.
            bad = (self.layer.weight * 0).sum().sqrt() if "2.0" in batch.keys else 0
            return result._replace(loss=result.loss + bad)

    task, optim = Broken(), OptimRecipe(lr=0.01, warmup_steps=0, clip_norm=clip_norm)
    with pytest.raises(TrainingError, match="the gradient is nan at step 2; the batch is saved in"):
        fit(task, StubLoader(), optim=optim, run=run_recipe(), folder=tmp_path)
    saved = load_file(tmp_path / "not_finite_step2_rank0.safetensors")
    assert torch.equal(saved["0.pixels"], StubLoader().batch(2).pixels)
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_without_a_limit_gradients_are_as_they_are(tmp_path):
    """A limit that is never reached and none are the same, bit for bit."""
    weights = []
    for clip_norm in (None, 1e9):
        optim = OptimRecipe(lr=0.01, warmup_steps=0, clip_norm=clip_norm)
        folder = tmp_path / str(clip_norm)
        fit(StubTask(), StubLoader(), optim=optim, run=run_recipe(steps=3), folder=folder)
        weights.append(load_file(folder / "last.safetensors"))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_mixed_precision_computes_in_bfloat16(tmp_path):
    seen = []

    class Spy(StubTask):
        def forward(self, batch, generator):
            seen.append(self.layer(batch.pixels.mean((2, 3))).dtype)
            return super().forward(batch, generator)

    task = Spy()
    run = run_recipe(steps=2, precision="bf16-mixed")
    fit(task, StubLoader(), optim=OPTIM, run=run, folder=tmp_path)
    assert seen == [torch.bfloat16] * 2
    assert task.layer.weight.dtype == torch.float32


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    kwargs = {"optim": OPTIM, "run": run_recipe(steps=2), "folder": tmp_path}
    fit(StubTask(), StubLoader(), settings={"optim.lr": 0.01, "run.steps": 2}, **kwargs)
    changed = {"optim.lr": 0.02, "run.steps": 2}
    with pytest.raises(RecipeError, match=r"of another recipe: resume it with optim.lr=0.01"):
        fit(StubTask(), StubLoader(), settings=changed, resume=True, **kwargs)
    longer = {"optim.lr": 0.01, "run.steps": 5}
    kwargs["run"] = run_recipe(steps=5)
    fit(StubTask(), StubLoader(), settings=longer, resume=True, **kwargs)
    assert read_log(tmp_path / "log.csv")[-1]["step"] == 5


def test_a_checkpoint_of_earlier_names_of_settings_goes_on(tmp_path):
    kwargs = {"optim": OPTIM, "run": run_recipe(steps=2), "folder": tmp_path}
    before = {"data.photos_per_batch": 4, "data.train": "photos:here"}
    fit(StubTask(), StubLoader(), settings=before, **kwargs)
    now = {"data.images_per_batch": 4, "data.train": "images:here"}
    fit(StubTask(), StubLoader(), settings=now, resume=True, **kwargs)


def test_a_cosine_schedule_cannot_be_made_longer_on_resuming(tmp_path):
    """Rates before and after would be of two schedules."""
    kwargs = {"optim": OPTIM, "run": run_recipe(steps=2), "folder": tmp_path}
    cosine = {"optim.schedule": "cosine", "run.steps": 2, "run.save_every": 1}
    fit(StubTask(), StubLoader(), settings=cosine, **kwargs)
    longer = cosine | {"run.steps": 5}
    match = r"resume it with run.steps=2; rates of the cosine schedule depend on run.steps"
    with pytest.raises(RecipeError, match=match):
        fit(StubTask(), StubLoader(), settings=longer, resume=True, **kwargs)
    free = cosine | {"run.save_every": 5, "run.strategy": "ddp"}
    fit(StubTask(), StubLoader(), settings=free, resume=True, **kwargs)


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"last.ckpt is damaged: start again"):
        fit(
            StubTask(),
            StubLoader(),
            optim=OPTIM,
            run=run_recipe(),
            folder=tmp_path,
            resume=True,
        )


def test_logs_lose_what_comes_after_a_step_and_what_was_cut_off(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.5\n2,0.25\n3,0.125\n4,0.06")
    drop_after(path, 9)
    assert [row["step"] for row in read_log(path)] == [1, 2, 3]
    drop_after(path, 2)
    assert read_log(path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    log = TrainingLog(tmp_path, from_step=1)
    log.add(2, {"loss": 0.75})
    log.close()
    assert read_log(path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.75}]


def test_a_training_that_begins_anew_has_nothing_of_one_that_was_killed_before(tmp_path):
    (tmp_path / "scores.csv").write_text("step,miou\n0,0.5\n")
    run = run_recipe(steps=1, evaluate_first=True)
    fit(StubTask(), StubLoader(), optim=OPTIM, run=run, folder=tmp_path, evaluate=scores)
    assert [row["step"] for row in read_log(tmp_path / "scores.csv")] == [0, 1]


def test_what_scales_losses_in_float16_goes_on_where_it_was(tmp_path):
    """Two steps without overflow double the scale: one before the stop, one after it."""

    def in_float16(**kwargs):
        precision = MixedPrecision("16-mixed", "cpu")
        precision.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[precision])
        fabric.launch()
        fit(StubTask(), StubLoader(), optim=OPTIM, folder=tmp_path, fabric=fabric, **kwargs)
        return precision.scaler.get_scale()

    assert in_float16(run=run_recipe(steps=1)) == 8
    assert in_float16(run=run_recipe(steps=2), resume=True) == 16
    assert in_float16(run=run_recipe(steps=3), resume=True) == 16


def test_under_torchrun_its_processes_count(monkeypatch):
    assert world_layout(run_recipe(devices=3)) == (3, 1)
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "16"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    assert world_layout(run_recipe()) == (8, 2)


@pytest.mark.slow
def test_killed_at_any_moment_it_always_resumes(tmp_path):
    """SIGKILL while checkpoints are written at each step; then the result is as if never killed."""
    draw = random.Random(0)
    steps = 400
    killed = 0
    while killed < KILLS:
        process = start("run_stub.py", tmp_path / "killed", steps)
        already = checkpoint_step(tmp_path / "killed")
        deadline = time.monotonic() + 120
        while checkpoint_step(tmp_path / "killed") <= already:  # else only imports are killed
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.wait()
        killed += 1
    assert start("run_stub.py", tmp_path / "killed", steps).wait() == 0
    assert start("run_stub.py", tmp_path / "whole", steps).wait() == 0
    killed_run, whole = (load_file(tmp_path / n / "last.safetensors") for n in ("killed", "whole"))
    assert all(torch.equal(killed_run[key], whole[key]) for key in whole)
    assert not list((tmp_path / "killed").glob(".samkit.*"))


def checkpoint_step(folder):
    path = folder / "last.ckpt"
    return torch.load(path, weights_only=True)["step"] if path.exists() else -1


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_of_them_after_the_same_step(tmp_path):
    workers = [start_of_two(rank, 29518, "run_stub.py", tmp_path, 9, 4) for rank in range(2)]
    try:
        assert [worker.wait(timeout=120) for worker in workers] == [130, 130]
    finally:
        for worker in workers:
            worker.kill()
    assert checkpoint_step(tmp_path) == 4
    workers = [start_of_two(rank, 29519, "run_stub.py", tmp_path, 9) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert checkpoint_step(tmp_path) == 9


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_with_both_batches(tmp_path):
    workers = [
        start_of_two(rank, 29517, "run_gradients.py", tmp_path / f"of_{rank}.safetensors")
        for rank in range(2)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert start("run_gradients.py", tmp_path / "alone.safetensors").wait() == 0
    alone = load_file(tmp_path / "alone.safetensors")
    for rank in range(2):
        shared = load_file(tmp_path / f"of_{rank}.safetensors")
        assert shared.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-3, atol=1e-6)
    assert sum(gradient.abs().sum() for gradient in alone.values()) > 0.1
