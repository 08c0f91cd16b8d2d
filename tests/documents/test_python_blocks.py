"""Every Python block in the documents runs unchanged, page by page."""

from __future__ import annotations

from pathlib import Path

import pytest

import samkit.training.settings
from documents.blocks import PAGES, read_blocks
from documents.shortened import SHORT_TRAINING
from samkit.proposals import AutoMaskConfig, AutoMasker

# tests/compat/test_docs.py runs those of compat.md, in a process of its own;
# tests/serving/test_docs.py those of serving.md, with a server.
ELSEWHERE = ("README.md", "docs/compat.md", "docs/serving.md")
LONG = ("docs/training.md", "docs/export.md", "docs/data-engine.md", "docs/video.md")
WITH_PYTHON = [page for page in PAGES if read_blocks(page, "python")]


@pytest.fixture(autouse=True)
def shortened(monkeypatch):
    """Fewer points and steps where a block does not say how many."""
    make, override = AutoMasker.__init__, samkit.training.settings.override

    def few_points(self, predictor, config=None, **options):
        make(self, predictor, config or AutoMaskConfig(points_per_side=4), **options)

    def few_steps(recipe, changes):
        return override(recipe, [*changes, *SHORT_TRAINING])

    monkeypatch.setattr(AutoMasker, "__init__", few_points)
    monkeypatch.setattr(samkit.training.settings, "override", few_steps)


def run_page(page):
    """Run all blocks of a page in one namespace, and return it."""
    names = {}
    for block in read_blocks(page, "python"):
        # Errors name the line of the page.
        code = "\n" * (block.line - 1) + block.text
        exec(compile(code, page, "exec"), names)
    return names


# By torch's older exporter to ONNX, which programs for the original use.
@pytest.mark.filterwarnings("ignore:::torch.onnx", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Exporting aten")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in LONG else [])
        for page in WITH_PYTHON
        if page not in ELSEWHERE
    ],
)
def test_blocks_run(page, folder):
    run_page(page)


def test_blocks_of_the_readme_give_what_their_comments_say(folder):
    names = run_page("README.md")
    assert names["result"].masks.shape == (3, 400, 600)
    assert names["cars"].phrases == ("a car",)
    assert names["cars"].best().masks.shape == (1, 1, 400, 600)
    assert names["boxes"].masks.shape == (2, 3, 400, 600)
    assert names["coco"][0]["area"] == names["refined"].masks.sum()
    assert Path("image.emb.safetensors").exists()
