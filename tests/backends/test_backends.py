"""Backends against PyTorch, and the choice of backend."""

import copy
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from samkit.backends import BACKENDS, BackendInfo, choose, create_backend, write_onnx
from samkit.backends.graphs import GRAPHS
from samkit.backends.openvino_backend import shared_core
from samkit.backends.runtimes import open_openvino
from samkit.backends.torch_backend import COMPILERS, TorchBackend, fold_batch_norms
from samkit.errors import BackendError
from samkit.models import CONFIGS, Sam, TokenMixer
from samkit.models.tiny_vit import ConvNorm, TinyViTConfig
from samkit.predict import Predictor

pytestmark = pytest.mark.usefixtures("all_backends")

FLOAT32_ENGINES = ("torch", "openvino", "onnx")
# Of the logits' standard deviation, which is about 1; bfloat16 keeps 8 bits.
TOLERANCES = {"float32": 2e-4, "bfloat16": 0.15}


@pytest.fixture(scope="module")
def model(randomise):
    model = Sam(CONFIGS["tiny"])
    randomise(model)
    return model.eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def predictor_of(model, backend, precision="float32"):
    chosen = create_backend(model, backend=backend, precision=precision, device="cpu")
    return Predictor(model, model_name="tiny", backend=chosen)


@pytest.fixture(scope="module")
def expected(model, image):
    """Answers of the plain network to all kinds of prompts, with PyTorch alone."""
    return answers(predictor_of(model, "torch"), image)


def answers(predictor, image):
    embedding = predictor.embed(image)
    mask = np.random.default_rng(1).normal(size=(1, 32, 32))
    points = np.random.default_rng(2).uniform(0, 90, (7, 2, 2))
    labels = np.tile([1, 0], (7, 1))
    boxes = np.sort(np.random.default_rng(3).uniform(0, 90, (3, 2, 2)), axis=1).reshape(3, 4)
    return {
        "features": embedding.features.grid.numpy(),
        **{
            name: predictor.predict(embedding, **prompts)
            for name, prompts in {
                "point": {"points": points[0, :1], "labels": [1]},
                "more points": {"points": points[0], "labels": [1, 0]},
                "batch": {"points": points, "labels": labels},
                "single mask": {"boxes": boxes, "multimask": False},
                "mask": {"mask_logits": mask},
                "mask and points": {"mask_logits": mask, "points": points[0], "labels": [1, 0]},
                "masks": {"mask_logits": np.stack([mask] * 3), "boxes": boxes},
            }.items()
        },
    }


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        *((backend, "float32") for backend in FLOAT32_ENGINES),
        ("torch", "bfloat16"),
        ("openvino", "bfloat16"),
    ],
)
def test_engine_answers_as_the_network(backend, precision, model, image, expected):
    predictor = predictor_of(model, backend, precision)
    assert predictor.describe() == {
        "model": "tiny",
        "backend": backend,
        "precision": precision,
        "device": "cpu",
        "threads": 0,
    }
    tolerance = TOLERANCES[precision]
    given = answers(predictor, image)
    np.testing.assert_allclose(given.pop("features"), expected["features"], atol=tolerance)
    for name, answer in given.items():
        scale = expected[name].logits.std()
        assert scale > 0.05
        error = np.abs(answer.logits - expected[name].logits).max() / scale
        assert error < tolerance * 3, name
        np.testing.assert_allclose(answer.iou_pred, expected[name].iou_pred, atol=tolerance * 3)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C++ compiler here")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # by torch's own compiler
