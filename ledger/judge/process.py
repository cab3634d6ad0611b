"""Names this process so that any other can prove it dead.

What a newcomer would get wrong
    A process number is used again; the tick at which its process started is not. A process of
    another container cannot be seen from here, so it is never called gone: its heartbeat says.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ledger.log.sqlite_judge import boot_id


def this_process() -> str:
    """Boot, process namespace, process number, start tick, thread: who judges."""
    pid = os.getpid()
    return f"{boot_id()} {_namespace()} {pid} {_started(pid)} {threading.get_ident()}"


def gone(name: str) -> bool:
    """True when the process that `this_process` named is proved to have ended."""
    parts = name.split(" ")
    if len(parts) != len(("boot", "namespace", "pid", "started", "thread")):
        return False
    boot, namespace, pid, started, _ = parts
    if boot != boot_id():
        return True
    return namespace == _namespace() and not started.startswith("?") and _started(pid) != started


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "?"


def _started(pid: int | str) -> str:
    """The start tick; empty when the process is gone, `?` where the system does not say."""
    if not os.path.exists("/proc/self/stat"):
        return "?"
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The name in brackets may hold anything, brackets and spaces too.
    fields = text[text.rindex(b")") + 2 :].split()
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
