"""Starts the demo's processes, watches what the judge says of them, and cleans up after them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ledger import wire
from ledger.client.run_id import new_run_id
from ledger.closing import Closing
from ledger.core.events import AgentStarted, Event, OrderReceipted
from ledger.core.verdicts import Verdict
from ledger.demo import fleet
from ledger.demo.ground import FileGround, Ground, KafkaGround
from ledger.errors import LedgerError

JUDGE_WAIT_S = 60.0
FLEET_WAIT_S = 90.0
QUIET_WAIT_S = 30.0
READ_ROWS = 2_000
POLL_S = 0.02
KEPT = "LEDGER_KAFKA_"
"""Variables that say how to get in, and go on to the processes of the demo."""


class DemoFailed(LedgerError):
    """Something that the demo needs did not happen; `what` says what."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"the demo failed: {self.what}"


@dataclass(slots=True)
class Seen:
    """What was seen of the fleet so far, while it ran."""

    agents: int = 0
    refused: int = 0
    order: str = ""
    order_ms: int = 0
    quiet_ms: int = 0
    receipts: list[OrderReceipted] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    processes: int = 0


class Stage(Closing):
    """A log, its judge, and the fleet; leaving it ends every process it started.

    The log is in `folder`, or in topics of its own on the brokers of the log `kafka`.
    Raises what opening such a log raises.
    """

    def __init__(self, folder: Path, kafka: str = "", *, keep: bool = False) -> None:
        self.folder = folder
        self.ground: Ground = KafkaGround(folder, kafka) if kafka else FileGround(folder)
        self._keep = keep
        self.run = new_run_id()
        self.seen = Seen()
        self.began_s = self._ended_s = 0.0
        self.exit_code: int | None = None
        self._judge: subprocess.Popen[bytes] | None = None
        self._fleet: subprocess.Popen[bytes] | None = None
        self._alive = -1

    def close(self) -> None:
        """End every process that was started, and put the log away."""
        if self._fleet is not None and not self._gone(0.0):
            os.killpg(self._fleet.pid, signal.SIGKILL)
        for started in (self._judge, self._fleet):
            if started is not None and started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        if self._alive >= 0:
            os.close(self._alive)
        self.ground.close(keep=self._keep)

    # --- the judge ---

    def start_judge(self) -> None:
        """Start `ledger up` in a process of its own: a judge and an archivist."""
        self._judge = subprocess.Popen(
            [sys.executable, "-m", "ledger.cli", "up"],
            env={**self._environment(), **self.ground.variables},
            stdout=subprocess.DEVNULL, stderr=(self.folder / "judge.log").open("wb"),
            start_new_session=True,
        )  # fmt: skip

    def wait_for_judge(self) -> None:
        """Return once it judges. Raises DemoFailed."""
        until_s = time.monotonic() + JUDGE_WAIT_S
        while not self.ground.ready():
            if self._judge is None or self._judge.poll() is not None:
                raise DemoFailed(f"the judge ended at once: {self._judge_said()}")
            if time.monotonic() > until_s:
                raise DemoFailed(f"nobody judges after {JUDGE_WAIT_S:g} s: {self._judge_said()}")
            time.sleep(POLL_S)

    def stop_judge(self) -> int:
        """Let the judge settle and archive the rest; its exit code. Raises DemoFailed."""
        assert self._judge is not None
        self._judge.terminate()
        try:
            return self._judge.wait(JUDGE_WAIT_S)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"the judge did not end: {self._judge_said()}") from None

    def _judge_said(self) -> str:
        return (self.folder / "judge.log").read_text(errors="replace").strip()[-500:] or "nothing"

    # --- the fleet ---

    def start_fleet(self) -> None:
        """Start the fleet's first process; it starts the others."""
        self._alive, held = os.pipe()
        self.began_s = time.monotonic()
        environment = {
            **self._environment(),
            fleet.RUN: self.run,
            fleet.BEGAN: repr(self.began_s),
            fleet.ALIVE: str(held),
        }
        self._fleet = subprocess.Popen(
            [sys.executable, "-m", "ledger.demo.fleet"],
            env=environment, pass_fds=(held,), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "fleet.log").open("wb"),
        )  # fmt: skip
        os.close(held)

    def _environment(self) -> dict[str, str]:
        """Ours, but for what names another ledger."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(KEPT) or not name.startswith("LEDGER_")
        }
        return {**ours, "LEDGER_LOG": self.ground.url, "LEDGER_ARCHIVE": self.ground.archive}

    def watch(self) -> Iterator[tuple[float, Event | Verdict | None]]:
        """Every event and verdict of the run as it comes, with the seconds since the fleet began;
        None now and then when there is none. Ends with the last process of the fleet.

        Raises DemoFailed when the fleet does not end.
        """
        offset = pos = self.ground.first
        part = self.ground.part(self.run)
        while True:
            over = self._gone(POLL_S)
            for said in part.verdicts(pos, READ_ROWS, self.run):
                pos = said.pos
                verdict = wire.decode_verdict(said.value)
                self._note_verdict(verdict)
                yield time.monotonic() - self.began_s, verdict
            for row in part.read(offset, READ_ROWS):
                offset = row.offset
                event = wire.decode(row.value)
                if row.run == self.run:
                    self._note(event)
                    yield time.monotonic() - self.began_s, event
            yield time.monotonic() - self.began_s, None
            if over and self._heard_out() and self.ground.settled():
                break
            if time.monotonic() - self.began_s > FLEET_WAIT_S:
                raise DemoFailed(f"the fleet still runs after {FLEET_WAIT_S:g} s{self._said()}")
        assert self._fleet is not None
        self.exit_code = self._fleet.wait()

    def _note(self, event: Event) -> None:
        seen = self.seen
        if event.source and event.source != "judge":
            seen.sources.add(event.source)
        if isinstance(event, AgentStarted):
            seen.agents += 1
        elif isinstance(event, OrderReceipted):
            seen.receipts.append(event)

    def _note_verdict(self, verdict: Verdict) -> None:
        seen = self.seen
        if verdict.about == "spawn_requested" and verdict.decision == "deny":
            seen.refused += 1
        for order in verdict.orders:
            seen.order, seen.order_ms = order.order, verdict.at_ms
        if seen.order and seen.order in verdict.quiet:
            seen.quiet_ms = verdict.at_ms

    def _heard_out(self) -> bool:
        """Whether the order is quiet, or nobody will say so any more.

        Whoever died without a receipt is waited for until its leases have run out.
        """
        ended_s = self._ended_s = self._ended_s or time.monotonic()
        seen = self.seen
        return not seen.order or bool(seen.quiet_ms) or time.monotonic() - ended_s > QUIET_WAIT_S

    def _gone(self, timeout_s: float) -> bool:
        """Whether every process of the fleet has ended: nobody holds the pipe open any more."""
        if self._alive < 0:
            return False
        return bool(select.select([self._alive], [], [], timeout_s)[0])

    def _said(self) -> str:
        said = (self.folder / "fleet.log").read_text(errors="replace").strip()[-500:]
        return f": {said}" if said else ""
