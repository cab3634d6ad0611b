"""What a power cut leaves half written in a local table, set aside so that it can be opened.

What a newcomer would get wrong
    delta-rs does not sync. A commit that the log heard of was synced by us; one that it did not
    hear of may be there in name only, empty or full of zeros. Its rows are still in the log, and
    the next archivist writes them again.
    Nothing is deleted: the file gets `.torn` behind its name.
    Commits are synced in order, so behind a torn one nothing was heard of. Those of two archivists
    may wait to be synced together, and the disk keeps no order: a whole one may stand behind a
    torn one, and delta-rs would read it as if nothing were missing (seen). It goes too.
    What a whole checkpoint holds need not be read any more.
"""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def mend(root: Path) -> list[Path]:
    """Set torn files of the table at `root` aside; where they were. Raises OSError."""
    log = root / "_delta_log"
    torn: list[Path] = []
    since = ""
    for path in sorted(log.glob("[0-9]*.checkpoint*.parquet"))[-1:]:
        if _checkpoint_is_whole(path):
            since = path.name
        else:
            torn += [path, *log.glob("_last_checkpoint")]
    commits = [path for path in sorted(log.glob("[0-9]*.json")) if path.name > since]
    whole = list(takewhile(_commit_is_whole, commits))
    torn += commits[len(whole) :]
    for path in reversed(torn):  # Else a power cut now would leave a whole one behind a gap.
        path.rename(path.with_name(path.name + ".torn"))
    return torn


def _commit_is_whole(path: Path) -> bool:
    """A commit is JSON objects, one a line, at least one."""
    try:
        return all([isinstance(json.loads(line), dict) for line in _lines(path)] or [False])
    except ValueError:
        return False


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().strip().splitlines()


def _checkpoint_is_whole(path: Path) -> bool:
    try:
        pq.read_table(path, columns=[])
    except (pa.ArrowException, OSError):
        return False
    return True
