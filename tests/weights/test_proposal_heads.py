"""The proposal head in the package; files of heads are tested where they are trained and used."""

from pathlib import Path

from samkit.files import file_sha256
from samkit.weights.proposal_heads import EMBEDDED_HEADS

NOTICE = Path(__file__).parents[2] / "NOTICE"


def test_the_embedded_head_is_the_one_that_is_declared() -> None:
    (path,) = EMBEDDED_HEADS
    notice = NOTICE.read_text()
    assert f"src/samkit/weights/embedded/{path.name}" in notice
    assert file_sha256(path) in notice
