"""The package's public names, and its lazy imports."""

import subprocess
import sys

import pytest

import samkit

PUBLIC = [
    "AutoMaskConfig",
    "AutoMasker",
    "BackendError",
    "ClassMasker",
    "ConfigError",
    "ConflictError",
    "DataError",
    "DatabaseError",
    "DownloadError",
    "EmbeddingError",
    "FormatError",
    "ImageEmbedding",
    "ImageError",
    "ImageSession",
    "MaskPrediction",
    "Masks",
    "MissingError",
    "OutputError",
    "Predictor",
    "PromptError",
    "Prompts",
    "RoleError",
    "SamkitError",
    "Store",
    "StoreError",
    "TrainingError",
    "VideoAnswer",
    "VideoError",
    "VideoPredictor",
    "WeightsError",
    "load_model",
    "read_image",
    "select",
    "train",
]


def run_python(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "samkit",
        "samkit.types, samkit.formats, samkit.drawing",
        "samkit.predict, samkit.proposals",
        "samkit.backends, samkit.weights",
        "samkit.datasets, samkit.training",
        "samkit.dataengine",
        "samkit.batch, samkit.benchmark, samkit.compat",
        "samkit.serving, samkit.serving.app, samkit.serving.pool, samkit.serving.client",
        "samkit.cli.main",
    ],
)
def test_torch_is_imported_only_when_needed(module):
    assert run_python(f"import sys, {module}; print('torch' in sys.modules)") == "False"


def test_importing_the_package_imports_nothing_else():
    heavy = "{'torch', 'numpy', 'cv2', 'PIL'} & set(sys.modules)"
    assert run_python(f"import sys, samkit; print({heavy})") == "set()"


def test_public_names_are_sorted_and_complete():
    assert samkit.__all__ == PUBLIC
    assert samkit.__all__ == sorted(samkit.__all__)
    assert set(samkit._HOMES) == set(samkit.__all__)
    assert set(samkit.__all__) < set(dir(samkit))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_come_from_their_homes(name):
    thing = getattr(samkit, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith(f"samkit.{samkit._HOMES[name]}")
    assert thing.__doc__


def test_all_names_can_be_imported_at_once():
    listed = "print(sorted(n for n in globals() if n[0] != '_'))"
    assert run_python(f"from samkit import *; {listed}") == str(PUBLIC)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'samkit' has no attribute 'Sam3'"):
        _ = samkit.Sam3


def test_version_is_a_version():
    assert all(part.isdigit() for part in samkit.__version__.split(".")[:2])