def test_the_compiled_network_answers_as_the_eager_one(model, image):
    given, expected = (predictor_of(model, backend, "bfloat16") for backend in ("compile", "torch"))
    embedding = expected.embed(image)
    error = (given.embed(image).features.grid - embedding.features.grid).abs().max()
    assert error < TOLERANCES["bfloat16"]
    ours, theirs = (
        predictor.predict(embedding, points=[[50, 40]], labels=[1])
        for predictor in (given, expected)
    )
    assert given.describe()["backend"] == "compile"
    np.testing.assert_allclose(ours.iou_pred, theirs.iou_pred, atol=TOLERANCES["bfloat16"])
    scale = theirs.logits.std()
    assert np.abs(ours.logits - theirs.logits).max() / scale < TOLERANCES["bfloat16"] * 3


@pytest.mark.parametrize("backend", FLOAT32_ENGINES)
def test_finer_levels_are_those_of_the_encoder(backend, randomise):
    encoder = TinyViTConfig(
        embed_dims=(8, 12, 16, 20),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 2),
        window_sizes=(2, 2, 4, 2),
        image_size=64,
        out_channels=32,
    )
    model = Sam(replace(CONFIGS["tiny"], encoder=encoder))
    randomise(model)
    model = model.eval()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    own = create_backend(model, backend=backend, precision="float32", device="cpu")
    with torch.no_grad():
        expected = model.image_encoder.levels(pixels)
        levels = own.encode_levels(pixels).levels
        grid = own.encode(pixels).grid
    assert [tuple(level.shape[1:]) for level in levels] == [
        (8, 16, 16),
        (12, 8, 8),
        (16, 4, 4),
        (32, 4, 4),
    ]
    for level, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(levels[-1], grid, rtol=1e-4, atol=1e-4)


def test_a_model_without_finer_levels_gives_its_grid_alone(model, image):
    embedding, finer = predictor_of(model, "torch").encode_levels(image)
    assert finer.levels == ()
    assert torch.equal(
        embedding.features.grid, predictor_of(model, "torch").encode(image).features.grid
    )


@pytest.mark.parametrize("backend", FLOAT32_ENGINES)
def test_confident_masks_are_those_of_predict(backend, model, image):
    predictor = predictor_of(model, backend)
    embedding = predictor.embed(image)
    points = np.random.default_rng(4).uniform(0, 90, (11, 2))
    answer = predictor.predict(embedding, points=points[:, None], labels=np.ones((11, 1)))
    middle = float(np.median(answer.iou_pred))
    for thresh in (-np.inf, middle, np.inf):
        masks = predictor.decode_points(embedding, points, iou_thresh=thresh)
        point, candidate = np.nonzero(answer.iou_pred >= thresh)
        np.testing.assert_array_equal(masks.point_index, point)
        np.testing.assert_allclose(masks.logits, answer.logits[point, candidate], atol=1e-4)
        np.testing.assert_allclose(masks.iou_pred, answer.iou_pred[point, candidate], atol=1e-5)


def test_converted_graphs_are_kept_and_used_again(model, image, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path))
    first = predictor_of(model, "openvino").embed(image).features.grid
    kept = sorted(path.name for path in tmp_path.glob("openvino/*/*") if path.is_dir())
    assert {"encoder", "prepare"} <= set(kept)
    monkeypatch.setattr("samkit.backends.openvino_backend.convert", None)  # would fail if called
    assert torch.equal(predictor_of(model, "openvino").embed(image).features.grid, first)


@pytest.mark.slow
def test_a_model_is_converted_when_all_its_graphs_are_kept(model, image, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path))
    backend = predictor_of(model, "openvino").backend
    predictor_of(model, "openvino").embed(image)
    assert not backend.is_converted()
    backend.compile_all()
    assert backend.is_converted()
    monkeypatch.setattr("samkit.backends.openvino_backend.convert", None)  # would fail if called
    predictor_of(model, "openvino").backend.compile_all()


def changed_frequencies(model):
    other = copy.deepcopy(model)
    other.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(1.5)
    return other


