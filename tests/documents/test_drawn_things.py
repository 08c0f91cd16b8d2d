"""The weights of the tutorial on words are those that their README names."""

import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "tutorials" / "drawn-things"


def test_weights_have_the_checksums_of_their_readme():
    named = dict(
        re.findall(
            r"^\| `(\S+)` \| `(\w{64})` \|$", FOLDER.joinpath("README.md").read_text(), re.MULTILINE
        )
    )
    weights = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.safetensors")}
    assert set(named) == weights
    for name, checksum in named.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == checksum
