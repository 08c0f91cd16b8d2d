"""Weights of torch.export's programs (.pt2), read as data: the programs themselves stay closed.

`torch.export.load` may run code that a file brings with it: pickles, expressions and guards that
Python evaluates. So only the table of tensors is read here, and their bytes.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samkit.errors import WeightsError
from samkit.files import reason

TABLE = "model_weights_config.json"
# Numbers of types in the table, as the format has them.
DTYPES = {5: torch.int64, 7: torch.float32}


def read_program_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a program by name; nothing in the file is run.

    Raises:
        WeightsError: the file is missing, damaged, or has its tensors as pickles.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tables = [name for name in archive.namelist() if name.endswith(f"/{TABLE}")]
            folder = tables[0].removesuffix(TABLE)
            table = json.loads(archive.read(tables[0]))["config"]
            return {
                name: read_tensor(archive, folder, entry, path) for name, entry in table.items()
            }
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {reason(error)}") from error
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged, or no program of torch.export") from error


def read_tensor(
    archive: zipfile.ZipFile, folder: str, entry: Mapping[str, Any], path: Path
) -> Tensor:
    """Read a tensor of an archive by its entry in the table.

    Raises:
        WeightsError: it is a pickle.
        ValueError: it does not fit its bytes.
    """
    if entry["use_pickle"]:
        raise WeightsError(f"{path} has pickles, which samkit does not open: export it again")
    meta = entry["tensor_meta"]
    shape, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
    start = meta["storage_offset"]["as_int"]
    raw = bytearray(archive.read(folder + entry["path_name"]))
    flat = torch.frombuffer(raw, dtype=DTYPES[meta["dtype"]])
    last = start + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if min([start, *shape, *strides]) < 0 or not math.prod(shape) or last >= len(flat):
        raise ValueError("a tensor is larger than its bytes")
    return flat.as_strided(shape, strides, start).clone()
