"""Vocabulary (docs/names.md): words to avoid appear in neither code, documents nor the page."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "docs" / "names.md"
CODE = [*sorted((ROOT / "src").glob("**/*.py"))]
PAGE = [
    path
    for kind in ("js", "css", "html")
    for path in sorted((ROOT / "src/samkit/web/page").glob(f"**/*.{kind}"))
]
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path != LIST),
]
# Words, in the singular and in the plural, that stand nowhere: not in prose, not within a name.
WORDS = {
    "photo": "image",
    "goal": "target",
    "doubles": "duplicates",
    "deviation": "std",
    "engine": "backend",
    "codes": "embeddings, positional encodings, RLEs",
    "automask": "proposals",
}
# Words that are good English, but not within the name of a thing.
PARTS = {
    "kept": "cached",
    "told": "reported, warned",
    "spread": "sharded",
    "whole": "full",
    "barren": "empty",
}
# Names that said nothing.
RIDDLES = {
    "failing_together": "all_ranks_or_fail",
    "by_first": "rank0_broadcast",
    "count_true": "a name of what is counted",
    "shortages_told": "oom_hints",
    "saw_all": "a name of what was seen",
    "is_spread": "is_sharded",
    "tickets": "what the loader takes in turn",
    "remember": "prepare",
    "ImageMemory": "ImageContext",
    "UNBORN": "a name of the state",
    "note_state": "record_revision",
    "in_a_row": "a name of what is counted",
    "attend_freely": "a name of what it does",
    "forward_freely": "a name of what it does",
    "miss_no_teacher": "a name of what is checked",
    "travel": "a name of what it does",
    "readable": "without_broken, or a name of what is read",
    "numbered": "indexed",
    "attend_own": "attend",
    "memories_kept": "cache_size",
    "like": "a name of what it is",
}
# Phrases of prose, as regular expressions.
PHRASES = {
    r"(model|original|logits?'?|target|coordinate) frames?\b|\bframes? of coordinates": "space",
    r"\b[Kk]ept embeddings?\b": "cached embeddings",
}
# Where a word is right: the word, the path, what the line has, why.
ALLOWED = [
    ("photo", r"", r"a photo of|an? \w+ photo|PHOTO_TEMPLATE", "CLIP's published sentences"),
    ("photo", r"", r"photos?_|\"photos?[:\"]", "former names, which readers of older files know"),
    (
        "engine",
        r"src/samkit/(dataengine|cli/engine|web)/",
        r"",
        "the data engine, SQLAlchemy's",
    ),
    ("engine", r"", r"[Dd]ata[ -]engine|samkit engine|\[engine\]|cli[./]engine", "the data engine"),
    ("engine", r"", r"^engine = |^    engine,$|engine/ |^engine    ", "the data engine's verb"),
    (
        "engine",
        r"",
        r"\w,engine|engine,\w|extra `engine`|hint\(\"engine|\), \"engine\"\)",
        "the data engine's extra",
    ),
    ("codes", r"", r"([Ee]xit|[Ss]tatus|[Cc]losing)[ _]codes", "of processes and of HTTP"),
    ("deviation", r"", r"[Dd]eviations?( from|:)", "from a paper or from the reference"),
]


def words_of(text: str) -> set[str]:
    """The words of a line, also those within names, in lower case and in the singular."""
    found = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}
    return found | {word.removesuffix("s") for word in found}


def names_of(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Names in a file of Python or JavaScript with their line, without comments and prose."""
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
    elif path.suffix == ".js":
        for number, line in enumerate(text.splitlines(), 1):
            code = re.sub(r"^\s*/?\*.*|//.*|\"[^\"]*\"|'[^']*'|`[^`]*`", "", line)
            for name in re.findall(r"[A-Za-z_$][\w$]*", code):
                yield number, name


def faults_of(path: Path) -> Iterator[tuple[str, int, str]]:
    """The forbidden words of a file: the word, its line, what to use."""
    text, place = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for word in words_of(line) & WORDS.keys():
            if not is_allowed(word, place, line):
                yield word, number, WORDS[word]
        for phrase, better in PHRASES.items():
            if found := re.search(phrase, line):
                yield found[0].lower().replace(" ", "-"), number, better
    for number, name in names_of(path, text):
        for word in words_of(name) & PARTS.keys():
            yield word, number, PARTS[word]
        if name.lstrip("_") in RIDDLES:
            yield name.lstrip("_"), number, RIDDLES[name.lstrip("_")]


def is_allowed(word: str, place: str, line: str) -> bool:
    return any(
        word == allowed and re.match(where, place) and re.search(having, line)
        for allowed, where, having, _ in ALLOWED
    )


def all_faults() -> list[str]:
    """Forbidden words: a line for each place."""
    return [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {word}; better: {better} (docs/names.md)"
        for path in (*CODE, *PAGE, *DOCUMENTS)
        for word, number, better in faults_of(path)
    ]


def test_words_of_no_field_stand_nowhere():
    assert all_faults() == []


def test_all_forbidden_words_are_in_the_list():
    listed = LIST.read_text(encoding="utf-8")
    assert [word for word in WORDS if word.removesuffix("s") not in listed] == []
