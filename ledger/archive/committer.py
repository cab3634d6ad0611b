"""Commits segments of many partitions at once, each record exactly once.

What a newcomer would get wrong
    Where a partition stands is in the table, as of the version that a commit builds on. A segment
    that does not begin there is not written: another archivist had the partition meanwhile, and
    whoever holds the segment starts again from where the table is.
    A commit that failed may have worked all the same (an answer that got lost). It then looks as
    if another had been quicker, which comes to the same.
    One thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import AddAction

from ledger.archive.archivist import RACES_MAX
from ledger.archive.chain import Bounds, Link, digest
from ledger.archive.errors import ArchiveFailed
from ledger.archive.holes import segment_behind
from ledger.archive.rows import LogName
from ledger.archive.segment import Segment
from ledger.archive.table import Behind, Table
from ledger.log.kafka_lost import Lost
from ledger.log.kafka_verdicts import Published

_HEARD = ["position", "type", "offset", "seq"]
Where = tuple[LogName, int]
"""A log and a partition of it."""


class Written(NamedTuple):
    """A segment on disk and in no version yet, with the facts of its commit."""

    segment: Segment
    file: AddAction
    facts: dict[str, Any]
    rule: tuple[int, int]
    """For verdicts: the generation in force and the last offset that counts, after it."""


class Committer:
    """Commits to the archive at `location` (made when missing) of the log `log_id` on Kafka.

    Raises ArchiveForeign, ArchiveFailed.
    """

    def __init__(
        self,
        location: str | Path,
        log_id: str,
        partitions: int,
        *,
        storage_options: dict[str, str] | None = None,
    ) -> None:
        self.table = Table.open_or_create(location, log_id, storage_options, partitions=partitions)
        self.conflicts = 0
        """How often another archivist's commit came first."""
        self._partitions = partitions
        self._after: dict[Where, tuple[int, bytes, tuple[int, int]]] = {}

    def next(self, where: Where) -> int:
        """The first position that is not archived, as of the version loaded."""
        return self.table.next_position(*where) or 0

    def go_on(self, where: Where, begin: int, accepted: Iterable[Lost]) -> Segment:
        """An empty segment of what comes next of a partition that begins at `begin`.

        Of the losses `accepted` those count that are archived themselves, so that the archive
        alone proves them. Raises ArchiveGap.
        """
        if where[0] != "refused":
            archived = self.next(("refused", 0))
            accepted = [one for one in accepted if one.pos < archived]
        return segment_behind(self.table, where, begin, accepted)

    def commit(self, segments: Sequence[Segment]) -> list[Segment]:
        """Commit those that begin where the table is, in one commit; which those are.

        Raises ArchiveFailed: then none may be there, or all.
        """
        written: dict[Where, Written] = {}
        for _ in range(RACES_MAX):
            self.table.refresh()
            due = [one for one in segments if one.positions and self.next(one.place) == one.first]
            if not due:
                return []
            for segment in due:
                if segment.place not in written:
                    written[segment.place] = self._write(segment)
            chosen = [written[segment.place] for segment in due]
            try:
                self.table.commit(
                    [one.file for one in chosen],
                    positions={one.segment.place: one.segment.next for one in chosen},
                    facts=[one.facts for one in chosen],
                )
            except Behind:
                self.conflicts += 1
                continue
            for one in chosen:
                end = bytes.fromhex(one.facts["digest"])
                self._after[one.segment.place] = one.segment.next, end, one.rule
            return due
        raise ArchiveFailed(self.table.location, f"others were quicker {RACES_MAX} times in a row")

    def _write(self, segment: Segment) -> Written:
        before, (generation, last) = self._before(segment)
        rule = Published(generation, last)
        rows = segment.rows(self._partitions, rule)
        bounds = Bounds(segment.first, segment.next)
        after = digest(before, segment.positions, segment.values, bounds, segment.hole)
        count = len(segment.positions)
        link = Link(after, bounds, segment.hole).pack()
        chain = pa.array([None] * (count - 1) + [link], pa.binary())
        facts = {
            "log": segment.log,
            "partition": segment.partition,
            "first": segment.first,
            "next": segment.next,
            "rows": count,
            "before": before.hex(),
            "digest": after.hex(),
            "hole": segment.hole.pack().decode() if segment.hole else "",
        }
        file = self.table.write(rows.set_column(rows.num_columns - 1, "chain", chain))
        return Written(segment, file, facts, (rule.generation, rule.last_offset))

    def _before(self, segment: Segment) -> tuple[bytes, tuple[int, int]]:
        """The digest before a segment, and for verdicts what was heard before it."""
        known = self._after.get(segment.place)
        if known is not None and known[0] == segment.first:
            return known[1], known[2]
        chain = Link.of(self.table.last(*segment.place).chain).digest
        said = heard(self.table, segment.partition) if segment.log == "verdicts" else (0, -1)
        return chain, said


def heard(table: Table, partition: int) -> tuple[int, int]:
    """The generation in force at the end of a verdict partition, and the last that counts."""
    files = [file for file in table.files() if file.log == "verdicts"]
    mine = [file for file in files if file.partition == partition]
    generation, seen, last = 0, -1, -1
    for file in sorted(mine, key=lambda one: one.last, reverse=True):
        if file.last < seen:
            break
        rows = pa.Table.from_batches(table.read(file, _HEARD))
        generation = max(generation, pc.max(rows["seq"]).as_py())
        counted = rows.filter(pc.equal(rows["type"], "verdict"))
        if counted.num_rows:
            seen = max(seen, pc.max(counted["position"]).as_py())
            last = max(last, pc.max(counted["offset"]).as_py())
    return generation, last
