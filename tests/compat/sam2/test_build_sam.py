"""Builders: names of configurations, checkpoints, overrides, state dicts."""

import copy
import inspect

import pytest
import torch

from samkit.compat.sam2.build_sam import (
    HF_MODEL_ID_TO_FILENAMES,
    build_sam2,
    build_sam2_hf,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from samkit.compat.sam2.errors import SettingError, UnknownModelError
from samkit.compat.sam2.loading import hub_model, model_name, read_overrides
from samkit.compat.sam2.modeling.sam2_base import SAM2Base
from samkit.compat.sam2.sam2_video_predictor import SAM2VideoPredictor
from samkit.errors import SamkitError, WeightsError
from samkit.models import CONFIGS
from samkit.models import build_sam as build_network
from samkit.weights import CATALOG, load_model, to_sam2_original


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("configs/sam2.1/sam2.1_hiera_t.yaml", "sam2.1_hiera_tiny"),
        ("configs/sam2.1/sam2.1_hiera_s.yaml", "sam2.1_hiera_small"),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1_hiera_base_plus"),
        ("configs/sam2.1/sam2.1_hiera_l.yaml", "sam2.1_hiera_large"),
        ("configs/sam2/sam2_hiera_b+.yaml", "sam2_hiera_base_plus"),
        ("sam2_hiera_l.yaml", "sam2_hiera_large"),
        ("configs/edgetam.yaml", "edgetam"),
        ("sam2_hiera_t", "sam2_hiera_tiny"),
        ("/data/my.configs/sam2.1_hiera_s.yaml", "sam2.1_hiera_small"),
        (r"C:\configs\sam2.1\sam2.1_hiera_l.yaml", "sam2.1_hiera_large"),
        (
            "configs/sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml",
            "sam2.1_hiera_base_plus",
        ),
        ("sam2.1_hiera_base_plus", "sam2.1_hiera_base_plus"),
        ("mobile_sam", "mobile_sam"),
    ],
)
def test_a_configuration_names_a_size(config, name):
    assert model_name(config) == name
    assert name in CONFIGS


@pytest.mark.parametrize("config", ["sam2.1_hiera_x.yaml", "sam_hiera_t.yaml", "", "vit_h"])
def test_unknown_configurations_are_refused_in_one_line(config, refusal):
    with refusal(UnknownModelError, f"unknown configuration {config!r}", "sam2.1_hiera_t.yaml"):
        build_sam2(config)
    with pytest.raises(KeyError):
        model_name(config)


def test_signatures_are_the_originals():
    expected = {
        "config_file": inspect.Parameter.empty,
        "ckpt_path": None,
        "device": "cuda",
        "mode": "eval",
        "hydra_overrides_extra": (),
        "apply_postprocessing": True,
    }
    of_images = inspect.signature(build_sam2).parameters
    of_videos = inspect.signature(build_sam2_video_predictor).parameters
    assert {name: one.default for name, one in of_images.items() if name != "kwargs"} == expected
    expected["vos_optimized"] = False
    assert {name: one.default for name, one in of_videos.items() if name != "kwargs"} == expected


def test_models_of_the_hub_have_their_names():
    assert len(HF_MODEL_ID_TO_FILENAMES) == 9
    config, file = HF_MODEL_ID_TO_FILENAMES["facebook/sam2.1-hiera-base-plus"]
    assert config == "configs/sam2.1/sam2.1_hiera_b+.yaml"
    assert file == "sam2.1_hiera_base_plus.pt"
    for repository, (config, _) in HF_MODEL_ID_TO_FILENAMES.items():
        name = hub_model(repository)
        assert name == model_name(config)
        assert CATALOG[name].hub_repo == repository


def test_a_model_of_the_hub_is_fetched_by_its_name(hub):
    model = build_sam2_hf("facebook/sam2.1-hiera-tiny", device="cpu", mode="train")
    assert model.training
    video = build_sam2_video_predictor_hf("facebook/sam2-hiera-large", device="cpu")
    assert isinstance(video, SAM2VideoPredictor)
    assert hub == [("sam2.1_hiera_tiny", "sam2.1_hiera_tiny"), ("sam2_hiera_large",) * 2]
    with pytest.raises(UnknownModelError, match="unknown model 'facebook/sam2-hiera-huge'"):
        build_sam2_hf("facebook/sam2-hiera-huge")


