"""Which records of a verdict partition count: the rule for everybody who reads one.

What a newcomer would get wrong
    A judge that was frozen may go on for a moment after another took its partition over. So a
    judge announces its generation in the partition before its first verdict, having claimed it
    in a transaction; what a lower generation says after that mark counts for nobody.
    Within what counts, events come in the order of the log, so a verdict on an event at or
    before the last one is a repeat, and the first counts.
"""

from __future__ import annotations

from pydantic_core import from_json, to_json

from ledger.core.verdicts import Verdict
from ledger.wire import decode_verdict

ANNOUNCED = b""
"""The key of an announcement; no run has it."""


def announcement(generation: int, *, version: int) -> bytes:
    """The value that announces a generation of judges, and the version they decide by."""
    return to_json({"generation": generation, "version": version})


class Published:
    """Reads one verdict partition in order: give it every record, from `generation` on."""

    def __init__(self, generation: int = 0, last_offset: int = -1) -> None:
        self.generation = generation
        self.last_offset = last_offset
        self.ignored = 0

    def take(self, key: bytes | None, value: bytes) -> Verdict | None:
        """The verdict that this record is; None for an announcement and for what does not count.

        Raises UnreadableEvent for what is neither.
        """
        if key == ANNOUNCED:
            self.generation = max(self.generation, int(from_json(value)["generation"]))
            return None
        verdict = decode_verdict(value)
        if verdict.generation < self.generation or verdict.offset <= self.last_offset:
            self.ignored += 1
            return None
        self.last_offset = verdict.offset
        return verdict
