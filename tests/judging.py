"""Logs full of events for a judge to judge, and what a plain fold makes of the same log.

`Fleet` writes what clients would write, straight into the log: several runs, each with sources,
agents, calls, leases and orders, sensible mostly. `plain` folds a log the slow, obvious way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from multiprocessing.synchronize import Event as Told
from pathlib import Path
from typing import Any

from ledger.core import events as e
from ledger.core import policy
from ledger.core.codec import dump_run
from ledger.core.events import Event
from ledger.core.fold import apply_published, fold
from ledger.core.shapes import Units
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.judge import Judge
from ledger.judge.memory import Memory
from ledger.judge.records import record_of
from ledger.log.sqlite import SqliteLog
from ledger.wire import UnreadableEvent, decode_verdict, encode

QUICK = policy.Policy(
    name="quick", lease=policy.Leases(ttl_ms=300), memory=policy.Memory(linger_ms=200)
)
"""Leases end and ended runs are forgotten while a test watches."""
BRIEF = policy.Policy(
    name="brief",
    lease=policy.Leases(ttl_ms=100),
    memory=policy.Memory(linger_ms=0),
)
"""Ended runs are forgotten at once."""


def append(log: SqliteLog, *events: Event) -> list[int]:
    """Put events into the log; their offsets."""
    return log.append([(event.run, encode(event)) for event in events])


def start(log: SqliteLog, run: str, source: str, pinned: policy.Policy | None = None) -> None:
    """Begin a run with the agent `lead`, as number 1 of `source`."""
    digest = ""
    if pinned is not None:
        digest = pinned.digest
        recorded = e.PolicyRecorded(run="policy", digest=digest, text=pinned.text)
        log.record_policy(digest, pinned.text, run="policy", value=encode(recorded))
    append(log, e.RunStarted(run=run, agent="lead", source=source, seq=1, policy=digest))


@dataclass
class Fleet:
    """Runs of one source, at random but repeatable: `say` writes the next events to the log."""

    log: SqliteLog
    source: str
    seed: int
    runs: int = 3
    pinned: policy.Policy | None = None
    seqs: dict[str, int] = field(default_factory=dict)
    agents: dict[str, list[str]] = field(default_factory=dict)
    leases: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    said: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def begin(self) -> None:
        """Start the runs."""
        for n in range(self.runs):
            start(self.log, self._new(f"{self.source}-{n}"), self.source, self.pinned)

    def turn_over(self) -> None:
        """End a run that is there, order one about, and start another under its orders."""
        old = self.chance.choice(sorted(self.seqs))
        self.seqs[old] += 1
        new = self._new(f"{old}+")
        append(
            self.log,
            e.OrderGiven(run=old, order=f"o{self.said}", action="pause"),
            e.RunEnded(run=old, source=self.source, seq=self.seqs.pop(old)),
            e.OrderGiven(run=new, order=f"o{self.said}", action="pause"),
        )
        if len(self.seqs) < 3 or self.chance.randrange(3):
            start(self.log, new, self.source, self.pinned)
        else:
            del self.seqs[new]

    def _new(self, run: str) -> str:
        self.seqs[run], self.agents[run] = 1, ["lead"]
        self.leases[run], self.calls[run] = [], []
        return run

    def say(self, count: int) -> None:
        """Append `count` events in one transaction."""
        end = self.log.end()
        batch = [self._next(end + n) for n in range(count)]
        append(self.log, *batch)
        self.said += count

    def _next(self, likely_offset: int) -> Event:
        run = self.chance.choice(sorted(self.seqs))
        self.seqs[run] += 1
        head: dict[str, Any] = {"run": run, "source": self.source, "seq": self.seqs[run]}
        agent = self.chance.choice(self.agents[run])
        name = f"{run}-{self.seqs[run]}"
        lease = self.chance.choice([*self.leases[run], ""])
        kind = self.chance.randrange(10)
        if kind == 0:
            self.leases[run] = [*self.leases[run][-8:], f"0-{likely_offset}"]
            return e.LeaseRequested(agent=agent, wants=Units(tool_calls=4, tokens=900), **head)
        if kind == 1:
            return e.SpawnRequested(agent=agent, child=name, **head)
        if kind == 2 and len(self.agents[run]) < 12:
            self.agents[run].append(name)
            return e.AgentStarted(agent=name, parent=agent, lease=lease, **head)
        if kind == 3:
            return e.LeaseReturned(agent=agent, lease=lease or "none", **head)
        if kind < 7 or not self.calls[run]:
            self.calls[run] = [*self.calls[run][-8:], (agent, name)]
            tool = self.chance.choice(["search", "read", "write"])
            repeated = self.chance.randrange(1, 4)
            return e.ToolCallStarted(
                agent=agent, call=name, tool=tool, lease=lease, args_fp=repeated, **head
            )
        caller, call = self.calls[run].pop()
        return e.ToolCallEnded(agent=caller, call=call, **head)


def forms(state: State) -> dict[str, bytes | int]:
    """Everything that a state knows, in a form that can be compared."""
    known: dict[str, bytes | int] = {run: dump_run(held) for run, held in state.runs.items()}
    known |= {f"ended {n} {run}": at for n, (run, at) in enumerate(state.ended.items())}
    known |= {f"latched {run}": bits for run, bits in state.latched.items()}
    return known | {f"policy {digest}": 1 for digest in state.policies}


def plain(log: SqliteLog) -> tuple[State, dict[int, Verdict]]:
    """State and verdicts (by offset) of folding the whole log with nothing but the core."""
    state = State()
    verdicts: dict[int, Verdict] = {}
    for row in log.read(0, 10**9):
        try:
            verdict = fold(state, record_of(row))
        except UnreadableEvent:
            continue
        if verdict is not None:
            verdicts[row.offset] = verdict
    return state, verdicts


def applied(log: SqliteLog) -> State:
    """State of applying what was published to the whole log."""
    state, said = State(), published(log)
    for row in log.read(0, 10**9):
        try:
            apply_published(state, record_of(row), said.get(row.offset))
        except UnreadableEvent:
            continue
    return state


def published(log: SqliteLog) -> dict[int, Verdict]:
    """What was published, by offset. Fails where one event was judged twice."""
    rows = log.verdicts(0, 10**9)
    offsets = [row.offset for row in rows]
    assert offsets == sorted(set(offsets)), "an event was judged twice"
    return {row.offset: decode_verdict(row.value) for row in rows}


def unsigned(verdicts: dict[int, Verdict]) -> dict[int, Verdict]:
    """Verdicts without the generation of the judge, which no fold knows."""
    return {offset: replace(verdict, generation=0) for offset, verdict in verdicts.items()}


def flood(path: str, source: str, stop: Told) -> None:
    """What a client process does in a live test: write until told, in small transactions."""
    with SqliteLog(path) as log:
        fleet = Fleet(log, source, seed=sum(source.encode()))
        fleet.begin()
        while not stop.wait(0.005):  # Told, not timed: who waits for its events may be slow.
            fleet.say(20)


def caught_up(log: SqliteLog) -> bool:
    """Whether everything in the log is judged."""
    return log.judge().next_offset == log.end()


def log_at(folder: Path) -> SqliteLog:
    """A new log in a folder."""
    return SqliteLog(folder / "ledger.db")


def judge_all(judge: Judge) -> None:
    """Let it judge until there is nothing left."""
    assert judge.elected()
    while memory_of(judge).next_offset < judge.log.end():
        judge.step()


def crash(judge: Judge) -> None:
    """As `kill -9` leaves it: nothing settled, nothing written down."""
    epoch = judge.epoch
    judge._forget()
    judge.log.resign(epoch)


def memory_of(judge: Judge) -> Memory:
    """What the judge holds."""
    assert judge._term is not None
    return judge._term.memory
