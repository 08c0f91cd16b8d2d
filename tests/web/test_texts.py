"""The texts of the page: all of them can be translated, and each table has exactly these.

The page's modules are read as tokens. A text is `t("...")`; with a plural, `tn("...", "...", n)`.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from pygments.lexers import JavascriptLexer
from pygments.token import Comment, String

import samkit.web

PAGE = Path(samkit.web.__file__).parent / "page"
SERVER = [PAGE.parent, PAGE.parent.parent / "dataengine"]
LANGUAGES = ["zh"]
TABLES = {f"texts.{language}.js" for language in LANGUAGES}
MODULES = [one for one in sorted(PAGE.glob("**/*.js")) if one.name not in TABLES]

# Calls whose arguments people read: from which argument on.
SHOWN = {"announce": 0, "banner": 1, "confirmDialog": 0, "el": 2, "field": 0, "formDialog": 0}
SHOWN |= {"notify": 0, "openDialog": 0, "tableOf": 0, "dataTable": 0}
# Properties that people read or hear.
SPOKEN = {
    "title",
    '"aria-label"',
    '"aria-description"',
    '"aria-valuetext"',
    "alt",
    "label",
    "placeholder",
}
# Names of formats, languages and units, which are the same everywhere.
NAMES = {
    "samkit",
    "COCO JSON",
    "COCO",
    "CVAT XML",
    "Datumaro",
    "GeoJSON",
    "Label Studio",
    "SA-1B",
    "IoU",
    "NaN",
}
NAMES |= {
    "LabelMe, X-AnyLabeling",
    "Pascal VOC",
    "CVAT for video",
    "COCO video (YouTube-VIS)",
    "DAVIS",
}
NAMES |= {"English", "Esc", "Ctrl ⏎", "px", "https://"}
# Classes of the style sheet and a font, which nobody reads.
NAMES |= {
    "class-row marked",
    "thread resolved",
    "tick unit",
    "lane chosen",
    "mark series-",
    "line series-",
}
NAMES |= {"badge", "column series-", "10px system-ui, sans-serif"}
# An example of a path, a value of a query.
NAMES |= {"run1/frames", "submitted accepted"}
KEYS = re.compile(
    r"(?:(?:Ctrl|Alt|Shift)\+?)+\S*|Enter|Escape|Space|Tab|Shift|Control|Alt|AltGraph|Meta|CapsLock|Dead"
    r"|Delete|Backspace|Home|End|Arrow\w+|Arrows|Page(?:Up|Down)|Content-Type|X-CSRF-Token"
)
# Selectors and media queries.
SELECTOR = r"(?:\.?[a-z]+)?(?:\[[^\]]*\]|:not\([^)]*\))*"
CODE = re.compile(rf"{SELECTOR}(?:, {SELECTOR})+|\([a-z-]+: [\w-]+\)")
CODE_FILES = {"icons.js", "rle.js"}  # paths of icons; faults that only developers see
CODE_FILES |= {
    "browser_decoder.js",
    "decoder_worker.js",
    "webgpu.js",
    "rle.js",
}  # faults that only developers see


class Token(NamedTuple):
    kind: str  # "text", "part" of a template, or "code"
    value: str
    line: int


@cache
def tokens(path):
    """A module's tokens without comments and spaces."""
    found, line = [], 1
    for kind, value in JavascriptLexer(stripnl=False).get_tokens(path.read_text()):
        if kind in String.Double:
            found.append(Token("text", json.loads(value), line))
        elif kind in String.Backtick and value != "`":
            found.append(Token("part", value, line))
        elif kind not in Comment and value.strip():
            found += [
                Token("code", one, line) for one in re.findall(r"[\w$.]+|=>|[=!]==?|\S", value)
            ]
        line += value.count("\n")
    return found


def keys_in(path):
    """The texts of a module, by their key: a text, or the pair of singular and plural."""
    all_tokens = tokens(path)
    found = {}
    for at, one in enumerate(all_tokens):
        if one.value not in ("t", "tn") or one.kind != "code" or all_tokens[at + 1].value != "(":
            continue
        if all_tokens[at - 1].value == "function":
            continue
        first = all_tokens[at + 2]
        assert first.kind == "text", f"{path.name}:{one.line}: a text must stand in its call"
        if one.value == "t":
            found[first.value] = (first.value,)
            continue
        many = all_tokens[at + 4]
        assert many.kind == "text", f"{path.name}:{one.line}: a plural must stand in its call"
        found[first.value] = (first.value, many.value)
    return found


@cache
def keys():
    return {key: forms for path in MODULES for key, forms in keys_in(path).items()}


