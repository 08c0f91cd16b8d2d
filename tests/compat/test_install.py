"""`samkit.compat.install()` in programs of their own, which know the original packages only."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from samkit.weights import to_sam2_original

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


VIDEO_PROGRAM = """
import os

import numpy as np
import torch
from PIL import Image
from sam2.build_sam import build_sam2, build_sam2_video_predictor
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.sam2_image_predictor import SAM2ImagePredictor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def follow(model_cfg, sam2_checkpoint, video_dir):
    predictor = build_sam2_video_predictor(model_cfg, sam2_checkpoint, device=device)
    names = [name for name in os.listdir(video_dir) if name.endswith(".jpg")]
    names.sort(key=lambda name: int(os.path.splitext(name)[0]))
    inference_state = predictor.init_state(video_path=video_dir)
    predictor.reset_state(inference_state)
    prompts = {}  # for drawing
    for obj_id, x in ((2, 30), (3, 70)):
        points, labels = np.array([[x, 20]], dtype=np.float32), np.array([1], np.int32)
        prompts[obj_id] = points, labels
        _, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
            inference_state=inference_state,
            frame_idx=0,
            obj_id=obj_id,
            points=points,
            labels=labels,
        )
    first = Image.open(os.path.join(video_dir, names[0]))
    for i, out_obj_id in enumerate(out_obj_ids):
        mask = (out_mask_logits[i] > 0.0).cpu().numpy()
        assert mask.shape[-2:] == first.size[::-1]
    video_segments = {}
    for out_frame_idx, out_obj_ids, out_mask_logits in predictor.propagate_in_video(
        inference_state
    ):
        video_segments[out_frame_idx] = {
            out_obj_id: (out_mask_logits[i] > 0.0).cpu().numpy()
            for i, out_obj_id in enumerate(out_obj_ids)
        }
    assert sorted(video_segments) == list(range(len(names)))
    points = np.concatenate([prompts[2][0], np.array([[40, 50]], dtype=np.float32)])
    _, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
        inference_state=inference_state,
        frame_idx=1,
        obj_id=2,
        points=points,
        labels=np.array([1, 0], np.int32),
    )
    return video_segments[len(names) - 1][2].shape, out_obj_ids


def segment(model_cfg, sam2_checkpoint, image):
    sam2_model = build_sam2(model_cfg, sam2_checkpoint, device=device, apply_postprocessing=False)
    predictor = SAM2ImagePredictor(sam2_model)
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(
        point_coords=np.array([[30, 20]]), point_labels=np.array([1]), multimask_output=True
    )
    order = np.argsort(scores)[::-1]
    masks, _, _ = predictor.predict(
        point_coords=np.array([[30, 20], [50, 20]]),
        point_labels=np.array([1, 1]),
        mask_input=logits[order][0][None, :, :],
        multimask_output=False,
    )
    generator = SAM2AutomaticMaskGenerator(sam2_model, points_per_side=2)
    return masks.shape, isinstance(generator.generate(image), list)
"""


def test_programs_for_sam2_run_unchanged(tmp_path, tiny_sam2):
    (tmp_path / "their_program.py").write_text(VIDEO_PROGRAM)
    torch.save({"model": to_sam2_original(tiny_sam2.state_dict())}, tmp_path / "tiny.pt")
    (tmp_path / "video").mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (3, 60, 100, 3), np.uint8)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "video" / f"{number:05d}.jpg")
    code = (
        "import samkit.compat; samkit.compat.install()\n"
        "import numpy as np, their_program, sam2.utils.amg, sam2.modeling.sam2_base\n"
        "print(their_program.follow('tiny_sam2', 'tiny.pt', 'video'))\n"
        "image = np.full((40, 60, 3), 90, np.uint8)\n"
        "print(their_program.segment('tiny_sam2', 'tiny.pt', image))\n"
        "home = 'samkit.compat.sam2'\n"
        "assert sam2.modeling.sam2_base.SAM2Base.__module__ == home + '.modeling.sam2_base'\n"
        "assert sam2.utils.amg.MaskData.__name__ == 'MaskData'\n"
    )
    assert run_python(code, tmp_path).splitlines() == [
        "((1, 60, 100), [2, 3])",
        "((1, 40, 60), True)",
    ]


def test_only_the_packages_that_are_named_are_replaced(tmp_path):
    code = """
import importlib.util, sys, types, samkit.compat
sys.modules["sam2"] = types.ModuleType("sam2")  # the original
samkit.compat.install("segment_anything")
import segment_anything
print(segment_anything.__name__, sys.modules["sam2"].__name__)
try:
    samkit.compat.install()
except samkit.compat.AlreadyImportedError as error:
    print(error)
try:
    samkit.compat.install("sam3")
except samkit.SamkitError as error:
    print(error)
"""
    names, already, unknown = run_python(code, tmp_path).splitlines()
    assert names == "samkit.compat.segment_anything sam2"
    assert already.startswith("sam2 is imported already, from elsewhere: call")
    assert already.endswith("or name the packages to replace: install('segment_anything')")
    assert unknown == "there is no replacement for 'sam3', only for segment_anything, sam2"


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
