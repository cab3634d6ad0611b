"""Names runs: UUIDs of version 7, so that a run's name says when it was made."""

from __future__ import annotations

import os
import time


def new_run_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds since 1970, then 74 random ones."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0b10 << 62
    value |= (random >> 68 & 0xFFF) << 64 | random & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