@cache
def table_of(language):
    """The table of a language, which is JSON but for its frame."""
    text = (PAGE / f"texts.{language}.js").read_text()
    body = re.sub(r"^/\*\*.*?\*/\s*export default ", "", text, flags=re.DOTALL)
    pairs = json.loads(re.sub(r",\s*};\s*$", "}", body), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), "a text stands twice in the table"
    return {name: dict(text) if isinstance(text, list) else text for name, text in pairs}


def places(text):
    return sorted(set(re.findall(r"\{(\w+)\}", text)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_table_has_all_texts_and_no_others(language):
    table = table_of(language)
    assert sorted(keys().keys() - table.keys()) == [], "texts without a translation"
    assert sorted(table.keys() - keys().keys()) == [], "translations of no text"


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_places_of_their_texts(language):
    forms = [
        (key, form)
        for key, translated in table_of(language).items()
        for form in (translated.values() if isinstance(translated, dict) else [translated])
    ]
    assert [
        pair for pair in forms if not pair[1].strip() or places(pair[0]) != places(pair[1])
    ] == []


def test_both_numbers_have_the_same_places():
    pairs = [forms for forms in keys().values() if len(forms) == 2]
    assert [pair for pair in pairs if places(pair[0]) != places(pair[1])] == []
    assert [pair for pair in pairs if "n" not in places(pair[0])] == []


def is_prose(text):
    """Whether a text reads like one for people: words with spaces, or a capital first."""
    return bool(
        re.search(r"[A-Za-z]{2,}[,.:;]? [A-Za-z“]|\d [a-z]{2,}|^[A-Z][a-z]+|[a-z]{2,}[.…]$", text)
    )


def is_code(text):
    return text in NAMES or KEYS.fullmatch(text) or CODE.fullmatch(text) or text.startswith("./")


def untranslated(path):
    """Texts for people in a module that are not passed through t() or tn()."""
    found, brackets = [], [["", 0]]  # of each open bracket: what is called, number of the argument
    all_tokens = tokens(path)
    for at, (kind, value, line) in enumerate(all_tokens):
        before, after = all_tokens[at - 1], all_tokens[min(at + 1, len(all_tokens) - 1)]
        if kind == "code":
            follow(brackets, value, before)
        elif not is_code(value.strip()) and (
            is_prose_part(value)
            if kind == "part"
            else is_said(value, brackets[-1], before, after, all_tokens[at - 2])
        ):
            found.append(f"{path.name}:{line}: {value}")
    return found


def follow(brackets, value, before):
    if value in ("(", "[", "{"):
        brackets.append([before.value if value == "(" else value, 0])
    elif value in (")", "]", "}"):
        brackets.pop()
    elif value == ",":
        brackets[-1][1] += 1


def is_prose_part(text):
    """Whether a part of a template, between its values, has words."""
    return bool(re.search(r"[A-Za-z]{3,}[,.:]? |[,.] [a-z]{2,}|^ [a-z]{2,}", text))


def is_said(text, bracket, before, after, name):
    """Whether a text, by its place or its look, is for people, but not passed through t()."""
    called, argument = bracket
    if called in ("t", "tn") or before.value in ("===", "!==", "from"):
        return False
    if called == "{" and after.value == ":":
        return False  # the name of a property
    is_kind = called in ("notify", "banner") and argument > 0
    is_shown = called in SHOWN and argument >= SHOWN[called] and not is_kind
    is_spoken = before.value == ":" and name.value in SPOKEN
    return is_prose(text) or ((is_shown or is_spoken) and re.search("[A-Za-z]", text) is not None)


def test_all_that_is_shown_can_be_translated():
    modules = [path for path in MODULES if path.name not in CODE_FILES]
    assert [text for path in modules for text in untranslated(path)] == []


def test_known_lines_of_the_server_are_said_by_it():
    """The page's words for refusals go by the server's lines: who changes one, changes both."""
    sources = "".join(path.read_text() for place in SERVER for path in place.glob("**/*.py"))
    sources = re.sub(r'"\s+f?"', "", sources)  # lines of a long text
    patterns = re.findall(r"^  \[/\^(.*?)\$?/, ", (PAGE / "refusals.js").read_text(), flags=re.M)
    assert len(patterns) > 20
    for pattern in patterns:
        parts = re.split(r"\(\?<\w+>.*?\)|\(\?:.*?\)|\.\+|\\d\+|'\.\*'", pattern)
        longest = max(parts, key=len)
        assert longest in sources, f"the server no longer says: {longest}"
