"""Fenced code blocks of the documents, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: path below the repository.
        line: number of its first line of code.
        language: after the fence; "" for drawings and the like.
        text: all between the fences.
    """

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command line; `where` is its page with the number of its first line."""

    where: str
    words: tuple[str, ...]

    def starts_with(self, prefix: str) -> bool:
        """Whether it begins with the words of a prefix."""
        expected = tuple(prefix.split())
        return self.words[: len(expected)] == expected


def read_blocks(page: str, language: str) -> list[Block]:
    """The blocks of a page in one language, in their order."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2])
        for found in FENCE.finditer(text)
        if found[1] == language
    ]


def read_commands(page: str) -> list[Command]:
    """The command lines of a page's ```bash blocks, comments left out, continuations joined."""
    commands = []
    for block in read_blocks(page, "bash"):
        pending, start = "", 0
        for number, line in enumerate(block.text.splitlines(), block.line):
            start = start if pending else number
            pending += line.removesuffix("\\")
            if line.endswith("\\"):
                continue
            words = shlex.split(pending, comments=True)
            if words:
                commands.append(Command(f"{page}:{start}", tuple(words)))
            pending = ""
    return commands
