"""Files of the archive: durable on a local disk, and described so that readers skip them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def sync(path: Path) -> None:
    """Wait until the file, or the directory's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def statistics(rows: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    """What Delta readers skip files by: counts, and the ends of these columns."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in names:
        ends = pc.min_max(rows[name]).as_py()
        nulls[name] = rows[name].null_count
        if ends["min"] is not None:
            low[name], high[name] = ends["min"], ends["max"]
    return {"numRecords": rows.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
