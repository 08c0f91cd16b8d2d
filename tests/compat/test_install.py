"""`samkit.compat.install()` in programs of their own, which know `segment_anything` only."""

import subprocess
import sys

import pytest

PROGRAM = """
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer,
)
from segment_anything.utils.transforms import ResizeLongestSide

def build_sam_small():
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=64, embed_dim=16, depth=1, num_heads=2, out_chans=16, use_rel_pos=True
        ),
        prompt_encoder=PromptEncoder(16, (4, 4), (64, 64), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=16,
            transformer=TwoWayTransformer(depth=2, embedding_dim=16, num_heads=2, mlp_dim=32),
        ),
    )

sam_model_registry["small"] = build_sam_small

def segment(image, box):
    predictor = SamPredictor(sam_model_registry["small"]())
    assert isinstance(predictor.transform, ResizeLongestSide)
    predictor.set_image(image)
    return predictor.predict(box=box, multimask_output=False)[0]
"""


def run_python(code, folder, expect_failure=False):
    """What a fresh interpreter prints, in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert (done.returncode != 0) == expect_failure, done.stderr
    return done.stderr if expect_failure else done.stdout.strip()


def test_a_program_of_somebody_else_runs_unchanged(tmp_path):
    (tmp_path / "their_program.py").write_text(PROGRAM)
    code = (
        "import samkit.compat; samkit.compat.install(); samkit.compat.install()\n"
        "import numpy as np, their_program\n"
        "image = np.full((40, 60, 3), 90, np.uint8)\n"
        "mask = their_program.segment(image, np.array([20, 10, 40, 30]))\n"
        "print(mask.shape, mask.dtype)\n"
    )
    assert run_python(code, tmp_path) == "(1, 40, 60) bool"


def test_both_names_are_of_one_module(tmp_path):
    code = """
import importlib, sys, samkit.compat
samkit.compat.install()
assert "torch" not in sys.modules
import segment_anything.modeling.mask_decoder  # the alias first
import samkit.compat.segment_anything.utils.amg  # the home first
import segment_anything.utils.amg
from segment_anything import utils, SamPredictor
home = "samkit.compat.segment_anything"
for name in ("", ".modeling", ".modeling.mask_decoder", ".utils", ".utils.amg", ".build_sam",
             ".utils.onnx", ".modeling.common", ".predictor", ".automatic_mask_generator"):
    alias, own = (importlib.import_module(root + name) for root in ("segment_anything", home))
    assert alias is own, name
    assert own.__name__ == own.__spec__.name == home + name, own.__spec__
assert segment_anything.modeling is sys.modules[home].modeling
assert utils.amg is sys.modules[home + ".utils.amg"]
assert SamPredictor.__module__ == home + ".predictor"
assert importlib.reload(segment_anything.utils.amg) is utils.amg
print(sum(type(finder).__name__ == "AliasFinder" for finder in sys.meta_path))
"""
    assert run_python(code, tmp_path) == "1"


def test_modules_that_are_not_there_are_not_found(tmp_path):
    code = """
import importlib.util, samkit.compat
samkit.compat.install()
assert importlib.util.find_spec("segment_anything.build_sam3") is None
assert importlib.util.find_spec("segment_anything_fast") is None
assert importlib.util.find_spec("segment_anything.utils.amg") is not None
try:
    import segment_anything.build_sam3
except ModuleNotFoundError as error:
    print(error)
"""
    assert run_python(code, tmp_path) == "No module named 'segment_anything.build_sam3'"


@pytest.mark.parametrize("imported", [True, False])
def test_the_original_is_replaced_only_before_it_is_imported(tmp_path, imported):
    folder = tmp_path / "segment_anything"
    folder.mkdir()
    (folder / "__init__.py").write_text("SamPredictor = 'the original'\n")
    first = "import segment_anything\n" if imported else ""
    code = (
        f"{first}import samkit.compat\nsamkit.compat.install()\n"
        "from segment_anything import SamPredictor\nprint(SamPredictor.__module__)\n"
    )
    printed = run_python(code, tmp_path, expect_failure=imported)
    if imported:
        message = printed.strip().splitlines()[-1]
        assert "AlreadyImportedError: segment_anything is imported already, from" in message
        assert "call samkit.compat.install() before" in message
    else:
        assert printed == "samkit.compat.segment_anything.predictor"
