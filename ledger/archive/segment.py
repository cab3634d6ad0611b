"""What was handed over of one partition of Kafka and is not committed yet, and its typed rows.

What a newcomer would get wrong
    A segment holds all that its log has from `first` to before `next`, holes included: nothing
    gets in that was not fetched right behind what is there. What a person accepted as lost may
    be missing at its beginning.
    Which verdicts count is worked out here, once, while they pass in order (PROTOCOLS 1); the
    archive keeps all of them. Who asks looks at `type` and need not read what came before.
    An event under a key of another partition is refused, as the judge does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from ledger.archive.chain import Hole
from ledger.archive.rows import Batch, LogName, columns_of, table_of
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_verdicts import Published

EXEMPT = "policy_recorded"
"""Policies are in every partition."""
ROWS_MAX = 100_000
BYTES_MAX = 32 * 2**20
DIGITS = 19
"""An offset has fewer."""


class Segment:
    """Records of one log and partition, in order, from position `first` to before `next`."""

    __slots__ = (
        "append_ms", "bytes", "first", "headers", "hole", "keys", "log", "next", "partition",
        "positions", "values",
    )  # fmt: skip

    def __init__(self, log: LogName, partition: int, first: int, hole: Hole | None = None) -> None:
        self.log, self.partition = log, partition
        self.first, self.hole = first, hole
        self.next = first if hole is None else hole.next
        self.bytes = 0
        self.positions: list[int] = []
        self.append_ms: list[int] = []
        self.keys: list[bytes | None] = []
        self.values: list[bytes] = []
        self.headers: list[Sequence[tuple[str, bytes | None]]] = []

    @property
    def place(self) -> tuple[LogName, int]:
        """Which log and partition."""
        return self.log, self.partition

    def take(self, records: Sequence[Any]) -> int:
        """Take in what is new of Kafka's records; how many that were.

        They must have been fetched from `next` or before it.
        """
        if records and records[0].offset < self.next:
            records = [record for record in records if record.offset >= self.next]
        if not records:
            return 0
        values = [record.value or b"" for record in records]
        self.positions += [record.offset for record in records]
        self.append_ms += [record.timestamp for record in records]
        self.keys += [record.key for record in records]
        self.values += values
        if self.log == "refused":
            self.headers += [record.headers for record in records]
        self.bytes += sum(map(len, values))
        self.next = self.positions[-1] + 1
        return len(records)

    def rows(self, partitions: int, rule: Published) -> pa.Table:
        """As rows of the archive; the log has so many `partitions`.

        For verdicts `rule` must have seen all before them; it is moved on.
        """
        batch = self._batch()
        known = columns_of(self.log, batch)
        if self.log == "events":
            _refuse_strangers(known, batch.runs, self.partition, partitions)
        elif self.log == "verdicts":
            batch = batch._replace(offsets=known.pop("about").to_pylist())
            _mark(known, self.keys, batch, rule)
        elif self.log == "refused":
            known["seq"] = pa.array([_number(dict(one), "partition") for one in self.headers])
        return table_of(self.log, batch, self.partition, known)

    def _batch(self) -> Batch:
        runs = [(key or b"").decode(errors="replace") for key in self.keys]
        offsets: Sequence[int | None] = self.positions
        refusals: tuple[list[str], list[str]] = [], []
        if self.log == "refused":
            said = [dict(headers) for headers in self.headers]
            offsets = [_number(one, "offset") for one in said]
            refusals = [_text(one, "topic") for one in said], [_text(one, "reason") for one in said]
        return Batch(self.positions, offsets, self.append_ms, runs, self.values, refusals)


def is_much(segments: Iterable[Segment]) -> bool:
    """Whether so much is gathered that it is committed before it is time."""
    records, size = 0, 0
    for one in segments:
        records += len(one.positions)
        size += one.bytes
    return records >= ROWS_MAX or size >= BYTES_MAX


def _text(headers: dict[str, bytes | None], name: str) -> str:
    return (headers.get(name) or b"").decode(errors="replace")


def _number(headers: dict[str, bytes | None], name: str) -> int | None:
    """A header that is a place; None where it is none: anybody may write there."""
    text = headers.get(name) or b""
    return int(text) if text.isdigit() and len(text) < DIGITS else None


def _refuse_strangers(
    known: dict[str, Any], runs: Sequence[str], partition: int, partitions: int
) -> None:
    """Refuse events whose key belongs to another partition."""
    homes = {run: partition_of(run.encode(), partitions) for run in set(runs)}
    strange = {run for run, home in homes.items() if home != partition}
    if not strange:
        return
    indices = [index for index, run in enumerate(runs) if run in strange]
    kinds = known["type"].take(pa.array(indices)).to_pylist()
    reasons: list[str | None] = [None] * len(runs)
    for index, kind in zip(indices, kinds, strict=True):
        if kind not in (None, EXEMPT):
            run = runs[index]
            reasons[index] = (
                f"partition: the key {run!r:.140} belongs to partition {homes[run]} of "
                f"{partitions} (murmur2), not to {partition}"
            )
    refused = pa.array(reasons, pa.string())
    ours = pc.is_null(refused)
    for name in known.keys() - {"payload", "raw", "refused"}:
        known[name] = pc.if_else(ours, known[name], None)
    known["refused"] = pc.coalesce(refused, known["refused"])


def _mark(
    known: dict[str, Any], keys: Sequence[bytes | None], batch: Batch, rule: Published
) -> None:
    """Say of each row of a verdict log what it is, and which generation was in force there."""
    kinds = known["type"].to_pylist()
    reasons = known["refused"].to_pylist()
    generations = known.pop("generation").to_pylist()
    heard = []
    for index, key in enumerate(keys):
        if key == b"":
            try:
                rule.announced(int(from_json(batch.values[index])["generation"]))
            except (ValueError, TypeError, LookupError):
                reasons[index] = "it announces no generation"
            else:
                kinds[index], reasons[index] = "generation", None
        elif kinds[index] is not None:
            about = batch.offsets[index]
            assert about is not None
            if not rule.counts(about, generations[index]):
                kinds[index] = "ignored"
        heard.append(rule.generation)
    known["type"] = pa.array(kinds, pa.string())
    known["refused"] = pa.array(reasons, pa.string())
    known["seq"] = pa.array(heard, pa.int64())
