"""Files with a decoder alone, whose image encoder is that of a model in the catalog."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import samkit
from samkit.backends import BackendChoice
from samkit.batch import MaskGenerator
from samkit.cli.main import main
from samkit.errors import WeightsError
from samkit.evaluation import IouLines
from samkit.models import ImageFeatures, PromptTensors, Sam
from samkit.proposals import PRESETS
from samkit.weights import (
    CATALOG,
    TextEncoder,
    load_model,
    model_config,
    own_iou_thresh,
    save_checkpoint,
    save_decoder,
)
from samkit.weights.checkpoint import ENCODER_PREFIX

COFFEE = Path(samkit.__file__).parent / "assets/coffee.jpg"


@pytest.fixture(scope="module")
def tuned():
    """MobileSAM with a decoder that differs."""
    model = load_model("mobile_sam").model
    with torch.no_grad():
        model.mask_decoder.iou_token.weight += 0.25
    return model


@pytest.fixture(scope="module")
def decoder_file(tuned, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "decoder.safetensors"
    save_decoder(tuned, path, name="mobile_sam", base="mobile_sam")
    return path


def read(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


def test_it_is_small_and_loads_like_any_other(tuned, decoder_file):
    assert decoder_file.stat().st_size < 9e6
    loaded = load_model(decoder_file)
    assert loaded.name == "mobile_sam"
    state = loaded.model.state_dict()
    for name, value in tuned.state_dict().items():
        expected = value if name.startswith(ENCODER_PREFIX) else value.half().float()
        assert (state[name] == expected).all(), name


def test_embeddings_serve_both(decoder_file):
    published = samkit.Predictor.load("mobile_sam", backend="torch", threads=1)
    own = samkit.Predictor.load(decoder_file, backend="torch", threads=1)
    assert own.encoder_checksum == published.encoder_checksum


def test_the_encoder_must_be_the_one_it_was_trained_with(decoder_file, tmp_path):
    tensors, metadata = read(decoder_file)
    wrong = tmp_path / "wrong.safetensors"
    save_file(tensors, wrong, {**metadata, "encoder_sha256": "0" * 64})
    with pytest.raises(WeightsError, match="is a decoder for another image encoder than that of"):
        load_model(wrong)
    save_file(tensors, wrong, {**metadata, "base": "mobile_sam_9"})
    with pytest.raises(WeightsError, match="'mobile_sam_9', which this version does not know"):
        load_model(wrong)


def test_a_model_with_a_changed_encoder_is_not_saved_without_it(tmp_path):
    model = load_model("mobile_sam").model
    with torch.no_grad():
        next(model.image_encoder.parameters()).mul_(1.5)
    path = tmp_path / "decoder.safetensors"
    with pytest.raises(WeightsError, match="another image encoder than mobile_sam: save all of it"):
        save_decoder(model, path, name="mobile_sam", base="mobile_sam")
    assert not path.exists()


def test_command(tuned, tmp_path, decoder_file, capsys):
    full, out = tmp_path / "best.safetensors", tmp_path / "small.safetensors"
    save_checkpoint(tuned, full, name="mobile_sam")
    assert main(["models", "decoder", str(full), "-o", str(out)]) == 0
    assert f"{out}: decoder of {full}, 8." in capsys.readouterr().out
    (own, own_facts), (expected, facts) = read(out), read(decoder_file)
    assert own_facts == facts
    assert own.keys() == expected.keys()
    assert all((own[name] == expected[name]).all() for name in own)
    assert main(["models", "verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "mobile_sam"
    assert main(["models", "decoder", str(full), "--base", "none"]) != 0
    assert "unknown model 'none'; known are mobile_sam" in capsys.readouterr().err


def test_the_clip_of_text_prompts_is_recorded(tmp_path):
    clip = TextEncoder(source="some/clip", fingerprint="abc", dim=16)
    model = Sam(model_config("mobile_sam", clip.dim))
    published = load_model("mobile_sam").model
    model.load_state_dict(model.state_dict() | published.state_dict())
    path = tmp_path / "decoder.safetensors"
    save_decoder(model, path, name="mobile_sam", base="mobile_sam", text_encoder=clip)
    assert load_model(path).text_encoder == clip


def test_it_states_from_which_predicted_iou_its_automatic_masks_are_taken(
    tuned, decoder_file, tmp_path
):
    path = tmp_path / "lower.safetensors"
    save_decoder(tuned, path, name="mobile_sam", base="mobile_sam", iou_thresh=0.625)
    assert own_iou_thresh(path) == load_model(path).iou_thresh == 0.625
    predictor = samkit.Predictor.load(path, backend="torch", threads=1)
    assert predictor.iou_thresh == 0.625
    assert copy.deepcopy(predictor).iou_thresh == 0.625
    assert samkit.AutoMasker(predictor).config.iou_thresh == 0.625
    assert own_iou_thresh(decoder_file) == own_iou_thresh("mobile_sam") == 0.88


def test_runs_on_many_images_record_that_threshold(decoder_file):
    generator = MaskGenerator(
        model=str(decoder_file), backend=BackendChoice(), config=PRESETS["thorough"]
    )
    assert generator.settings()["config"]["iou_thresh"] == pytest.approx(0.8)


def test_of_several_files_it_has_the_mean(tuned, tmp_path):
    published = load_model("mobile_sam").model
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path, model in zip(paths, (tuned, tuned, published), strict=True):
        save_checkpoint(model, path, name="mobile_sam")
    out = tmp_path / "mean.safetensors"
    assert main(["models", "decoder", *map(str, paths), "-o", str(out)]) == 0
    name = "mask_decoder.iou_token.weight"
    expected = published.get_parameter(name) + 0.25 * 2 / 3
    torch.testing.assert_close(
        load_model(out).model.get_parameter(name), expected, atol=1e-3, rtol=0
    )


def test_weights_may_be_mixed_with_those_of_the_base(tuned, tmp_path, capsys):
    full, path = tmp_path / "full.safetensors", tmp_path / "decoder.safetensors"
    save_checkpoint(tuned, full, name="mobile_sam")
    assert main(["models", "decoder", str(full), "-o", str(path), "--share", "0.75"]) == 0
    assert main(["models", "decoder", str(full), "--share", "0.5", "--base", "none"]) != 0
    assert "unknown model 'none'; known are mobile_sam" in capsys.readouterr().err
    mixed = load_model(path).model.state_dict()
    published = load_model("mobile_sam").model.state_dict()
    for name, value in tuned.state_dict().items():
        if name.startswith(ENCODER_PREFIX):
            assert torch.equal(mixed[name], published[name])
        else:
            mean = 0.75 * value + 0.25 * published[name]
            torch.testing.assert_close(mixed[name], mean, rtol=1e-3, atol=1e-6)


def test_logits_may_be_scaled_without_another_change(tuned, tmp_path, capsys):
    full, path = tmp_path / "full.safetensors", tmp_path / "decoder.safetensors"
    save_checkpoint(tuned, full, name="mobile_sam")
    main(["models", "decoder", str(full), "-o", str(path), "--logit-scale", "4"])
    main(["models", "decoder", str(full), "-o", str(tmp_path / "plain.safetensors")])
    capsys.readouterr()
    plain, scaled = (
        load_model(tmp_path / name).model.eval() for name in ("plain.safetensors", path.name)
    )
    features = ImageFeatures((torch.randn(1, 256, 64, 64),))
    point = {"points_xy": torch.tensor([[[400.0, 300.0]]]), "labels": torch.tensor([[1]])}
    with torch.no_grad():
        first = plain.decode(features, PromptTensors(**point))
        first_scaled = scaled.decode(features, PromptTensors(**point))
        assert (first_scaled.logits == 4 * first.logits).all()
        assert (first_scaled.iou_pred == first.iou_pred).all()
        again = plain.decode(features, PromptTensors(**point, mask_logits=first.logits[:, :1]))
        again_scaled = scaled.decode(
            features, PromptTensors(**point, mask_logits=first_scaled.logits[:, :1])
        )
    assert torch.allclose(again_scaled.logits, 4 * again.logits, rtol=1e-5, atol=1e-4)


def test_the_tuned_model_in_the_package_shares_embeddings_with_the_published_one():
    published = samkit.Predictor.load("mobile_sam", backend="torch", threads=1)
    tuned = samkit.Predictor.load("mobile_sam_tuned", backend="torch", threads=1)
    assert tuned.model_name == "mobile_sam_tuned"
    assert samkit.AutoMasker(tuned).config.iou_thresh == CATALOG["mobile_sam_tuned"].iou_thresh
    embedding = published.embed(COFFEE)
    click = {"points": [[300, 200]], "labels": [1]}
    one, other = (own.predict(embedding, **click).best() for own in (published, tuned))
    assert (one.logits != other.logits).any()
    assert 0 < other.masks.mean() < 1


def test_predicted_ious_may_be_fitted_on_a_data_set(tuned, tmp_path, monkeypatch):
    """They are bent by a line before; the masks stay as they were."""
    fitted = []

    def fit(predictor, source, *, embed, on_image):
        assert len(source) == 2
        first, again = (embed(source[0]).features.grid for _ in range(2))
        assert torch.equal(first, again)
        on_image(2, 2)
        fitted.append(predictor.model)
        return IouLines(scale=np.array([1, 2, 4, 0.5]), offset=np.array([0, 0.25, -0.5, 1]))

    monkeypatch.setattr("samkit.evaluation.fit_predicted_iou", fit)
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "cache"))
    full, path = tmp_path / "full.safetensors", tmp_path / "decoder.safetensors"
    save_checkpoint(tuned, full, name="mobile_sam")
    data = "scenes:count=2,size=96,seed=1"
    assert main(["models", "decoder", str(full), "-o", str(path), "--calibrate", data]) == 0
    assert len(fitted) == 1
    bias = "mask_decoder.iou_prediction_head.layers.2.bias"
    own, expected = load_model(path).model.state_dict(), tuned.state_dict()
    factors, offsets = torch.tensor([1, 2, 4, 0.5]), torch.tensor([0, 0.25, -0.5, 1])
    torch.testing.assert_close(own[bias], expected[bias] * factors + offsets, atol=1e-3, rtol=0)
    iou_token = "mask_decoder.iou_token.weight"
    assert torch.equal(own[iou_token], expected[iou_token].half().float())
