"""Sharded training gives the results of one process, and saves full checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from read_log import read_log
from samkit.errors import ConfigError
from samkit.models import CONFIGS, Sam
from samkit.predict import Predictor
from samkit.training.distributed import launch
from samkit.training.encoder_weights import load_encoder
from samkit.training.sam.task import InteractiveRecipe, InteractiveTask
from samkit.training.sam.trainable import ModelRecipe, Trainable
from samkit.training.settings import OptimRecipe, RunRecipe
from samkit.training.sharding import gather_full, load_full_optimiser_state, transformer_blocks
from samkit.training.trainer import Trainer
from training.starting import start, start_of_two

TASKS = ("all", "lora", "mae", "distill")
# MAE hides other patches in each process.
SAME_IN_ONE_PROCESS = ("all", "lora", "distill")
NEVER = 99
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of trainings, by strategy; "stopped" is one with FSDP that was stopped and resumed.

    "changed" was resumed with DDP.
    """
    folder = tmp_path_factory.mktemp("strategies")
    ports = iter(range(29541, 29549))

    def run_two(name: str, strategy: str, stop: int) -> Path:
        port = next(ports)
        given = (folder / name, strategy, stop)
        workers = [start_of_two(rank, port, "run_strategy.py", *given) for rank in range(2)]
        try:
            assert [worker.wait(TIMEOUT_S) for worker in workers] == [0, 0]
        finally:
            for worker in workers:
                worker.kill()
        return folder / name

    assert start("run_strategy.py", folder / "auto", "auto", NEVER).wait(TIMEOUT_S) == 0
    run_two("ddp", "ddp", NEVER)
    run_two("fsdp", "fsdp", NEVER)
    run_two("stopped", "fsdp", 3)
    for name in TASKS:
        assert len(read_log(folder / "stopped" / name / "log.csv")) == 3
    shutil.copytree(folder / "stopped", folder / "changed")
    run_two("stopped", "fsdp", NEVER)
    run_two("changed", "ddp", NEVER)
    return lambda name: folder / name


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_spread_weights_learn_as_copied_ones(runs: Callable[[str], Path], task: str) -> None:
    spread, copied = runs("fsdp") / task, runs("ddp") / task
    for name in ("best", "last"):
        expected = weights(copied, name)
        got = weights(spread, name)
        assert got.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(got[key], tensor, rtol=0, atol=1e-5, msg=key)
    for row, other in zip(read_log(spread / "log.csv"), read_log(copied / "log.csv"), strict=True):
        for column in ("loss", "gradient_norm", "lr"):
            assert row[column] == pytest.approx(other[column], rel=1e-5)
    assert read_log(spread / "scores.csv") == read_log(copied / "scores.csv")


