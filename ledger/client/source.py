"""Names the process: the source id under which a client numbers its events.

A source names the machine's boot, the process and its start, so that a process can be proved
dead, and a counter, because a fork or a second client of one process is another source.
"""

from __future__ import annotations

import itertools
import os
import socket
from hashlib import blake2b
from pathlib import Path

_numbers = itertools.count()


def new_source() -> str:
    """`h<8 hex of boot and host>-<pid>-<start in clock ticks>-<n>`, never given twice."""
    host = blake2b(f"{_boot()} {socket.gethostname()}".encode(), digest_size=4).hexdigest()
    return f"h{host}-{os.getpid()}-{_start_ticks()}-{next(_numbers)}"


def tag(source: str) -> str:
    """Eight hex digits that stand for the source in the ids it makes."""
    return blake2b(source.encode(), digest_size=4).hexdigest()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_ticks() -> int:
    try:
        stat = Path("/proc/self/stat").read_bytes()
    except OSError:
        return 0
    # The name in brackets may hold anything, brackets and spaces too.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])
