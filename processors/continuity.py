"""Whether the log goes on where a checkpoint ends, with the archive's help or without.

What a newcomer would get wrong
    What the topic no longer has is folded from the archive. What a person accepted as lost is
    not, also where the archive has it: judges went on without, so it is no part of the log.
    Offsets of another log mean other events, and budgets would be granted twice. So what was
    judged last must be what stands there, and archive and topic must agree where they meet.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.errors import LedgerError
from ledger.log.kafka_lost import uncovered
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_refused import lost

from .archived import Archived, Range
from .marker import Marker, Proof, proof


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
    """Events that no checkpoint has are gone: `first` to `last`. `why` the archive is no help."""

    def __init__(self, topic: str, partition: int, first: int, last: int, why: str = "") -> None:
        super().__init__(
            topic,
            partition,
            f"offsets {first} to {last} are gone, and neither a checkpoint nor the archive has "
            f"them{why and f' ({why})'}",
            f"bring them back, or go on without: `ledger topics accept-loss {partition} {first} "
            f"{last} --reason ...`",
        )
        self.first, self.last = first, last


class Older(NamedTuple):
    """Ranges of events to be folded before the topic's own, which begin at `until`."""

    ranges: list[Range]
    until: int


async def goes_on(
    reader: Reader, place: Place, number: int, marker: Marker, archived: Archived
) -> tuple[Marker, Older]:
    """The marker to go on from, and what to fold from the archive, if the log goes on where the
    checkpoint ends. Raises LogBroken.
    """
    topic = place.topic("events")
    begin, end = await reader.bounds(topic, number)
    if marker.offset > end:
        gone = f"it ends at offset {end}, and up to {marker.offset - 1} was judged"
        raise LogBroken(topic, number, gone)
    at, judged = marker.proof.offset, marker.proof
    if marker.offset >= begin:
        if at >= begin and await _proof_at(reader, topic, number, at) != judged:
            other = f"offset {at} is not what was judged there (unclean election, or made anew)"
            raise LogBroken(topic, number, other)
        return marker, Older([], begin)
    older = Older(uncovered(await lost(place, "events", number), marker.offset, begin - 1), begin)
    for first, last in older.ranges:
        if missing := await archived.missing("events", first, last + 1):
            raise EventsLost(topic, number, *missing[0], archived.why)
    if not older.ranges:
        return marker._replace(offset=begin, proof=Proof()), older
    now = await _proof_at(reader, topic, number, begin) if begin < end else Proof()
    for known in (judged, now):
        there = await archived.one("events", known.offset)
        if there is not None and proof(there) != known:
            other = f"the archive has another event at offset {known.offset}, it is of another log"
            raise LogBroken(topic, number, other, "name the archive of this one (--archive)")
    return marker, older


async def _proof_at(reader: Reader, topic: str, number: int, at: int) -> Proof:
    """What the topic has at an offset."""
    async for records in reader.read(topic, number, at, at + 1):
        return proof(records[0])
    return Proof()
