"""Files of the archive: durable on a local disk, and described so that readers skip them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
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


def sync_commits(log: Path, first: int, last: int) -> None:
    """Wait until these versions of a table are on the disk, as far as it takes them to open it.

    Somebody else's may lie between ours, and its maker may have died before syncing it. They are
    synced in order, so that none is there of which what it builds on is not. What is before a
    checkpoint is in the checkpoint.
    """
    begin, end = f"{first:020}", f"{last + 1:020}"
    commits = sorted(entry for entry in log.iterdir() if begin <= entry.name < end)
    checkpoints = [at for at, entry in enumerate(commits) if ".checkpoint." in entry.name]
    for entry in (*commits[max(checkpoints, default=0) :], log / "_last_checkpoint", log):
        with suppress(FileNotFoundError):  # Who writes a checkpoint tidies away what is old.
            sync(entry)


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
