"""Takes a partition over: fences who had it, brings its state back, announces a generation.

What a newcomer would get wrong
    The order is the protocol (PROTOCOLS 1, 5). Fence first: nothing that the owner before us
    commits after that counts. Claim the generation in a transaction: of two who take over at
    once only one can. Announce it in the verdict log, and read that log up to the announcement:
    what is found counts, and what an older generation says later counts for nobody.
    Where to go on is the checkpoint's marker, never the group's offset. Without a marker the
    partition is folded from its start, with the verdicts that were published.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ledger.core.lifecycle import FOLD_VERSION
from ledger.errors import LedgerError
from ledger.judge.checkpoint import MARKER
from ledger.judge.restore import load_notes, load_runs
from ledger.log import JudgeTooOld
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_outbox import Letter, Outbox
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_refused import covered, lost
from ledger.log.kafka_verdicts import ANNOUNCED, Heard, Published, announcement
from ledger.wire import UnreadableEvent

from .marker import Marker, Proof, proof
from .pace import AT_ONCE_RUNS, give_way
from .partition import Boxes, Partition, PartitionMemory, Shared
from .refold import fold_again
from .said import Said


class LogBroken(LedgerError):
    """The events topic is not the one that was judged: cut off, trimmed too early, made anew."""

    REMEDY = "bring the events back, or start a new log under another prefix"

    def __init__(self, topic: str, partition: int, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(topic, partition, problem)
        self.topic, self.partition, self.problem, self.remedy = topic, partition, problem, remedy

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition} is not judged: {self.problem}; {self.remedy}"
        )


class EventsLost(LogBroken):
    """Events that no checkpoint has are gone: `first` to `last`."""

    def __init__(self, topic: str, partition: int, first: int, last: int) -> None:
        super().__init__(
            topic,
            partition,
            f"offsets {first} to {last} are gone, and no checkpoint has them",
            f"bring them back, or go on without: `ledger topics accept-loss {partition} {first} "
            f"{last} --reason ...`",
        )
        self.first, self.last = first, last


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

    Raises NotOwner and OutboxFailed (try again), LogBroken, JudgeTooOld (do not).
    """
    checkpoints, shared = Checkpoints(place, group, number), shared or Shared(place)
    sender: Any = None
    boxes: Boxes | None = None
    try:
        await checkpoints.open()
        async with Reader(place) as reader:
            rows, marker = await _claim(reader, place, number, checkpoints)
            sender = await shared.producers.take()
            boxes = _boxes(sender, place, number)
            boxes.verdicts.put(
                Letter(ANNOUNCED, announcement(marker.generation, version=FOLD_VERSION))
            )
            announced = await boxes.verdicts.mark()
            said = Said(place, number, Heard(marker.pos, marker.heard), announced)
            await said.read(reader)
            memory = await _memory(reader, place, number, rows, marker)
        return Partition(
            number, partitions=partitions, memory=memory, marker=marker, said=said,
            checkpoints=checkpoints, boxes=boxes, sender=sender, failing=failing, shared=shared,
        )  # fmt: skip
    except BaseException:
        if boxes is not None:
            boxes.close()
        await checkpoints.close()
        if sender is not None:
            await shared.producers.give_back(sender, failed=True)
        raise


async def _claim(
    reader: Reader, place: Place, number: int, checkpoints: Checkpoints
) -> tuple[dict[str, bytes], Marker]:
    """The rows of the checkpoint, and the marker under which the next generation is claimed."""
    rows: dict[str, bytes] = await checkpoints.load()
    gone: dict[str, bytes | None] = {}
    found = _marker(rows)
    if found is None:
        gone, rows = dict.fromkeys(rows), {}
        found = await _without(reader, place.topic("verdicts"), number)
    if found.version > FOLD_VERSION:
        raise JudgeTooOld(place.topic("events"), version=FOLD_VERSION, needed=found.version)
    found = await _check_log(reader, place, number, found)
    marker = found._replace(generation=found.generation + 1, version=FOLD_VERSION)
    await checkpoints.write({**gone, MARKER: marker.row()})
    await checkpoints.commit(marker.offset, marker.note())
    return rows, marker


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


async def _without(reader: Reader, topic: str, number: int) -> Marker:
    """Where to begin without a checkpoint: at 0, above every generation that spoke."""
    begin, end = await reader.bounds(topic, number)
    rule, generation, version = Published(), 0, 0
    async for records in reader.read(topic, number, begin, end):
        for record in records:
            with suppress(UnreadableEvent):
                verdict = rule.take(record.key, record.value or b"")
                if verdict is not None:  # What announced its generation may be trimmed.
                    generation = max(generation, verdict.generation)
                    version = max(version, verdict.version)
    return Marker(generation=max(generation, rule.generation), version=version)


async def _check_log(reader: Reader, place: Place, number: int, marker: Marker) -> Marker:
    """The marker to go on from, if the log goes on where the checkpoint ends. Raises LogBroken."""
    topic = place.topic("events")
    begin, end = await reader.bounds(topic, number)
    if marker.offset < begin:
        if not covered(await lost(place, number), marker.offset, begin - 1):
            raise EventsLost(topic, number, marker.offset, begin - 1)
        return marker._replace(offset=begin, proof=Proof())
    if marker.offset > end:
        gone = f"it ends at offset {end}, and up to {marker.offset - 1} was judged"
        raise LogBroken(topic, number, gone)
    at = marker.proof.offset
    if at < begin:
        return marker
    async for records in reader.read(topic, number, at, at + 1):
        if proof(records[0]) == marker.proof:
            return marker
    other = f"offset {at} is not what was judged there (unclean election, or made anew)"
    raise LogBroken(topic, number, other)


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
