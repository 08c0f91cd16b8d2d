"""Damaging documents and files at random, in the same way in each run."""

import copy

# What a value may be instead, and what may stand in a text.
VALUES = [
    None,
    True,
    -1,
    0,
    1,
    31,
    0.5,
    1e300,
    10**400,
    "",
    "x",
    "7",
    [],
    {},
    [[]],
    [None],
    "\ud800",
    "\0",
]
PIECES = [
    b"nan",
    b"-1",
    b"1e999",
    b"<",
    b"&amp;",
    b"\xff",
    b"\x00",
    b"9" * 30,
    b" ",
    b"[",
    b":",
    b",",
]


def nodes(document):
    """All places in a document: container and key."""
    found = []
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        found.append((document, key))
        if isinstance(value, dict | list):
            found += nodes(value)
    return found


def damaged_document(document, rng):
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 2)):
        container, key = rng.choice(nodes(document) or [([0], 0)])
        if rng.random() < 0.2 and isinstance(container, dict):
            del container[key]
        else:
            container[key] = copy.deepcopy(rng.choice(VALUES))
    return document


def damaged_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((0, 1, 1, 2, 8, 40))
        data[at : at + length] = rng.choice((b"", rng.choice(PIECES), bytes(data[:length])))
    return bytes(data)
