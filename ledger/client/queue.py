"""What the client has said and not yet written: a bounded queue and the thread that empties it.

What a newcomer would get wrong
    An agent's thread puts down what happened (a function and its arguments); the flushing
    thread makes the event, encodes and appends it. Numbers (`seq`) are given on the way out, in
    order, so an event that cannot be made leaves no hole; one that was dropped does.
    An error of the log keeps everything, and it is tried again in the same order: nothing
    overtakes. A thread that waits for an answer flushes itself (`pump`), which saves a hop.
    `put` promises nothing; what `flush` returned from is on the disk.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ledger import wire
from ledger.client.answers import Closed, NotDurable, QueueFull
from ledger.core.events import Event, RunEnded

if TYPE_CHECKING:
    from ledger.log.needed import ClientLog

BATCH_EVENTS_MAX = 5_000
BATCH_BYTES_MAX = 4 * 1024 * 1024
SLICE = 16
"""Events made before the thread lets others run: an agent waits that long, not 5 ms."""
LINGER_S = (0.002, 0.05)
"""How long the thread lets events gather, unless somebody waits for an answer: as long as the
last writing took, within these. Where an agent's computing keeps the interpreter busy, writing
is slow and holds up the writers of other processes: it then comes less often."""
BACKOFF_S = (0.05, 1.0)
IDLE_S = 5.0
SETTLE_S = 1.0
"""How long a fork, or an identity on its way to another process, waits for what was put down."""
RUNS_ENDED_MAX = 10_000
"""Ended runs whose numbering is remembered, for what is still said of them."""

Build = Callable[..., Event]
Numbered = Callable[[int, str], object]
"""Called by the sender's thread with the number of its event, before that is in the log; or with
0, and why the event could not be made."""


class Queue:
    """Events of one source on their way into `log`, at most `size_max` of them.

    `full` is what `room` does at the limit: wait (at most `wait_s`, then QueueFull), drop, raise.
    """

    def __init__(
        self, log: ClientLog, source: str, *, grade: str, size_max: int, full: str, wait_s: float
    ) -> None:
        self._log = log
        self._grade = b',"grade":"%s"' % grade.encode() if grade != "declared" else b""
        self._full, self._wait_s = full, wait_s
        self._size_max = size_max
        self.start_over(source)

    def start_over(self, source: str) -> None:
        """Begin empty under this source: a forked child sends nothing of its parent's."""
        self.source = source
        self._tail = b',"source":"%s","seq":' % source.encode()
        self._entries: deque[tuple[Any, ...]] = deque()
        self._encoded: deque[tuple[str, bytes, threading.Event | None]] = deque()
        self._taken: tuple[Any, ...] = ()
        self._seqs: dict[str, int] = {}
        self._ended: deque[str] = deque()
        self.dropped = 0
        self.unreadable = 0
        self.problem: Exception | None = None
        self._pumping = threading.Lock()
        self._gate = threading.Lock()  # Held by whoever sleeps behind it; let go to wake him.
        self._gate.acquire()
        self._asleep = False
        self._urgent = False
        self._retry_s = self._pause_s = 0.0
        self._linger_s = LINGER_S[0]
        self._closed = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._entries) + len(self._encoded)

    # --- putting down ---

    def put(self, run: str, build: Build, *args: Any) -> None:
        """Put down an event of `run` that `build(run, *args)` makes. Never blocks: who may be
        made to wait asks `room` first."""
        self._entries.append((run, time.time_ns(), None, build, args))
        if self._asleep or self._thread is None:
            self._rouse()

    def put_urgent(self, run: str, numbered: Numbered, build: Build, *args: Any) -> None:
        """As `put`, for what somebody waits for: sent at once, and `numbered` hears of it."""
        self._urgent = True
        self._entries.append((run, time.time_ns(), numbered, build, args))
        self._rouse()

    def room(self, run: str, *, must: bool = False) -> bool:
        """True once there is room for an event of `run`, False where it is to be dropped.

        What `must` get in waits, whatever the setting says. Raises QueueFull, Closed.
        """
        if len(self._entries) + len(self._encoded) < self._size_max:
            return True
        if self._closed:
            raise Closed
        if self._full == "drop" and not must:
            self.dropped += 1
            if run in self._seqs:
                self._seqs[run] += 1  # The hole says that something is missing.
            return False
        if self._full == "raise" and not must:
            raise QueueFull(len(self), self.problem)
        until = time.monotonic() + self._wait_s
        while len(self) >= self._size_max:
            self.pump()  # Who comes too fast writes himself.
            if len(self) < self._size_max:
                break  # Writing may have taken longer than there was to wait.
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise QueueFull(len(self), self.problem)
            time.sleep(min(0.02, left_s))
        return True

    def _rouse(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(
                target=self._run, name=f"ledger-flush-{self.source}", daemon=True
            )
            self._thread.start()
        self._asleep = False  # Once is enough, though it may take the thread a while to wake.
        try:
            self._gate.release()
        except RuntimeError:
            return  # It is open already.

    # --- waiting ---

    def flush(self, timeout_s: float) -> None:
        """Return once everything put down before is on the disk. Raises NotDurable."""
        until = time.monotonic() + timeout_s
        done = threading.Event()
        self._urgent = True
        self._entries.append(("", 0, done, None, ()))
        while not done.is_set():
            left_s = until - time.monotonic()
            self.pump(wait_s=max(0.0, left_s))
            if done.is_set():
                return
            if left_s <= 0:
                raise NotDurable(len(self), timeout_s, self.problem)
            if not self._closed:
                self._rouse()
            done.wait(min(0.02, left_s))

    def settle(self) -> None:
        """See that all put down is in the log, before another process acts on it: it must not be
        heard before the agent it acts for. Not while the log fails, and a second at most."""
        if not len(self) or self.problem is not None or self._closed:
            return
        done = threading.Event()
        self._urgent = True
        self._entries.append(("", 0, done, None, ()))
        self._rouse()
        done.wait(SETTLE_S)  # The thread writes: how long a write takes, nobody knows.

    def close(self, timeout_s: float) -> None:
        """Flush and end the thread. Raises NotDurable, and then goes on being usable."""
        if len(self):
            self.flush(timeout_s)
        self._size_max = 0  # `room` looks closer now.
        self._closed = True
        self._rouse()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    # --- sending ---

    def pump(self, wait_s: float = 0.0) -> bool:
        """Send what is there, unless another thread does it right now; False if the log fails."""
        pumping = self._pumping  # A fork in a signal handler changes it under our feet.
        if not pumping.acquire(timeout=wait_s):
            return True
        try:
            if self.problem is not None and time.monotonic() < self._retry_s:
                self._encode(BATCH_EVENTS_MAX)  # Bytes weigh less than what they stand for.
                return False
            self._urgent = False
            entries = self._entries
            todo = len(entries)
            while (todo > 0 or self._encoded) and entries is self._entries:
                todo -= self._encode(todo)
                if not self._append():
                    return False
            return True
        finally:
            pumping.release()

    def _encode(self, most: int) -> int:
        """Make events of up to a batch of entries; how many were taken."""
        entries, encoded = self._entries, self._encoded
        most = min(most, BATCH_EVENTS_MAX, len(entries))
        size = 0
        for taken in range(most):
            if size >= BATCH_BYTES_MAX:
                return taken
            entry = entries[0]
            if entry is not self._taken:  # Else Ctrl-C came right here.
                run, at_ns, told, build, args = entry
                value = b"" if build is None else self._event(run, at_ns, told, build, args)
                size += len(value)
                self._taken = entry
                if value or build is None:
                    encoded.append((run, value, None if value else told))
            entries.popleft()  # Last, so that the queue never looks emptier than it is.
            if taken % SLICE == SLICE - 1 and len(entries) < BATCH_EVENTS_MAX:
                time.sleep(0)
        return most

    def _event(
        self, run: str, at_ns: int, numbered: Numbered | None, build: Build, args: tuple[Any, ...]
    ) -> bytes:
        """The event's bytes, numbered; empty where it cannot be made, which is kept and counted."""
        try:
            event = build(run, *args)
            body = wire.encode(event)
        except Exception as problem:  # Whatever a value of the caller's raises.
            why = str(problem) or type(problem).__name__
            reason = f"{getattr(build, '__name__', build)}: {why}"
            self._refuse(reason)
            if numbered is not None:
                numbered(0, reason)
            return b""
        seq = self._seqs.get(run, 0) + 1
        self._seqs[run] = seq
        if numbered is not None:
            numbered(seq, "")
        if type(event) is RunEnded:
            self._forget(run)
        tail = b"%s%d" % (self._tail, seq)
        if not event.at_ms:
            tail += b',"at_ms":%d' % (at_ns // 1_000_000)
        if event.grade == "declared":
            tail += self._grade
        return body[:-1] + tail + b"}"

    def _append(self) -> bool:
        """Append a batch; False, and everything kept, where the log fails."""
        batch: list[tuple[str, bytes]] = []
        count = size = 0
        encoded = self._encoded
        for run, value, _ in encoded:
            if size >= BATCH_BYTES_MAX or len(batch) >= BATCH_EVENTS_MAX:
                break
            count += 1
            if value:
                batch.append((run, value))
                size += len(value)
        began_s = time.monotonic()
        try:
            if batch:
                self._log.append(batch)
        except Exception as problem:  # One that is no LedgerError is a bug, and loses nothing.
            self._failed(problem)
            return False
        for _ in range(count):
            _, _, flushed = encoded.popleft()
            if flushed is not None:
                flushed.set()
        least_s, most_s = LINGER_S
        self._linger_s = min(most_s, max(least_s, time.monotonic() - began_s))
        self.problem = None
        return True

    def _failed(self, problem: Exception) -> None:
        first_s, most_s = BACKOFF_S
        self._pause_s = first_s if self.problem is None else min(most_s, self._pause_s * 2)
        self._retry_s = time.monotonic() + self._pause_s
        self.problem = problem

    def _forget(self, run: str) -> None:
        self._ended.append(run)
        while len(self._ended) > RUNS_ENDED_MAX:
            self._seqs.pop(self._ended.popleft(), None)

    def _refuse(self, reason: str) -> None:
        self.unreadable += 1
        try:
            self._log.refuse(self.source, reason[:2000], b"")
        except Exception as problem:
            self._failed(problem)

    def _run(self) -> None:
        """The flushing thread."""
        gate = self._gate
        while not self._closed:
            self._asleep = True
            if not self._entries and not self._encoded:
                gate.acquire(timeout=IDLE_S)
            self._asleep = False
            if not self._urgent and not self._closed:
                gate.acquire(timeout=self._linger_s)
            if not self.pump(wait_s=1.0):
                gate.acquire(timeout=max(0.0, self._retry_s - time.monotonic()))
