"""Where an archivist goes on with a partition: behind what the table holds, if the log does too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from ledger.archive.committer import Committer, Where
from ledger.archive.errors import LogRewound
from ledger.archive.segment import Segment
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_refused import lost

Aside = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does what waits for the archive in a thread of its own."""


class Standing(NamedTuple):
    """The empty `segment` of what comes next, and when the log took in what is before it.

    0: nobody knows.
    """

    segment: Segment
    append_ms: int


async def standing(
    place: Place,
    committer: Committer,
    aside: Aside,
    reader: Reader,
    where: Where,
    bounds: tuple[int, int],
) -> Standing:
    """Where to go on with a log and partition that begins and ends at `bounds`.

    The table must have been loaded after these were asked for: what is archived may be trimmed.

    Raises ArchiveGap where what comes next is gone and nobody accepted that, LogRewound,
    ArchiveFailed, KafkaError, KafkaUnreachable.
    """
    log, partition = where
    position, (begin, end) = committer.next(where), bounds
    if end < position:
        raise LogRewound(log, position - 1)
    if begin > position:
        return Standing(committer.go_on(where, begin, await lost(place, log, partition)), 0)
    segment = Segment(log, partition, position)
    if begin == position:
        return Standing(segment, 0)
    last = await aside(partial(committer.table.last, log, partition))
    async for records in reader.read(place.topic(log), partition, position - 1, position):
        if (records[0].value or b"") != last.value:
            raise LogRewound(log, position - 1)
        return Standing(segment, records[0].timestamp)
    return Standing(segment, 0)
