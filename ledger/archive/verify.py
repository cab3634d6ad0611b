"""Proof that the archive is whole: no gap, no duplicate, an unbroken chain of digests.

What a newcomer would get wrong
    Everything is recomputed from the rows; what the table says of itself is only compared.
    The chain lives in the rows (`chain`, on the last row of each segment), so compaction and
    the cleaning of old Delta commits cannot lose it. Commit metadata that is still there must
    agree with it.
    On Kafka not every position holds a record. There the chain says from where to where each
    segment was whole (`chain.py`), and these ranges must join.
    Records that Kafka had lost are no gap where a person accepted that: the chain says so, and
    the row of the refused log in which it was written must be there too (`begin.py`: or not).
    A wrong archive is an answer, not an exception: read `Verification.problems`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ledger.archive.begin import begins
from ledger.archive.chain import Hole, Link, digest_of
from ledger.archive.errors import short
from ledger.archive.table import METADATA, File, Table
from ledger.log.kafka_lost import Lost, covered

PROBLEMS_MAX = 100
"""More problems than this are counted, not listed."""
COLUMNS = ["position", "payload", "raw", "chain"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at `position` of a log: `kind` and a sentence."""

    kind: str
    log: str
    partition: int
    position: int
    text: str


@dataclass(slots=True)
class Span:
    """What the archive holds of one log and partition: positions `first` up to before `next`.

    On Kafka `holes` of them hold no record, only marks of transactions, and `lost` are gone.
    """

    log: str
    partition: int
    first: int
    next: int
    rows: int
    segments: int
    digest: str
    holes: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """Positions `first` to `last` of a log that are gone, and that a person accepted as lost.

    `reason` says so, at `pos` of the refused log; with -1 there, that the archive begins later.
    """

    log: str
    partition: int
    first: int
    last: int
    pos: int
    reason: str


