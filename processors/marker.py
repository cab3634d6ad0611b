"""How far a checkpoint of a partition goes: one row, the same for every judge that restores it."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from ledger.log.kafka_verdicts import Heard


class Proof(NamedTuple):
    """A record as the log had it: one that is otherwise there now is of another log."""

    offset: int = -1
    append_ms: int = 0
    crc: int = 0


class Marker(NamedTuple):
    """The events before `offset` are in the runs; those before `decided` were decided.

    The verdicts from `pos` on are yet to be looked at, `heard` being the generation in force
    there. `generation` is the highest that was claimed, `version` the one that wrote this.
    """

    offset: int = 0
    decided: int = 0
    pos: int = 0
    heard: int = 0
    generation: int = 0
    version: int = 0
    proof: Proof = Proof()

    def row(self) -> bytes:
        """As a row of the checkpoint."""
        return to_json(self._asdict())

    def note(self) -> Heard:
        """What stands beside the group's offset."""
        return Heard(self.pos, self.heard, self.version)

    @classmethod
    def of(cls, row: bytes | None) -> Marker:
        """What `row` gave; without a row: nothing was judged yet.

        Raises ValueError, TypeError, KeyError for what no judge wrote.
        """
        if row is None:
            return cls()
        fields = from_json(row)
        found = cls(**{**fields, "proof": Proof(*fields["proof"])})
        if not all(isinstance(number, int) for number in (*found[:-1], *found.proof)):
            raise ValueError(f"no marker: {row!r:.100}")
        return found


def proof(record: Any) -> Proof:
    """Of a record as Kafka gives it."""
    return Proof(record.offset, record.timestamp, zlib.crc32(record.value or b""))
