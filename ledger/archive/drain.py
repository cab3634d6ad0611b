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
    bounds = bounds_of(look, committer.table.places())
    for (name, number), (begin, end) in bounds.items():
        position = committer.next((name, number))
        if begin > position:
            raise ArchiveGap(name, position, begin)
        if end < position:
            raise LogRewound(name, position - 1)
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


def _gather(look: KafkaLook, committer: Committer, bounds: Bounds) -> list[Segment]:
    """What comes next of each partition, as much as one commit takes."""
    segments: list[Segment] = []
    left = COMMIT_ROWS
    for (name, number), (_, end) in bounds.items():
        position = committer.next((name, number))
        if position < end and left > 0:
            segment = Segment(name, number, position)
            left -= segment.take(look.page(name, number, position, min(left, end - position)))
            segments.append(segment)
    return [one for one in segments if one.positions]