def test_edgetam_is_built_from_its_file_in_the_hubs_cache(tmp_path, monkeypatch):
    repository = tmp_path / "models--facebook--EdgeTAM"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    published = to_sam2_original(build_network(CONFIGS["edgetam"]).state_dict())
    torch.save({"model": published}, snapshot / "edgetam.pt")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = build_sam2_hf("facebook/EdgeTAM", device="cpu")
    video = build_sam2_video_predictor_hf("facebook/EdgeTAM", device="cpu")
    assert isinstance(video, SAM2VideoPredictor)
    for one in (model, video):
        state = one.state_dict()
        assert state.keys() == published.keys()
        assert all(torch.equal(state[name], published[name]) for name in published)


def test_a_published_file_is_loaded(checkpoint, network):
    model = build_sam2("tiny_sam2", ckpt_path=checkpoint, device="cpu")
    assert isinstance(model, SAM2Base)
    assert not model.training
    assert model.image_size == 128
    assert model.device == torch.device("cpu")
    loaded = model.network.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_without_a_file_weights_are_random_but_for_the_embedded_model():
    one, other = (build_sam2("tiny_sam2", device="cpu").state_dict() for _ in range(2))
    name = "sam_mask_decoder.mask_tokens.weight"
    assert not torch.equal(one[name], other[name])
    embedded = build_sam2_video_predictor("mobile_sam", device="cpu").state_dict()
    for name, tensor in load_model("mobile_sam").model.state_dict().items():
        assert torch.equal(embedded[name], tensor), name


def test_files_must_fit(checkpoint, tmp_path):
    with pytest.raises(WeightsError, match=r"does not fit sam2\.1_hiera_tiny"):
        build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", checkpoint, device="cpu")
    with pytest.raises(WeightsError, match="no such file"):
        build_sam2("tiny_sam2", tmp_path / "nowhere.pt", device="cpu")


def test_state_dicts_have_the_published_names_and_load_strictly(checkpoint, model, tmp_path):
    published = torch.load(checkpoint, weights_only=True)["model"]
    state = model.state_dict()
    assert set(state) == set(published)
    assert {"maskmem_tpos_enc", "sam_mask_decoder.conv_s0.weight"} < set(state)
    assert all(torch.equal(state[name], tensor) for name, tensor in published.items())
    other = build_sam2("tiny_sam2", device="cpu")
    assert other.load_state_dict(state, strict=True).missing_keys == []
    assert torch.equal(other.state_dict()["no_obj_ptr"], state["no_obj_ptr"])
    torch.save({"model": state}, tmp_path / "again.pt")
    assert load_model(tmp_path / "again.pt", name="tiny_sam2").name == "tiny_sam2"
    wrapper = torch.nn.Sequential(model)
    assert set(wrapper.state_dict()) == {f"0.{name}" for name in published}
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({"no_mem_embed": state["no_mem_embed"]})


def test_all_weights_are_parameters_and_move_together(model):
    network = build_network(CONFIGS["tiny_sam2"])
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in network.parameters())
    half = copy.deepcopy(model).half()
    assert {p.dtype for p in half.network.parameters()} == {torch.float16}
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


def test_a_gpu_that_is_not_there_is_the_cpu(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build_sam2("tiny_sam2", checkpoint).device == torch.device("cpu")
    with pytest.raises(SettingError, match='mode must be "eval" or "train"'):
        build_sam2("tiny_sam2", checkpoint, mode="test")


def test_overrides_are_followed_or_refused(checkpoint, refusal):
    predictor = build_sam2_video_predictor(
        "tiny_sam2",
        checkpoint,
        device="cpu",
        hydra_overrides_extra=["++model.non_overlap_masks=true"],
    )
    assert predictor.non_overlap_masks
    assert read_overrides(["++model.add_all_frames_to_correct_as_cond=true"])
    for override in (
        "++model.image_size=512",
        "model.add_all_frames_to_correct_as_cond=false",
        "nonsense",
    ):
        with refusal(SettingError, f"the override {override!r} cannot be followed"):
            build_sam2("tiny_sam2", checkpoint, hydra_overrides_extra=[override])


def test_errors_are_also_samkits():
    for kind in (SettingError, UnknownModelError):
        assert issubclass(kind, SamkitError)
