"""The running digest of each log: what makes a row that is missing, new or changed show.

What a newcomer would get wrong
    A SQLite log has every position, so a row that is missing is a gap in the numbers. Kafka's
    marks of transactions take up positions and hold nothing. There a segment says from where to
    where its archivist was handed everything, and that is digested too: each begins where the
    one before ended, and what is not in it was not in the log.
    Where the log had lost what comes next, the segment behind the hole begins with it, and says
    by whose word the archive goes on: the chain is unbroken, and whoever put a hole into it later
    would have to forge every digest behind it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import from_json, to_json

from ledger.log.kafka_lost import Lost

_BOUNDS = struct.Struct("<qq")
_DIGEST_BYTES = hashlib.sha256().digest_size


class Bounds(NamedTuple):
    """A segment holds all that its log has from `first` to before `next`."""

    first: int
    next: int


class Hole(NamedTuple):
    """The first positions of a segment, those before `next`, are gone: `accepted` covers them."""

    next: int
    accepted: tuple[Lost, ...]

    def pack(self) -> bytes:
        """As it is digested, and stands in the link."""
        return to_json(self)

    @classmethod
    def of(cls, packed: bytes) -> Hole:
        """What `pack` gave. Raises ValueError, TypeError."""
        end, accepted = from_json(packed)
        hole = cls(end, tuple(Lost(*one) for one in accepted))
        numbers = (end, *(number for one in hole.accepted for number in one[:-1]))
        words = [one.reason for one in hole.accepted]
        if {*map(type, numbers)} != {int} or {*map(type, words)} - {str}:
            raise ValueError(f"no hole: {packed!r:.100}")
        return hole


class Link(NamedTuple):
    """What the last row of a segment keeps: the digest up to it, and on Kafka its bounds.

    With `hole` the segment begins with positions that the log had lost.
    """

    digest: bytes
    bounds: Bounds | None = None
    hole: Hole | None = None

    def pack(self) -> bytes:
        """As it stands in the column `chain`."""
        bounds = _BOUNDS.pack(*self.bounds) if self.bounds else b""
        return self.digest + bounds + (self.hole.pack() if self.hole else b"")

    @classmethod
    def of(cls, chain: bytes) -> Link:
        """What `pack` gave; anything else is a link that matches nothing."""
        end = _DIGEST_BYTES + _BOUNDS.size
        try:
            bounds = Bounds(*_BOUNDS.unpack(chain[_DIGEST_BYTES:end]))
            hole = Hole.of(chain[end:]) if len(chain) > end else None
        except (struct.error, ValueError, TypeError):
            return cls(chain)
        return cls(chain[:_DIGEST_BYTES], bounds, hole)


def digest(
    before: bytes,
    positions: Sequence[int],
    values: Sequence[bytes],
    bounds: Bounds | None = None,
    hole: Hole | None = None,
) -> bytes:
    """The running digest after a segment of these values; `before` is empty for the first."""
    sha256 = hashlib.sha256
    hashes = [sha256(value).digest() for value in values]
    return digest_of(before, positions, hashes, bounds, hole)


def digest_of(
    before: bytes,
    positions: Sequence[int],
    hashes: Sequence[bytes],
    bounds: Bounds | None = None,
    hole: Hole | None = None,
) -> bytes:
    """SHA-256 over the digest before, the positions, and each payload's own SHA-256.

    Positions are 8 bytes each, least byte first; so are the bounds, which come before them where
    there are any. A hole comes between, behind its length as a negative number, which no position
    is. Payloads enter as their hashes, so that one can be erased and the chain still be proved.
    """
    whole = hashlib.sha256(before)
    if bounds is not None:
        whole.update(_BOUNDS.pack(*bounds))
    if hole is not None:
        packed = hole.pack()
        whole.update(struct.pack("<q", -len(packed)) + packed)
    whole.update(struct.pack(f"<{len(positions)}q", *positions))
    whole.update(b"".join(hashes))
    return whole.digest()
