"""How the archive goes on where its log on Kafka had lost what comes next.

What a newcomer would get wrong
    Nobody steps over a hole by himself: a person said that it is lost (`range_lost`), or that the
    archive begins behind it, and the first segment behind it says so for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.archive.begin import begins
from ledger.archive.chain import Hole
from ledger.archive.errors import ArchiveGap
from ledger.archive.rows import LogName
from ledger.archive.segment import Segment
from ledger.archive.table import Table
from ledger.log.kafka_lost import Lost, covered


def segment_behind(
    table: Table | None, where: tuple[LogName, int], begin: int, accepted: Iterable[Lost]
) -> Segment:
    """An empty segment of what comes next of a log and partition that begins at `begin`.

    `accepted` are its losses that count. Raises ArchiveGap unless they cover what is missing;
    without a table it does not say how to accept more: an archive elsewhere may have it all.
    """
    position = (table.next_position(*where) if table else None) or 0
    if begin <= position:
        return Segment(*where, position)
    declared = begins(table).get(where) if table else None
    accepted = [*accepted, *([declared] if declared else [])]
    said = [one for one in accepted if one.first < begin and one.last >= position]
    if not covered(said, position, begin - 1):
        raise ArchiveGap(where[0], position, begin, where[1] if table else None)
    return Segment(*where, position, Hole(begin, tuple(said)))
