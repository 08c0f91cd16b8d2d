"""XML files of unknown content and encoding."""

import os
from pathlib import Path
from xml.etree import ElementTree as ET

from samkit.errors import DataError
from samkit.files import read_text

HEAD_BYTES = 2**16  # in which an XML file's first element begins
# What the parser raises: for encodings, it is none of its own errors.
BAD_XML = (ET.ParseError, ValueError, LookupError)


class _DoctypeError(Exception):
    """An XML file has a document type."""


class _TreeBuilder(ET.TreeBuilder):
    def doctype(self, *_names: str | None) -> None:
        raise _DoctypeError


class _RootFoundError(Exception):
    """An XML file's first element, found: nothing of its content is read."""


class _RootFinder:
    def doctype(self, *_names: str | None) -> None:
        raise _DoctypeError

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        raise _RootFoundError(tag)


def _parse_xml(content: bytes | str) -> ET.Element:
    # Without document types, the only danger is size.
    parser: ET.XMLParser[ET.Element] = ET.XMLParser(target=_TreeBuilder())  # noqa: S314
    parser.feed(content)
    return parser.close()


def parse_xml(text: str, *, name: str) -> ET.Element:
    """Parse XML that came from elsewhere.

    Args:
        name: what it is, for messages.

    Raises:
        DataError: it is not XML, or has a document type, whose entities could fill the memory.
    """
    try:
        return _parse_xml(text)
    except BAD_XML as error:
        raise DataError(f"{name} is not XML: {error}") from error
    except _DoctypeError as error:
        raise DataError(f"{name} has a document type: remove <!DOCTYPE ...>") from error


def read_xml(path: str | os.PathLike[str]) -> ET.Element:
    """Read an XML file, in the encoding that it declares or in one of those of `read_text`.

    Raises:
        DataError: missing, not XML, or with a document type, whose entities could fill the memory.
    """
    try:
        return _parse_xml(Path(path).read_bytes())
    except (OSError, *BAD_XML):
        try:
            return _parse_xml(read_text(path))
        except BAD_XML as error:
            raise DataError(f"{os.fspath(path)} is not XML: {error}") from error
    except _DoctypeError as error:
        raise DataError(f"{os.fspath(path)} has a document type: remove <!DOCTYPE ...>") from error


def xml_root(path: str | os.PathLike[str]) -> str:
    """Name of an XML file's first element; empty if it is not XML."""
    try:
        with open(path, "rb") as file:
            ET.XMLParser(target=_RootFinder()).feed(file.read(HEAD_BYTES))  # noqa: S314 - no content
    except _RootFoundError as found:
        return str(found)
    except (OSError, _DoctypeError, *BAD_XML):
        return ""
    return ""
