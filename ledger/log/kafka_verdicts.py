"""Which records of a verdict partition count: the rule for everybody who reads one.

What a newcomer would get wrong
    A judge that was frozen may go on for a moment after another took its partition over. So a
    judge announces its generation in the partition before its first verdict, having claimed it
    in a transaction; what a lower generation says after that mark counts for nobody.
    Within what counts, events come in the order of the log, so a verdict on an event at or
    before the last one is a repeat, and the first counts.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic_core import from_json, to_json

from ledger.core.verdicts import Verdict
from ledger.wire import UnreadableEvent, decode_verdict

ANNOUNCED = b""
"""The key of an announcement; no run has it."""


def announcement(generation: int, *, version: int) -> bytes:
    """The value that announces a generation of judges, and the version they decide by."""
    return to_json({"generation": generation, "version": version})


class Heard(NamedTuple):
    """From `pos` on of a verdict partition, `generation` is in force until another is announced.

    Judges commit it as the note beside the group's offset, so that a reader who begins at the end
    need not read the partition from its start. `version` is the deciding one that wrote it.
    """

    pos: int = 0
    generation: int = 0
    version: int = 0

    def note(self) -> str:
        """As the text that Kafka keeps beside an offset."""
        return " ".join(map(str, self))

    @classmethod
    def of(cls, note: str) -> Heard:
        """What `note` gave; from the start where there is none that can be read."""
        parts = note.split(" ")
        if len(parts) != len(cls._fields) or not all(part.isdecimal() for part in parts):
            return cls()
        return cls(*map(int, parts))


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
            try:
                self.announced(int(from_json(value)["generation"]))
            except (ValueError, TypeError, LookupError):
                raise UnreadableEvent(f"it announces no generation: {value!r:.80}") from None
            return None
        verdict = decode_verdict(value)
        return verdict if self.counts(verdict.offset, verdict.generation) else None

    def announced(self, generation: int) -> None:
        """A judge says from here on what it says counts, and what those before it say does not."""
        self.generation = max(self.generation, generation)

    def counts(self, offset: int, generation: int) -> bool:
        """Whether the next verdict, on the event at `offset` by this generation, counts."""
        if generation < self.generation or offset <= self.last_offset:
            self.ignored += 1
            return False
        self.last_offset = offset
        return True
