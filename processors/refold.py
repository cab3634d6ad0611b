"""Folds runs again whose checkpoints this code cannot read, with the verdicts they were given.

What a newcomer would get wrong
    The whole partition is read, and only the runs in question are folded. Where the log no
    longer goes back to a run's start, nobody can say what it may still use: it counts as ended.
"""

from __future__ import annotations

from typing import Any

from ledger.core.events import Record, RunStarted
from ledger.core.lifecycle import POLICY_RUN
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import Heard
from ledger.wire import UnreadableEvent

from .marker import Marker
from .partition import PartitionMemory
from .refusals import read
from .said import Said


async def fold_again(
    reader: Reader, place: Place, memory: PartitionMemory, stale: set[str], marker: Marker
) -> None:
    """Bring the `stale` runs in `memory` to where the marker is."""
    events, verdicts = place.topic("events"), place.topic("verdicts")
    number = memory.state.partition
    begin, _ = await reader.bounds(events, number)
    said_from, said_to = await reader.bounds(verdicts, number)
    names = {POLICY_RUN.encode(), *(run.encode() for run in stale)}
    said = Said(place, number, Heard(), said_to, gone_to=said_from, names=names)
    async for records in reader.read(events, number, begin, marker.offset):
        await said.ahead(records[-1].offset)
        for record in records:
            if record.key in names:
                _apply(memory, record, said)
    memory.advance(marker.offset, 0)
    for run in sorted(stale - memory.state.runs.keys() - memory.state.ended.keys()):
        memory.give_up(run)


def _apply(memory: PartitionMemory, record: Any, said: Said) -> None:
    """Apply one record, if it is an event, unless its run cannot be known."""
    try:
        event = read(record)
    except UnreadableEvent:
        return
    verdict = said.of(record.offset)
    memory.apply(Record(record.offset, record.timestamp, event), verdict)
    if isinstance(event, RunStarted) and record.offset < said.whole_from:
        memory.state.runs.pop(event.run, None)
