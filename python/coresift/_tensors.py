"""Reads safetensors files, memory-mapped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_TYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, read-only. bf16, which NumPy does not have, comes as float32."""
    raw = np.memmap(path, mode="r", dtype="u1")
    size = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8 : 8 + size].tobytes())
    found = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in about["data_offsets"])
        data, kind = raw[begin:end], about["dtype"]
        if kind == "BF16":
            wide = data.view("<u2").astype("<u4") << np.uint32(16)
            found[name] = wide.view("<f4").reshape(about["shape"])
        elif kind in _TYPES:
            found[name] = data.view(_TYPES[kind]).reshape(about["shape"])
        else:
            raise ValueError(f"{path}: tensor {name!r} is of type {kind}, which NumPy does not have")
    return found
