"""The running digest of each log: what makes a row that is missing, new or changed show.

What a newcomer would get wrong
    A SQLite log has every position, so a row that is missing is a gap in the numbers. Kafka's
    marks of transactions take up positions and hold nothing. There a segment says from where to
    where its archivist was handed everything, and that is digested too: each begins where the
    one before ended, and what is not in it was not in the log.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

_BOUNDS = struct.Struct("<qq")
_DIGEST_BYTES = hashlib.sha256().digest_size


class Bounds(NamedTuple):
    """A segment holds all that its log has from `first` to before `next`."""

    first: int
    next: int


class Link(NamedTuple):
    """What the last row of a segment keeps: the digest up to it, and on Kafka its bounds."""

    digest: bytes
    bounds: Bounds | None = None

    def pack(self) -> bytes:
        """As it stands in the column `chain`."""
        return self.digest + (_BOUNDS.pack(*self.bounds) if self.bounds else b"")

    @classmethod
    def of(cls, chain: bytes) -> Link:
        """What `pack` gave; anything else is a link that matches nothing."""
        if len(chain) != _DIGEST_BYTES + _BOUNDS.size:
            return cls(chain)
        return cls(chain[:_DIGEST_BYTES], Bounds(*_BOUNDS.unpack(chain[_DIGEST_BYTES:])))


def digest(
    before: bytes, positions: Sequence[int], values: Sequence[bytes], bounds: Bounds | None = None
) -> bytes:
    """The running digest after a segment of these values; `before` is empty for the first."""
    sha256 = hashlib.sha256
    return digest_of(before, positions, [sha256(value).digest() for value in values], bounds)


def digest_of(
    before: bytes,
    positions: Sequence[int],
    hashes: Sequence[bytes],
    bounds: Bounds | None = None,
) -> bytes:
    """SHA-256 over the digest before, the positions, and each payload's own SHA-256.

    Positions are 8 bytes each, least byte first; so are the bounds, which come before them where
    there are any. Payloads enter as their hashes, so that one can be erased and the chain still
    be proved.
    """
    whole = hashlib.sha256(before)
    if bounds is not None:
        whole.update(_BOUNDS.pack(*bounds))
    whole.update(struct.pack(f"<{len(positions)}q", *positions))
    whole.update(b"".join(hashes))
    return whole.digest()
