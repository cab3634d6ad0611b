"""The archivist of `ledger up`: a process of its own, started again when it dies.

What a newcomer would get wrong
    In the judge's process it would hold the interpreter while a verdict is waited for (1.2 to
    3.0 ms, measured). Here it also runs at a lower priority: nobody waits for an archive.
    It hears through its standard input: `DRAIN` means archive all that is recorded and end, the
    end of the input that its parent is gone. Signals it ignores: Ctrl-C goes to every process of
    a terminal, and what is recorded while the judge ends is archived too.
    Whoever dies in the middle leaves a file that no version of the archive lists.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.judge.start import environment

PRIORITY = 5
"""How nice it is (nice(2)) to whoever judges and records."""
STEP_S = 1.0
"""How often it archives where little is new; each step is a commit and a file."""
RETRY_S = 10.0
"""After an error."""
COMPACT_EVERY = 32
"""Commits between two compactions."""
AGAIN_S = (1.0, 60.0)
"""How long after its end it is started again: twice as long each time it did not last."""
READY, FAILED, DRAIN = b"ready", b"failed ", b"d"


class ArchivingFailed(LedgerError):
    """The archivist of `location` ended where it should not; `reason` is what it said."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(location, reason)
        self.location, self.reason = location, reason

    def __str__(self) -> str:
        return self.reason or (
            f"the archivist of {self.location} was ended from outside before it was done; "
            "start `ledger up` again: the next one goes on where the archive ends"
        )


class Archiving:
    """The process that archives the log at `path` into `location`, as its parent sees it.

    `say` hears what a person should know. Raises ArchivingFailed where it cannot begin.
    """

    def __init__(self, path: str, location: str, say: Callable[[str], object]) -> None:
        self._path, self._location, self._say = path, location, say
        self._again_s = AGAIN_S[0]
        self._began_s = self._due_s = 0.0
        self._process = self._begun()
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not first.startswith(READY):
            self._process.communicate()
            raise ArchivingFailed(location, _reason(first))

    def look(self) -> None:
        """Start it again if it has ended, now or soon. To be called about every second."""
        if self._process.poll() is None:
            return
        now_s = time.monotonic()
        if not self._due_s:
            first_s, most_s = AGAIN_S
            lasted_s = now_s - self._began_s
            self._again_s = first_s if lasted_s > most_s else min(most_s, 2 * self._again_s)
            self._due_s = now_s + self._again_s
            why = self._ended() or f"it ended with {self._process.returncode}"
            self._say(f"the archivist is started again in {self._again_s:g} s: {why}")
        if now_s >= self._due_s:
            self._process = self._begun()

    def end(self) -> None:
        """Archive all that is recorded and end. Raises ArchivingFailed."""
        for _ in range(2):  # The first may be dead, or die now.
            if self._process.poll() is not None:
                self._process = self._begun()
            said, _ = self._process.communicate(DRAIN)
            if self._process.returncode == 0:
                return
        raise ArchivingFailed(self._location, _reason(said))

    def close(self) -> None:
        """End it as it is, where nothing can be waited for."""
        if self._process.poll() is None:
            self._process.communicate()

    def _begun(self) -> subprocess.Popen[bytes]:
        self._began_s, self._due_s = time.monotonic(), 0.0
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ledger.cli.archiving", self._path, self._location],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
        )  # fmt: skip

    def _ended(self) -> str:
        """What it said of its end, once it has ended."""
        said, _ = self._process.communicate()
        return _reason(said)


def _reason(said: bytes) -> str:
    return said.partition(FAILED)[2].decode(errors="replace").strip()


# --- in the process itself ---------------------------------------------------------------------


def main() -> int:
    """Archive the log that the command line names into the place after it; the exit code."""
    from ledger.archive.archivist import Archivist
    from ledger.log.sqlite import SqliteLog

    path, location = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with SqliteLog(path, create=False) as log:
            archivist = Archivist(log, location)
            _tell(READY)
            os.nice(PRIORITY)
            if _archive(archivist.step, archivist.table.location) == DRAIN:
                archivist.drain()
    except LedgerError as problem:
        _tell(FAILED + str(problem).encode())
        return 1
    return 0


def _archive(step: Callable[[], int], location: str) -> bytes:
    """Step again and again, and now and then compact, until something is heard; what it was."""
    from ledger.archive.archivist import SEGMENT_ROWS
    from ledger.archive.compact import compact

    commits, wait_s = 0, 0.0
    while True:
        heard, _, _ = select.select([0], [], [], wait_s)
        if heard:
            return os.read(0, 1)
        try:
            rows = step()
            commits += bool(rows)
            if commits >= COMPACT_EVERY:
                commits = 0
                compact(location)
            wait_s = 0.0 if rows >= SEGMENT_ROWS else STEP_S
        except LedgerError as problem:
            print(f"ledger up: archiving again in {RETRY_S:g} s: {problem}", file=sys.stderr)
            wait_s = RETRY_S


def _tell(words: bytes) -> None:
    try:
        os.write(1, words + b"\n")
    except BrokenPipeError:
        return  # The parent is gone, which standard input will say.


if __name__ == "__main__":
    sys.exit(main())
