import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from samkit.errors import OutputError, WeightsError
from samkit.models import CONFIGS, Sam
from samkit.weights.checkpoint import (
    Checkpoint,
    TextEncoder,
    build_model,
    check_fits,
    identify,
    outline,
    read_checkpoint,
    save_checkpoint,
    weights_sha256,
    weights_sha256_of_bytes,
)

WRITERS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "new.pth": torch.save,
    "new.pt": torch.save,
    "old.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "file.safetensors": save_file,
}


@pytest.fixture
def state(tiny_sam: Sam) -> dict[str, Tensor]:
    return dict(tiny_sam.state_dict())


def checkpoint_of(state: dict[str, Tensor], model_name: str | None = None) -> Checkpoint:
    return Checkpoint(path=Path("some.pth"), state=state, layout="original", model_name=model_name)


def assert_same_weights(model: Sam, other: Sam) -> None:
    """Bitwise."""
    state, expected = model.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


class TestReading:
    @pytest.mark.parametrize("name", WRITERS)
    def test_every_kind_of_file_gives_its_tensors(
        self, name: str, state: dict[str, Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / name
        WRITERS[name](state, path)
        checkpoint = read_checkpoint(path)
        assert checkpoint.path == path
        assert checkpoint.layout == "original"
        assert checkpoint.model_name is None
        assert checkpoint.state.keys() == state.keys()
        for key, tensor in checkpoint.state.items():
            assert torch.equal(tensor, state[key])

    def test_a_path_may_be_a_string(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        save_file(state, tmp_path / "a.safetensors")
        assert read_checkpoint(str(tmp_path / "a.safetensors")).state.keys() == state.keys()

    def test_changing_a_read_model_leaves_its_file_alone(
        self, state: dict[str, Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / "a.pth"  # is mapped into memory, not read
        torch.save(state, path)
        before = path.read_bytes()
        model = build_model(read_checkpoint(path), "tiny")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert path.read_bytes() == before

    @pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "."])
    def test_a_missing_file_is_told(self, name: str, tmp_path: Path, refusal: Any) -> None:
        with refusal(WeightsError, f"no such file: {tmp_path / name}"):
            read_checkpoint(tmp_path / name)

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
    @pytest.mark.parametrize("name", WRITERS)
    def test_a_truncated_file_is_told(
        self, name: str, share: float, state: dict[str, Tensor], tmp_path: Path, refusal: Any
    ) -> None:
        path = tmp_path / name
        WRITERS[name](state, path)
        os.truncate(path, int(share * path.stat().st_size))
        with refusal(WeightsError, str(path), "damaged", "truncated"):
            read_checkpoint(path)

    @pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"this is not a checkpoint\n",
            b"<!DOCTYPE html><html><body>404</body></html>",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ec2d\nsize 375042383\n",
            b"\x80\x02\xff\xff",
            b"PK\x03\x04",
            bytes(1000),
        ],
        ids=["empty", "text", "html", "git lfs pointer", "bad pickle", "bad zip", "zeros"],
    )
    def test_a_file_of_another_kind_is_told(
        self, content: bytes, suffix: str, tmp_path: Path, refusal: Any
    ) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with refusal(WeightsError, str(path), "damaged"):
            read_checkpoint(path)

    @pytest.mark.parametrize("value", [[1, 2], torch.zeros(1), 3], ids=["list", "tensor", "int"])
    def test_a_file_without_names_is_told(
        self, value: object, tmp_path: Path, refusal: Any
    ) -> None:
        path = tmp_path / "a.pth"
        torch.save(value, path)
        with refusal(WeightsError, str(path), type(value).__name__, "expected tensors by name"):
            read_checkpoint(path)

    def test_a_file_of_another_network_is_told(self, tmp_path: Path, refusal: Any) -> None:
        path = tmp_path / "resnet.safetensors"
        save_file({"conv1.weight": torch.zeros(1)}, path)
        with refusal(WeightsError, str(path), "not a SAM checkpoint", "got conv1.weight"):
            read_checkpoint(path)


class MakesFolder:
    """Pickles as a call that makes a folder: what a malicious checkpoint could do and worse."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


class TestCodeInCheckpoints:
    @pytest.mark.parametrize("suffix", [".pth", ".pt"])
    @pytest.mark.parametrize("writer", ["new", "old", "plain pickle"])
    @pytest.mark.parametrize("how", ["os.mkdir", "exec"])
    def test_it_is_refused_and_does_not_run(
        self, how: str, writer: str, suffix: str, tmp_path: Path, refusal: Any
    ) -> None:
        flag, path = tmp_path / "it-ran", tmp_path / f"evil{suffix}"
        payload = {
            "os.mkdir": MakesFolder(os.mkdir, str(flag)),
            "exec": MakesFolder(exec, f"import os; os.mkdir({str(flag)!r})"),
        }[how]
        state = {"image_encoder.pos_embed": payload}
        if writer == "plain pickle":
            path.write_bytes(pickle.dumps(state, protocol=2))
        else:
            torch.save(state, path, _use_new_zipfile_serialization=writer == "new")

        with refusal(WeightsError, str(path), "could run code"):
            read_checkpoint(path)
        assert not flag.exists()

        # The payload works: a careless reader runs it.
        if writer == "plain pickle":
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert flag.exists()

    @pytest.mark.parametrize("extra", ["settings", "whole model"])
    def test_harmless_objects_are_refused_with_a_way_out(
        self, extra: str, tiny_sam: Sam, tmp_path: Path, refusal: Any
    ) -> None:
        path = tmp_path / "a.pth"
        settings = {"model": tiny_sam.state_dict(), "args": argparse.Namespace(lr=0.1)}
        torch.save(settings if extra == "settings" else tiny_sam, path)
        with refusal(WeightsError, "holds more than tensors", "save the state_dict alone"):
            read_checkpoint(path)


class TestIdentifying:
    @pytest.mark.parametrize("name", CONFIGS)
    def test_names_and_shapes_tell_the_model(self, name: str) -> None:
        assert identify(checkpoint_of(outline(name).state_dict())) == name

    @pytest.mark.parametrize("name", CONFIGS)
    def test_a_missing_tensor_does_not_confuse(self, name: str) -> None:
        state = outline(name).state_dict()
        del state["mask_decoder.iou_token.weight"]
        assert identify(checkpoint_of(state)) == name

    def test_the_files_own_word_goes_first(self) -> None:
        state = outline("sam_vit_b").state_dict()
        assert identify(checkpoint_of(state, "sam_vit_l")) == "sam_vit_l"
        assert identify(checkpoint_of(state, "of another program")) == "sam_vit_b"


class TestFitting:
    def test_a_wrong_model_is_told_with_the_first_misfits(
        self, state: dict[str, Tensor], refusal: Any
    ) -> None:
        parts = (
            "some.pth does not fit sam_vit_b",
            "image_encoder.pos_embed must be (1, 64, 64, 768); got (1, 8, 8, 32)",
            "image_encoder.patch_embed.proj.weight must be (768, 3, 16, 16); got (32, 3, 16, 16)",
            "more",
        )
        with refusal(WeightsError, *parts):
            check_fits(checkpoint_of(state), "sam_vit_b")

    def test_a_missing_tensor_is_told(self, state: dict[str, Tensor], refusal: Any) -> None:
        del state["mask_decoder.iou_token.weight"]
        with refusal(WeightsError, "tiny: mask_decoder.iou_token.weight (1, 32) is missing"):
            build_model(checkpoint_of(state), "tiny")

    def test_an_extra_tensor_is_told(self, state: dict[str, Tensor], refusal: Any) -> None:
        state["image_encoder.adapter.weight"] = torch.zeros(1)
        with refusal(WeightsError, "tiny: image_encoder.adapter.weight is not in the model"):
            build_model(checkpoint_of(state), "tiny")

    def test_quantised_tensors_are_told(self, state: dict[str, Tensor], refusal: Any) -> None:
        name = "image_encoder.neck.0.weight"
        state[name] = state[name].to(torch.int8)
        with refusal(WeightsError, f"{name} must be of torch.float32; got torch.int8"):
            build_model(checkpoint_of(state), "tiny")

    def test_a_few_misfits_are_shown_and_the_others_counted(
        self, state: dict[str, Tensor], refusal: Any
    ) -> None:
        names = list(state)[:8]
        for name in names:
            del state[name]
        with refusal(WeightsError, *names[:5], "and 3 more"):
            check_fits(checkpoint_of(state), "tiny")


class TestBuilding:
    def test_a_built_model_is_ready_to_use_and_to_train(self, state: dict[str, Tensor]) -> None:
        half = {name: tensor.half() for name, tensor in state.items()}
        model = build_model(checkpoint_of(half), "tiny")
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert all(p.requires_grad for p in model.parameters())
        tensors = [*model.parameters(), *model.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, half[name].float())

    def test_counters_of_batch_norms_may_be_absent(self, randomise: Callable[..., None]) -> None:
        original = Sam(CONFIGS["mobile_sam"])
        randomise(original)
        state = {
            name: tensor
            for name, tensor in original.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        model = build_model(checkpoint_of(state), identify(checkpoint_of(state)))
        assert_same_weights(model, original)


class TestSaving:
    def test_saving_and_reading_is_exact(self, tiny_sam: Sam, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_checkpoint(tiny_sam, path, name="tiny")
        checkpoint = read_checkpoint(path)
        assert checkpoint.model_name == identify(checkpoint) == "tiny"
        model = build_model(checkpoint, "tiny")
        assert_same_weights(model, tiny_sam)
        assert weights_sha256(model) == weights_sha256(tiny_sam)

    def test_a_model_may_be_saved_over_its_own_file(self, tiny_sam: Sam, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_checkpoint(tiny_sam, path, name="tiny")
        model = build_model(read_checkpoint(path), "tiny")
        save_checkpoint(model, path, name="tiny")
        assert_same_weights(build_model(read_checkpoint(path), "tiny"), tiny_sam)
        assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]

    def test_a_model_with_text_comes_back_with_its_clip(
        self, text_sam: Sam, text_encoder: TextEncoder, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.safetensors"
        save_checkpoint(text_sam, path, name="tiny", text_encoder=text_encoder)
        checkpoint = read_checkpoint(path)
        assert checkpoint.text_encoder == text_encoder
        assert checkpoint.text_dim == text_encoder.dim
        assert_same_weights(build_model(checkpoint, identify(checkpoint)), text_sam)

    def test_text_weights_are_known_without_a_word_of_the_file(
        self, text_sam: Sam, tiny_sam: Sam, tmp_path: Path
    ) -> None:
        torch.save(text_sam.state_dict(), tmp_path / "a.pth")
        checkpoint = read_checkpoint(tmp_path / "a.pth")
        assert checkpoint.text_encoder == TextEncoder(source="", fingerprint="", dim=12)
        assert identify(checkpoint) == "tiny"
        torch.save(tiny_sam.state_dict(), tmp_path / "b.pth")
        assert read_checkpoint(tmp_path / "b.pth").text_encoder is None

    def test_a_missing_folder_is_told(self, tiny_sam: Sam, tmp_path: Path, refusal: Any) -> None:
        path = tmp_path / "missing" / "a.safetensors"
        with refusal(OutputError, f"cannot write {path}"):
            save_checkpoint(tiny_sam, path, name="tiny")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_a_file_is_told(
        self, tiny_sam: Sam, tmp_path: Path, refusal: Any
    ) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "a.safetensors"
        with refusal(OutputError, f"cannot write {path}"):
            save_checkpoint(tiny_sam, path, name="tiny")

    @pytest.mark.skipif(os.access("/", os.W_OK), reason="root may write everywhere")
    def test_a_folder_without_permission_is_told(
        self, tiny_sam: Sam, tmp_path: Path, refusal: Any
    ) -> None:
        tmp_path.chmod(0o500)
        path = tmp_path / "a.safetensors"
        with refusal(OutputError, f"cannot write {path}"):
            save_checkpoint(tiny_sam, path, name="tiny")
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_leaves_the_earlier_file(
        self, tiny_sam: Sam, tmp_path: Path, refusal: Any
    ) -> None:
        resource = pytest.importorskip("resource")
        path = tmp_path / "a.safetensors"
        save_file({"earlier": torch.ones(1)}, path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with refusal(OutputError, f"cannot write {path}"):
                save_checkpoint(tiny_sam, path, name="tiny")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert load_file(path).keys() == {"earlier"}
        assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


class TestWeightsSha256:
    def test_it_depends_on_every_number_and_name(self, tiny_sam: Sam) -> None:
        before = weights_sha256(tiny_sam)
        tiny_sam.mask_decoder.iou_token.weight.data[0, 0] += 1
        assert weights_sha256(tiny_sam) != before
        tiny_sam.mask_decoder.iou_token.weight.data[0, 0] -= 1
        assert weights_sha256(tiny_sam.image_encoder) != before

    def test_equal_values_have_equal_checksums(self, tiny_sam: Sam) -> None:
        weight = tiny_sam.mask_decoder.iou_token.weight.data
        weight[0, 0] = 0.0
        before, bytes_before = weights_sha256(tiny_sam), weights_sha256_of_bytes(tiny_sam)
        weight[0, 0] = -0.0
        assert weights_sha256(tiny_sam) == before
        assert weights_sha256_of_bytes(tiny_sam) != bytes_before

    def test_it_does_not_depend_on_strides(self, tiny_sam: Sam) -> None:
        before = weights_sha256(tiny_sam)
        projection = tiny_sam.image_encoder.neck[0]
        projection.weight.data = projection.weight.data.to(memory_format=torch.channels_last)
        assert weights_sha256(tiny_sam) == before
