"""Folds runs again whose checkpoints this code cannot read, with the verdicts they were given.

What a newcomer would get wrong
    The whole partition is read, and only the runs in question are folded. Where the log no
    longer goes back to a run's start, nobody can say what it may still use: it counts as ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ledger.core.events import Record, RunStarted
from ledger.core.lifecycle import POLICY_RUN
from ledger.core.verdicts import Verdict
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import ANNOUNCED, Published
from ledger.wire import UnreadableEvent

from .marker import Marker
from .partition import PartitionMemory
from .refusals import read


async def fold_again(
    reader: Reader, place: Place, memory: PartitionMemory, stale: set[str], marker: Marker
) -> None:
    """Bring the `stale` runs in `memory` to where the marker is."""
    events, verdicts = place.topic("events"), place.topic("verdicts")
    number = memory.state.partition
    begin, _ = await reader.bounds(events, number)
    said_from, _ = await reader.bounds(verdicts, number)
    names = {POLICY_RUN.encode(), *(run.encode() for run in stale)}
    said, whole_from = await _said(reader, verdicts, number, said_from, marker, names)
    async for record in _records(reader, events, number, begin, marker.offset):
        if record.key not in names:
            continue
        try:
            event = read(record)
        except UnreadableEvent:
            continue
        memory.apply(Record(record.offset, record.timestamp, event), said.get(record.offset))
        if isinstance(event, RunStarted) and record.offset < whole_from:
            memory.state.runs.pop(event.run, None)
    memory.advance(marker.offset, 0)
    for run in sorted(stale - memory.state.runs.keys() - memory.state.ended.keys()):
        memory.give_up(run)


async def _said(
    reader: Reader, topic: str, number: int, begin: int, marker: Marker, names: set[bytes]
) -> tuple[dict[int, Verdict], int]:
    """The verdicts on these runs, by offset, and an offset from which on none was trimmed."""
    rule = Published()
    found: dict[int, Verdict] = {}
    _, end = await reader.bounds(topic, number)
    async for record in _records(reader, topic, number, begin, end):
        if record.key != ANNOUNCED and record.key not in names:
            continue
        try:
            verdict = rule.take(record.key, record.value or b"")
        except UnreadableEvent:
            continue
        if verdict is not None:
            found[verdict.offset] = verdict
    if begin == 0:
        return found, 0
    return found, min(found, default=marker.offset) + 1


async def _records(
    reader: Reader, topic: str, number: int, begin: int, end: int
) -> AsyncIterator[Any]:
    async for records in reader.read(topic, number, begin, end):
        for record in records:
            yield record
