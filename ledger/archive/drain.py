"""Archives what a log on Kafka holds by now, once; the archivists of a fleet do it all the time.

What a newcomer would get wrong
    It may run beside archivists: the table takes each record once, whoever comes first. What
    others were quicker with is not counted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.archive.committer import Committer, Where
from ledger.archive.errors import ArchiveGap, LogRewound
from ledger.archive.segment import Segment

if TYPE_CHECKING:
    from ledger.log.kafka import KafkaLog
    from ledger.log.kafka_look import KafkaLook

COMMIT_ROWS = 100_000
"""Rows of all partitions that one commit takes, about."""
Bounds = dict[Where, tuple[int, int]]


def drain(log: KafkaLog, location: str | Path) -> int:
    """Archive everything that the log holds by now at `location`, made when missing; the rows.

    Raises ArchiveForeign, ArchiveFailed, ArchiveGap and LogRewound where the log does not go on
    where the archive ends, LogUnreachable.
    """
    look = log.look()
    committer = Committer(location, look.log_id(), log.partitions)
    places = committer.table.places()
    # What is accepted as lost must be archived before what goes on behind it.
    first = [where for where in places if where[0] == "refused"]
    return sum(_drain(look, committer, some) for some in (first, places))


def _drain(look: KafkaLook, committer: Committer, places: Sequence[Where]) -> int:
    bounds = bounds_of(look, places)
    committer.table.refresh()  # Only now: what is archived may be trimmed at once.
    for (name, number), (_, end) in bounds.items():
        if end < committer.next((name, number)):
            raise LogRewound(name, committer.next((name, number)) - 1)
    total = 0
    while segments := _gather(look, committer, bounds):
        total += sum(len(one.positions) for one in committer.commit(segments))
    return total


def bounds_of(look: KafkaLook, places: Sequence[Where]) -> Bounds:
    """First and next position of each of these logs and partitions. Raises LogUnreachable."""
    bounds: Bounds = {}
    for name in dict.fromkeys(name for name, _ in places):
        found = look.bounds(name, [number for log, number in places if log == name])
        bounds |= {(name, number): one for number, one in found.items()}
    return bounds


def read_on(look: KafkaLook, segment: Segment, limit: int) -> int:
    """Take at most `limit` of what comes next into a segment; how many that were.

    Raises ArchiveGap where that was trimmed meanwhile, LogUnreachable.
    """
    name, number = segment.place
    records = look.page(name, number, segment.next, limit)
    if records and records[0].offset > segment.next:  # A mark of Kafka's, or trimmed.
        begin = look.bounds(name, [number])[number][0]
        if begin > segment.next:
            raise ArchiveGap(name, segment.next, begin, number)
    return segment.take(records)


def _gather(look: KafkaLook, committer: Committer, bounds: Bounds) -> list[Segment]:
    """What comes next of each partition, as much as one commit takes."""
    segments: list[Segment] = []
    left = COMMIT_ROWS
    for (name, number), (begin, end) in bounds.items():
        position = committer.next((name, number))
        if position < end and left > 0:
            accepted = look.lost(name, number) if begin > position else ()
            segment = committer.go_on((name, number), begin, accepted)
            left -= read_on(look, segment, min(left, end - segment.next))
            segments.append(segment)
    return [one for one in segments if one.positions]
