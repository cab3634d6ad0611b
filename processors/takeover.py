"""Takes a partition over: fences who had it, brings its state back, announces a generation.

What a newcomer would get wrong
    The order is the protocol (PROTOCOLS 1, 5). Fence first: nothing that the owner before us
    commits after that counts. Claim the generation in a transaction: of two who take over at
    once only one can. Announce it in the verdict log, and read that log up to the announcement:
    what is found counts, and what an older generation says later counts for nobody.
    Where to go on is the checkpoint's marker, never the group's offset. Without a marker the
    partition is folded from its start, with the verdicts that were published.
    What is before the topics' begin comes from the archive, where there is one: it is folded
    before the feed begins.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from ledger.core.lifecycle import FOLD_VERSION
from ledger.judge.checkpoint import MARKER
from ledger.judge.restore import load_notes, load_runs
from ledger.log import JudgeTooOld
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_outbox import Letter, Outbox
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published, announcement
from ledger.wire import UnreadableEvent

from .archived import Archived
from .continuity import Older, goes_on
from .marker import Marker
from .pace import AT_ONCE_RUNS, PIECE_RECORDS_BEHIND, give_way
from .partition import Boxes, Partition, PartitionMemory, Shared, let_go
from .refold import fold_again
from .said import Said


async def take_over(
    place: Place,
    group: str,
    number: int,
    *,
    partitions: int,
    failing: dict[int, str],
    shared: Shared | None = None,
) -> Partition:
    """Partition `number`, restored and ours. The feed must go on from its `memory.next_offset`.

    Partitions of one judge have one `shared`.

    Raises NotOwner and OutboxFailed (try again), LogBroken, JudgeTooOld (do not), ArchiveFailed,
    and FoldFailed for an event from the archive.
    """
    checkpoints, shared = Checkpoints(place, group, number), shared or Shared(place)
    archived = Archived(place, number, shared.archive)
    sender: Any = None
    boxes: Boxes | None = None
    try:
        await checkpoints.open()
        async with Reader(place) as reader:
            rows, marker, older = await _claim(reader, place, number, checkpoints, archived)
            sender = await shared.producers.take()
            boxes = _boxes(sender, place, number)
            boxes.verdicts.put(
                Letter(ANNOUNCED, announcement(marker.generation, version=FOLD_VERSION))
            )
            announced = await boxes.verdicts.mark()
            said = await _said(reader, place, number, marker, announced, archived)
            memory = await _memory(reader, place, number, rows, marker)
        partition = Partition(
            number, partitions=partitions, memory=memory, marker=marker, said=said,
            checkpoints=checkpoints, boxes=boxes, sender=sender, failing=failing, shared=shared,
        )  # fmt: skip
        await _fold_older(partition, archived, older)
        return partition
    except BaseException:
        if boxes is not None:
            boxes.close()
        await let_go(checkpoints, shared.producers, sender, failed=True)
        raise


async def _claim(
    reader: Reader, place: Place, number: int, checkpoints: Checkpoints, archived: Archived
) -> tuple[dict[str, bytes], Marker, Older]:
    """The rows of the checkpoint, the marker under which the next generation is claimed, and what
    is to be folded from the archive.
    """
    rows: dict[str, bytes] = await checkpoints.load()
    gone: dict[str, bytes | None] = {}
    found = _marker(rows)
    if found is None:
        gone, rows = dict.fromkeys(rows), {}
        found = await _without(reader, place.topic("verdicts"), number, archived)
    if found.version > FOLD_VERSION:
        raise JudgeTooOld(place.topic("events"), version=FOLD_VERSION, needed=found.version)
    found, older = await goes_on(reader, place, number, found, archived)
    marker = found._replace(generation=found.generation + 1, version=FOLD_VERSION)
    await checkpoints.write({**gone, MARKER: marker.row()})
    await checkpoints.commit(marker.offset, marker.note())
    return rows, marker, older


def _boxes(sender: Any, place: Place, number: int) -> Boxes:
    return Boxes(
        verdicts=Outbox(sender, place.topic("verdicts"), number),
        control=Outbox(sender, place.topic("control"), 0),
        refused=Outbox(sender, place.topic("refused"), 0),
        events=Outbox(sender, place.topic("events"), number),
    )


def _marker(rows: dict[str, bytes]) -> Marker | None:
    """How far the checkpoint goes. None where it does not say: its rows are worth nothing."""
    try:
        return Marker.of(rows.pop(MARKER))
    except (KeyError, TypeError, ValueError):
        return None


async def _without(reader: Reader, topic: str, number: int, archived: Archived) -> Marker:
    """Where to begin without a checkpoint: at 0, above every generation that spoke."""
    begin, end = await reader.bounds(topic, number)
    rule, generation, version = Published(), 0, 0
    for value in await archived.announcements() if begin else []:
        with suppress(UnreadableEvent):
            rule.take(ANNOUNCED, value)
            version = max(version, int(from_json(value).get("version", 0)))
    async for records in reader.read(topic, number, begin, end):
        for record in records:
            with suppress(UnreadableEvent):
                verdict = rule.take(record.key, record.value or b"")
                if verdict is not None:  # What announced its generation may be trimmed.
                    generation = max(generation, verdict.generation)
                    version = max(version, verdict.version)
    return Marker(generation=max(generation, rule.generation), version=version)


async def _said(
    reader: Reader, place: Place, number: int, marker: Marker, end: int, archived: Archived
) -> Said:
    """What was said after the checkpoint, the beginning of it at hand."""
    begin, _ = await reader.bounds(place.topic("verdicts"), number)
    missing = await archived.missing("verdicts", marker.pos, begin)
    gone_to = missing[-1][1] + 1 if missing else 0
    start = Heard(marker.pos, marker.heard)
    said = Said(place, number, start, end, archived=archived, begin=begin, gone_to=gone_to)
    await said.read(reader)
    return said


async def _fold_older(partition: Partition, archived: Archived, older: Older) -> None:
    """Fold what only the archive has; the feed can go on behind it."""
    for first, last in older.ranges:
        at = first
        while at <= last:
            records, at = await archived.some("events", at, last + 1)
            for begin in range(0, len(records), PIECE_RECORDS_BEHIND):
                piece = records[begin : begin + PIECE_RECORDS_BEHIND]
                await give_way()
                await partition.ready(piece)
                partition.fold(piece)
            if partition.due():
                await partition.checkpoint()
    partition.memory.advance(max(older.until, partition.memory.next_offset), 0)


async def _memory(
    reader: Reader, place: Place, number: int, rows: dict[str, bytes], marker: Marker
) -> PartitionMemory:
    memory, stale = PartitionMemory(number), set()
    load_notes(memory, rows)
    while rows:
        some = dict(rows.popitem() for _ in range(min(AT_ONCE_RUNS, len(rows))))
        stale |= load_runs(memory, some, lambda: None)
        await give_way()
    memory.advance(marker.offset, 0)
    if stale:
        await fold_again(reader, place, memory, stale, marker)
    memory.sort_ended()
    memory.watch()
    return memory