@pytest.mark.slow
def test_graphs_of_one_decoder_with_other_positions_are_others(model, image, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path))
    other, answers = changed_frequencies(model), {}
    for backend, network in (("openvino", model), ("openvino", other), ("torch", other)):
        predictor = predictor_of(network, backend)  # the first one's graphs are cached
        embedding = predictor.embed(image)
        answers[backend] = predictor.predict(embedding, points=[[50, 40]], labels=[1]).logits
    scale = answers["torch"].std()
    np.testing.assert_allclose(
        answers["openvino"], answers["torch"], atol=3 * TOLERANCES["float32"] * scale
    )


def test_a_cached_graph_has_all_that_it_is_made_of_in_its_key(model):
    def paths(one):
        backend = predictor_of(one, "openvino").backend
        return {name: backend._path(name) for name in GRAPHS}

    own, positions = paths(model), paths(changed_frequencies(model))
    assert own == paths(copy.deepcopy(model))
    assert {name for name in own if own[name] != positions[name]} == {*own} - {"encoder"}
    other = copy.deepcopy(model)
    other.config = replace(model.config, encoder=replace(model.config.encoder, num_heads=1))
    assert {name for name in own if own[name] != paths(other)[name]} == {"encoder"}


def test_a_cache_that_cannot_be_written_is_done_without(model, image, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAMKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert predictor_of(model, "openvino").embed(image).features.grid.isfinite().all()


TINY_VIT = TinyViTConfig(
    embed_dims=(16, 16, 32, 32),
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_sizes=(7, 7, 7, 7),
    image_size=128,
    out_channels=32,
)


@pytest.mark.parametrize("config", [TINY_VIT, CONFIGS["tiny_edgetam"].encoder])
def test_folding_batch_norms_changes_nothing(config, randomise):
    """Nor does making RepViT's branches one convolution."""
    encoder = choose_encoder(config)
    randomise(encoder)
    pixels = torch.randn(1, 3, 128, 128)
    folded = fold_batch_norms(encoder)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, ConvNorm) for module in encoder.modules())
    mixers = [module for module in folded.modules() if isinstance(module, TokenMixer)]
    assert [mixer.conv1 for mixer in mixers] == [None] * len(mixers)
    with torch.no_grad():
        torch.testing.assert_close(folded(pixels), encoder(pixels), atol=2e-4, rtol=1e-4)


def choose_encoder(config):
    from samkit.models.sam import build_encoder

    return build_encoder(config).eval()


class TestChoice:
    def test_openvino_is_chosen_where_it_is_installed(self, model, monkeypatch):
        assert create_backend(model, device="cpu").info.backend == "openvino"
        monkeypatch.setattr(choose, "is_installed", lambda backend: backend == "torch")
        assert create_backend(model, device="cpu").info.backend == "torch"

    @pytest.mark.parametrize(("able", "precision"), [(True, "bfloat16"), (False, "float32")])
    def test_bfloat16_is_chosen_where_the_processor_has_it(
        self, model, monkeypatch, able, precision
    ):
        monkeypatch.setattr(choose, "computes_bfloat16", lambda: able)
        assert create_backend(model, backend="torch", device="cpu").info.precision == precision
        assert create_backend(model, backend="onnx", device="cpu").info.precision == "float32"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"backend": "tensorrt"}, "known are auto, torch, compile, openvino, onnx"),
            ({"precision": "int8"}, "known are float32, bfloat16, float16"),
            ({"backend": "onnx", "precision": "bfloat16"}, "computes in float32; got bfloat16"),
            ({"backend": "torch", "precision": "float16"}, "computes in float32 or bfloat16"),
            ({"threads": 0}, "threads must be at least 1; got 0"),
        ],
    )
    def test_what_cannot_be_is_told(self, model, refusal, options, message):
        with refusal(BackendError, message):
            create_backend(model, device="cpu", **options)

    @pytest.mark.parametrize("backend", ["openvino", "onnx"])
    def test_an_engine_that_is_not_installed_names_the_install_line(
        self, model, monkeypatch, refusal, backend
    ):
        monkeypatch.setattr(choose, "find_spec", lambda name: None)
        with refusal(BackendError, f"pip install '.[{backend}]'"):
            create_backend(model, backend=backend, device="cpu")

    def test_compile_needs_a_compiler(self, model, monkeypatch, refusal):
        monkeypatch.setattr("shutil.which", lambda name: None)
        with refusal(BackendError, "install g++"):
            create_backend(model, backend="compile", device="cpu")

    def test_threads_are_taken(self, model):
        before = torch.get_num_threads()
        try:
            backend = create_backend(model, backend="torch", threads=1, device="cpu")
            assert backend.info.threads == torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(before)

    def test_all_backends_are_named_on_the_command_line(self):
        from samkit.cli.options import BACKEND_NAMES, PRECISION_NAMES

        assert ("auto", *BACKENDS) == BACKEND_NAMES
        assert ("auto", *choose.PRECISIONS) == PRECISION_NAMES


