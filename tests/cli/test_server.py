"""The model of `samkit annotate` and `samkit serve`, also while PyTorch replaces OpenVINO."""

import pytest

from samkit.backends import BackendChoice, BackendInfo, choose, create_backend, ready_backend
from samkit.cli import server
from samkit.dataengine import Store
from samkit.weights.checkpoint import save_checkpoint


@pytest.fixture
def openvino_is_chosen(monkeypatch):
    """OpenVINO as the automatic choice, whose graphs are not converted; what is converted."""
    pytest.importorskip("samkit.backends.openvino_backend", reason="OpenVINO is optional")
    monkeypatch.setattr(choose, "is_installed", lambda backend: True)
    monkeypatch.setattr(
        "samkit.backends.openvino_backend.OpenVinoBackend.is_converted", lambda self: False
    )
    commands = []
    monkeypatch.setattr(server.subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def test_a_model_that_is_not_converted_keeps_its_text_encoder(
    tmp_path, text_sam, text_encoder, openvino_is_chosen
):
    path = str(tmp_path / "text.safetensors")
    save_checkpoint(text_sam, path, name="tiny", text_encoder=text_encoder)
    choice = BackendChoice(precision="float32", device="cpu")
    predictor = server.load_predictor(path, choice)
    assert predictor.backend.info.backend == "torch"
    assert predictor.text_encoder == text_encoder
    assert predictor.model_name == "tiny"


def test_only_an_automatic_choice_is_replaced(tiny_sam, openvino_is_chosen):
    chosen = BackendChoice(backend="openvino", precision="float32")
    backend = create_backend(tiny_sam, **chosen.options())
    assert backend.info == BackendInfo(
        backend="openvino", precision="float32", device="cpu", threads=0
    )
    assert ready_backend(backend, tiny_sam, chosen) is backend
    automatic = BackendChoice(precision="float32", device="cpu")
    assert ready_backend(backend, tiny_sam, automatic).info.backend == "torch"
    plain = create_backend(tiny_sam, backend="torch", precision="float32")
    assert ready_backend(plain, tiny_sam, automatic) is plain


def test_the_level_of_refinement_reaches_the_server(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path))
    with Store.open(tmp_path / "store.db") as store:
        choice = BackendChoice(backend="torch", precision="float32")
        for level in ("none", "best"):
            app = server.make_app(
                store, model="mobile_sam", backend=choice, cache_gb=1, refine=level
            )
            assert app.state.studio.config.refine == level