@dataclass(slots=True)
class Verification:
    """What `verify` found in version `version` of the archive at `location`."""

    location: str
    version: int
    log_id: str
    spans: list[Span] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problems_more: int = 0

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems

    def add(self, problem: Problem) -> None:
        """List a problem, or count it when there are too many."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)
        else:
            self.problems_more += 1


def verify(
    archive: str | Path | Table,
    *,
    storage_options: dict[str, str] | None = None,
    first: int | None = None,
) -> Verification:
    """Read the whole archive and recompute its digests.

    `first` is each log's first position; without it, 1 for SQLite and 0 for Kafka.

    Memory is bounded by the largest file's digests (about 100 bytes a row).
    Raises ArchiveMissing, ArchiveFailed when the table itself cannot be read.
    """
    table = archive if isinstance(archive, Table) else Table.open(archive, storage_options)
    table.refresh()
    result = Verification(table.location, table.version, table.log_id)
    commits = _commits(table)
    files = table.files()
    places: set[tuple[str, int]] = {(file.log, file.partition) for file in files}
    places |= {where for where in table.places() if table.next_position(*where) is not None}
    if first is None:
        first = table.first
    for log, partition in sorted(places):
        mine = [file for file in files if (file.log, file.partition) == (log, partition)]
        _Walk(result, table, log, partition, first, commits).run(mine)
    _check_accepted(result, table)
    return result


def _check_accepted(result: Verification, table: Table) -> None:
    """Whatever is gone was accepted in a row of the refused log, in the same words; or declared."""
    there, declared = _refusals(table, sorted({one.pos for one in result.accepted})), begins(table)
    for one in result.accepted:
        if declared.get((one.log, one.partition)) == Lost(*astuple(one)[1:]):
            continue
        row = there.get(one.pos, {"refused": None})
        words = Lost(one.partition, one.first, one.last).said("")
        if (
            row["refused"] != one.reason
            or not one.reason.startswith(words)
            or (row["offset"], row["seq"]) != (one.first, one.partition)
            or not row["source"].endswith(f"-{one.log}")
        ):
            text = f"{one.first} to {one.last} are gone, and refused {one.pos} does not accept that"
            result.add(Problem("gap", one.log, one.partition, one.first, text))


def _refusals(table: Table, wanted: list[int]) -> dict[int, dict[str, Any]]:
    """These rows of the refused log, as far as they can be read."""
    found: dict[int, dict[str, Any]] = {}
    for file in table.files():
        if file.log == "refused" and any(file.first <= pos <= file.last for pos in wanted):
            with suppress(OSError, pa.ArrowException):  # It is listed as unreadable already.
                for batch in table.read(file, ["position", "refused", "offset", "seq", "source"]):
                    rows = batch.filter(pc.is_in(batch["position"], pa.array(wanted)))
                    found |= {row["position"]: row for row in rows.to_pylist()}
    return found


def _commits(table: Table) -> dict[tuple[str, int, int], tuple[str, str]]:
    """(log, partition, next) to (digest before, digest) from the commits not cleaned away yet."""
    found = {}
    for commit in table.delta.history():
        for fact in commit.get(METADATA) or ():
            key = (fact["log"], fact["partition"], fact["next"])
            found[key] = (fact["before"], fact["digest"])
    return found


class _Walk:
    """One log and partition, position by position."""

    def __init__(
        self,
        result: Verification,
        table: Table,
        log: str,
        partition: int,
        first: int,
        commits: dict[tuple[str, int, int], tuple[str, str]],
    ) -> None:
        self.result, self.table, self.commits = result, table, commits
        self.span = Span(log, partition, first, first, 0, 0, "")
        self._holes = bool(table.partitions)
        self._covered = first
        self._before = b""
        self._positions: list[int] = []
        self._hashes: list[bytes] = []

    def run(self, files: list[File]) -> None:
        """Walk through the files; those whose positions overlap are read together."""
        for group in _overlapping(files):
            rows = self._read(group)
            if rows is not None and rows.num_rows:
                self._check_order(rows["position"].combine_chunks())
                self._check_digests(rows)
        span = self.span
        if self._positions:
            self._say("digest", self._positions[0], "rows behind the last digest of the chain")
        span.next = max(span.next, self._covered)
        said = self.table.next_position(span.log, span.partition)
        if said is not None and said != span.next:
            self._say("end", span.next, f"the table says it holds all before {said}")
        span.digest = self._before.hex()
        if self._holes:
            span.holes = span.next - span.first - span.rows - span.lost
        self.result.spans.append(span)

    def _say(self, kind: str, position: int, text: str) -> None:
        self.result.add(Problem(kind, self.span.log, self.span.partition, position, text))

    def _read(self, files: list[File]) -> pa.Table | None:
        """Position, payload hash and chain of these files, by position."""
        parts = []
        for file in files:
            try:
                parts += [_hashed(batch) for batch in self.table.read(file, COLUMNS)]
            except (OSError, pa.ArrowException) as problem:
                self._say("unreadable", file.first, f"file {file.path}: {short(problem)}")
        return pa.Table.from_batches(parts).sort_by("position") if parts else None

    def _check_order(self, positions: pa.Array) -> None:
        """Every position follows the one before, none missing, none twice."""
        span = self.span
        low, high = positions[0].as_py(), positions[-1].as_py()
        if self._holes:
            self._check_twice(positions)
        elif low != span.next or high - low + 1 != len(positions) or not _climbs(positions):
            expected = span.next
            for position in positions.to_pylist():
                if position < expected:
                    self._say("duplicate", position, f"position {position} is there twice")
                elif position > expected:
                    self._say(
                        "gap", expected, f"positions {expected} to {position - 1} are missing"
                    )
                expected = max(expected, position + 1)
        span.rows += len(positions)
        span.next = max(span.next, high + 1)

    def _check_twice(self, positions: pa.Array) -> None:
        """Where positions may be missing, none may be there twice."""
        if positions[0].as_py() >= self.span.next and _climbs(positions):
            return
        seen = self.span.next - 1
        for position in positions.to_pylist():
            if position <= seen:
                self._say("duplicate", position, f"position {position} is there twice")
            seen = max(seen, position)

    def _check_digests(self, rows: pa.Table) -> None:
        """Recompute the running digest of every segment that ends in these rows."""
        span = self.span
        chain = rows["chain"].to_pylist()
        positions, hashes = rows["position"].to_pylist(), rows["hash"].to_pylist()
        start = 0
        for index, said in enumerate(chain):
            if said is None:
                continue
            self._positions += positions[start : index + 1]
            self._hashes += hashes[start : index + 1]
            start = index + 1
            link = Link.of(said)
            found = digest_of(self._before, self._positions, self._hashes, *link[1:])
            end = positions[index]
            if found != link.digest or self._holes != (link.bounds is not None):
                text = f"positions {self._positions[0]} to {end} are not what was archived"
                self._say("digest", self._positions[0], text)
            self._check_bounds(link, end)
            self._check_commit(end + 1, self._before, link.digest)
            span.segments += 1
            self._before = link.digest
            self._positions, self._hashes = [], []
        self._positions += positions[start:]
        self._hashes += hashes[start:]

    def _check_bounds(self, link: Link, end: int) -> None:
        """Each segment begins where the one before ended, and holds its own rows."""
        if link.bounds is None:
            return
        begin, self._covered, expected = *link.bounds, self._covered
        if begin > expected:
            self._say("gap", expected, f"positions {expected} to {begin - 1} are missing")
        elif begin < expected:
            self._say("duplicate", begin, f"positions {begin} to {expected - 1} are there twice")
        if link.hole is not None:
            self._check_hole(link.hole, begin)
        held = begin if link.hole is None else link.hole.next
        if self._positions[0] < held or end != self._covered - 1:
            self._say("digest", end, f"its segment says {held} to {self._covered - 1}")

    def _check_hole(self, hole: Hole, begin: int) -> None:
        """What is gone is listed; each word of it is looked up in the end."""
        span = self.span
        span.lost += hole.next - begin
        if not covered(hole.accepted, begin, hole.next - 1):
            text = f"positions {begin} to {hole.next - 1} are missing, and not all accepted as lost"
            self._say("gap", begin, text)
        self.result.accepted += [
            Accepted(span.log, span.partition, one.first, one.last, one.pos, one.reason)
            for one in hole.accepted
        ]

    def _check_commit(self, next_position: int, before: bytes, said: bytes) -> None:
        """What the commit's metadata says must be what the rows say."""
        key = (self.span.log, self.span.partition, next_position)
        fact = self.commits.get(key)
        if fact is not None and fact != (before.hex(), said.hex()):
            self._say("metadata", next_position - 1, "the commit says another digest than its rows")


def _overlapping(files: list[File]) -> Iterator[list[File]]:
    """Files in order of position, those that share positions in one group."""
    group: list[File] = []
    last = -1
    for file in files:
        if group and file.first > last:
            yield group
            group = []
        group.append(file)
        last = max(last, file.last) if len(group) > 1 else file.last
    if group:
        yield group


def _climbs(positions: pa.Array) -> bool:
    """True when each is greater than the one before."""
    steps = pc.min(pc.pairwise_diff(positions)).as_py()
    return steps is None or steps > 0


def _hashed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each payload replaced by its SHA-256."""
    sha256 = hashlib.sha256
    values: list[Any] = batch["payload"].cast(pa.binary()).to_pylist()
    if batch["raw"].null_count < batch.num_rows:
        raws = batch["raw"].to_pylist()
        values = [raw if value is None else value for value, raw in zip(values, raws, strict=True)]
    hashes = [sha256(value if value is not None else b"").digest() for value in values]
    return pa.record_batch(
        {"position": batch["position"], "hash": pa.array(hashes), "chain": batch["chain"]}
    )