TWO_BACKENDS = """
import gc, signal
import torch
from samkit.backends import create_backend
from samkit.models import CONFIGS, Sam, TokenMixer

model = Sam(CONFIGS["tiny"]).eval()
backends = [create_backend(model, backend="openvino", precision="float32") for _ in range(2)]
for backend in backends:
    backend.encode(torch.zeros(1, 3, 128, 128))
del backend
while backends:
    backends.pop(0)
    gc.collect()
came = []
signal.signal(signal.SIGTERM, lambda *_: came.append(1))
signal.raise_signal(signal.SIGTERM)
print(came)
"""


def test_signals_come_through_when_backends_are_gone():
    """Ctrl-C after several OpenVINO backends were gone was a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_BACKENDS], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[1]"), done.stderr


def test_openvino_sends_no_reports(model):
    create_backend(model, backend="openvino", precision="float32", device="cpu")
    from openvino.tools.ovc import telemetry

    assert [name for name in sys.modules if name.startswith("openvino_telemetry.")] == []
    assert type(telemetry).__module__ == "openvino.tools.ovc.telemetry_stub"


def test_openvino_ties_no_threads_to_cores(model, image, tmp_path, monkeypatch):
    """Processes of one thread each were all tied to the first core."""
    core, compiled = shared_core(), []
    compile_model = core.compile_model

    def compile_and_note(*args):
        compiled.append(compile_model(*args))
        return compiled[-1]

    monkeypatch.setattr(core, "compile_model", compile_and_note, raising=False)
    chosen = create_backend(model, backend="openvino", precision="float32", threads=1, device="cpu")
    Predictor(model, model_name="tiny", backend=chosen).embed(image)
    path = tmp_path / "graph.onnx"
    write_onnx(torch.nn.ReLU(), (torch.ones(1, 4),), path, inputs=["x"], axes={})
    open_openvino(path, threads=1)
    assert len(compiled) >= 2
    assert {one.get_property("ENABLE_CPU_PINNING") for one in compiled} == {False}


def test_float32_on_the_cpu_shares_the_weights(model):
    info = BackendInfo(backend="torch", precision="float32", device="cpu", threads=0)
    backend = TorchBackend(model, info)
    assert backend.encoder is model.image_encoder


def test_compiled_code_is_refused_in_a_forked_process(model, monkeypatch, refusal):
    monkeypatch.setenv("CXX", "true")  # nothing is compiled here
    monkeypatch.setattr(torch, "compile", lambda module: module)
    backend = create_backend(model, backend="compile", precision="float32", device="cpu")
    backend.check_process()
    backend.renew()  # what a fork calls
    with refusal(BackendError, 'backend "compile" on cpu', "forked", 'method "spawn"'):
        backend.check_process()


def test_gpus_are_refused_in_a_process_forked_after_their_use(monkeypatch, refusal):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose.choose_device(None).type == "cuda"
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with refusal(BackendError, "GPUs", "forked", 'method "spawn"'):
        choose.choose_device(None)