@pytest.mark.slow
@pytest.mark.parametrize("task", SAME_IN_ONE_PROCESS)
def test_two_processes_learn_as_one_with_both_batches(
    runs: Callable[[str], Path], task: str
) -> None:
    expected = weights(runs("auto") / task, "last")
    begun = {"atol": 5e-5, "rtol": 0}  # AdamW makes whole steps of the least gradients
    for key, tensor in weights(runs("fsdp") / task, "last").items():
        torch.testing.assert_close(tensor, expected[key], **begun, msg=key)
    rows = [read_log(runs(name) / task / "log.csv") for name in ("fsdp", "auto")]
    for row, other in zip(*rows, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert row["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_resuming_is_going_on(runs: Callable[[str], Path], task: str) -> None:
    for name in ("best", "last"):
        resumed = weights(runs("stopped") / task, name)
        for key, tensor in weights(runs("fsdp") / task, name).items():
            assert torch.equal(resumed[key], tensor), key
    steps = [row["step"] for row in read_log(runs("stopped") / task / "log.csv")]
    assert steps == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_strategy_may_change_on_resuming(runs: Callable[[str], Path], task: str) -> None:
    expected = weights(runs("ddp") / task, "last")
    for key, tensor in weights(runs("changed") / task, "last").items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-5, msg=key)
    assert len(read_log(runs("changed") / task / "log.csv")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_each_process_holds_its_part_alone(runs: Callable[[str], Path], task: str) -> None:
    def held(name: str, rank: int) -> dict[str, int]:
        counts: dict[str, int] = json.loads((runs(name) / task / f"held_{rank}.json").read_text())
        return counts

    every, first, second = held("auto", 0), held("fsdp", 0), held("fsdp", 1)
    assert {name: first[name] + second[name] for name in every} == every
    assert 0.49 < sum(first.values()) / sum(every.values()) < 0.52
    assert held("ddp", 1) == every


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_is_whole_and_the_same_as_without_spreading(
    runs: Callable[[str], Path], task: str
) -> None:
    spread, copied = (
        torch.load(runs(name) / task / "last.ckpt", weights_only=True) for name in ("fsdp", "ddp")
    )
    assert spread.keys() == copied.keys()
    moments = [
        (values[name], spread["optimiser"]["state"][number][name])
        for number, values in copied["optimiser"]["state"].items()
        for name in ("exp_avg", "exp_avg_sq")
    ]
    of_task = [(tensor, spread["task"][name]) for name, tensor in copied["task"].items()]
    # Sums over processes are rounded in another order. A gradient that one process lacked would be
    # half as large.
    for expected, got in moments + of_task:
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    assert len(moments) > 20


@pytest.mark.slow
def test_what_is_exported_serves_users(runs: Callable[[str], Path], tiny_sam: Sam) -> None:
    image = torch.randint(0, 255, (60, 80, 3), dtype=torch.uint8).numpy()
    for task in SAME_IN_ONE_PROCESS:
        predictor = Predictor.load(runs("fsdp") / task / "last.safetensors", backend="torch")
        prediction = predictor.predict(predictor.embed(image), points=[[40, 30]], labels=[1])
        assert prediction.masks.shape == (3, 60, 80)
    assert "pos_embed" in load_encoder(tiny_sam, runs("fsdp") / "mae" / "last.safetensors").loaded


def test_what_is_not_spread_stays_as_it_is(tiny_sam: Sam) -> None:
    state = {"a": torch.ones(2), "b": [{"c": 3, "d": (0.9, 0.95)}]}
    assert gather_full(state)["a"] is state["a"]
    assert gather_full(state)["b"] == state["b"]
    optimiser = torch.optim.AdamW(tiny_sam.mask_decoder.parameters())
    sum(p.square().sum() for p in tiny_sam.mask_decoder.parameters()).backward()
    optimiser.step()
    fresh = torch.optim.AdamW(tiny_sam.mask_decoder.parameters())
    load_full_optimiser_state(fresh, gather_full(optimiser.state_dict()))
    for number, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            assert torch.equal(fresh.state_dict()["state"][number][name], value)


def test_blocks_of_both_encoders_are_found() -> None:
    assert len(transformer_blocks(Sam(CONFIGS["tiny"]))) == CONFIGS["tiny"].encoder.depth
    mobile = CONFIGS["tiny_mobile"]
    assert len(transformer_blocks(Sam(mobile))) == sum(mobile.encoder.depths)


def test_float16_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fsdp needs run\.precision=bf16-mixed or 32-true"):
        RunRecipe(steps=1, strategy="fsdp", precision="16-mixed")


def test_muon_is_refused(tmp_path: Path, tiny_sam: Sam) -> None:
    trainable = Trainable(tiny_sam, ModelRecipe(config="tiny", weights=None, learns="all"))
    with pytest.raises(ConfigError, match="fsdp needs optim"):
        Trainer(
            InteractiveTask(trainable, InteractiveRecipe()),
            optim=OptimRecipe(method="muon"),
            run=RunRecipe(steps=1, strategy="fsdp"),
            folder=tmp_path,
            fabric=launch(RunRecipe(steps=1, accelerator="cpu")),
        )
