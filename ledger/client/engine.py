"""The parts of a client, put together for one process: queue, verdicts, orders, listener.

What a newcomer would get wrong
    After a fork the child gets new parts under a new source, and nothing of the parent's:
    no event, no lease, no thread (`start_over`). What the parent said is in the log before.
    Threads start with the first event, not with `connect`.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ledger.client import admission, leases
from ledger.client.answers import Closed, Decision, NotDurable
from ledger.client.listener import Listener
from ledger.client.local import LocalAgent, LocalRun
from ledger.client.lowlevel import Pledges
from ledger.client.orders import Orders, killed_by
from ledger.client.queue import Queue
from ledger.client.source import new_source, tag
from ledger.client.tasks import this_task
from ledger.client.verdicts import Verdicts
from ledger.client.waiter import drive
from ledger.core.events import EVENT_TYPES
from ledger.core.state import KILL
from ledger.errors import LedgerError
from ledger.log import sqlite_fork  # noqa: F401  # Its hook first: what is last runs first.

if TYPE_CHECKING:
    from ledger.core.policy import Policy
    from ledger.core.verdicts import RuleOrder, Verdict
    from ledger.log.needed import ClientLog

RUNS_ENDED_MAX = 1_000
EXIT_S = 2.0
"""How long an ending process waits for its last events to be written."""


class Engine:
    """What one process of `log` runs. `ensure` sees to it that somebody judges."""

    def __init__(
        self, log: ClientLog, policy: Policy, *, grade: str, ensure: Callable[[], object]
    ) -> None:
        self.log, self.policy, self._ensure = log, policy, ensure
        self.runs: dict[str, LocalRun] = {}
        limits = policy.client
        self.source = new_source()
        self.queue = Queue(
            log, self.source, grade=grade, size_max=limits.queue_max, full=limits.queue_full,
            wait_s=max(1.0, policy.unreachable.wait_ms / 1000),
        )  # fmt: skip
        self.verdicts = Verdicts(
            log, self.runs, self.source, on_answer=self.reached, on_order=self._rule_order,
            on_unclaimed=lambda verdict: admission.unclaimed(self, verdict), on_recall=self._recall,
        )  # fmt: skip
        self.orders = Orders(log, self.runs, self.queue)
        self.listener = Listener(
            log, hear=self._hear, chores=self._chores, waiting=lambda: self.verdicts.waiting
        )
        self.pledges = Pledges()
        self.generation = 0
        self.closed = False
        self._fresh()
        _engines.add(self)

    def _fresh(self) -> None:
        self.tag = tag(self.source)
        self._numbers = itertools.count(1)
        self._registered = self._judge_wanted = False
        self._away_since_s = 0.0
        self._begin_lock = threading.Lock()
        self._runs_lock = threading.Lock()

    # --- life ---

    def begin(self) -> None:
        """Be heard and hear: register this source and start listening. Cheap when done."""
        if self.listener.running:
            return
        if self.closed:
            raise Closed
        with self._begin_lock:
            if not self.listener.running:
                self.verdicts.begin()
                self._register()
                self.listener.start(self.source)
                for event in EVENT_TYPES:  # 10 ms now, that the first order would have to wait.
                    event.model_rebuild()

    def _register(self) -> None:
        """Say that this process is behind the source, so that it can be proved dead."""
        try:
            self.log.register_holder(self.source)
        except LedgerError:
            return  # The disk may be full; the chores try again, and recording goes on.
        self._registered = True

    def start_over(self) -> None:
        """In a forked child: another source, with nothing of the parent's."""
        if self.closed:
            return
        self.generation += 1
        self.source = new_source()
        self.queue.start_over(self.source)
        self.verdicts.start_over(self.source)
        self.listener.forget()
        self.pledges = Pledges()
        for run in self.runs.values():
            run.start_over()
        self._fresh()
        self.orders.start_over()

    def close(self, timeout_s: float) -> None:
        """Return leases and write everything down. Raises NotDurable."""
        if self.closed:
            return
        self.pledges.drop(self)
        for run in tuple(self.runs.values()):
            self.give_back(run)
        self.queue.close(timeout_s)
        self.closed = True
        _engines.discard(self)
        if self.listener.running:
            self.listener.close(timeout_s)
            self.log.forget_holders([self.source])

    # --- what a call looks at ---

    def peek(self) -> None:
        """Take in orders that are new; 0.1 µs where there are none."""
        if self.log.control_hint() != self.orders.hint:
            self.orders.look()

    def look(self, agent: LocalAgent) -> None:
        """The check of every ledger call that is no admission: raises Killed, waits in a pause,
        and raises Denied when that takes too long.

        In a task it does not wait: what is only recorded is no act, and others share the loop.
        """
        self.peek()
        if agent.bits & KILL:
            raise killed_by(agent)
        if agent.bits and this_task() is None:
            drive(admission.held(self, agent), self.queue.pump)

    def unreachable(
        self, agent: LocalAgent, kind: Literal["spawn", "tool_call", "model_call"]
    ) -> Decision:
        """Nobody answered: what the policy says of such an act, and for how long."""
        policy = agent.run.policy.unreachable
        now = time.monotonic()
        if not self._away_since_s:
            self._away_since_s = now - policy.wait_ms / 1000
        away_ms = int((now - self._away_since_s) * 1000)
        problem = self.queue.problem or self.listener.problem
        why = f"the log says: {problem}" if problem else "no judge answers"
        if getattr(policy, kind) == "proceed" and away_ms <= policy.proceed_ms:
            return Decision(True, admitted=False, reason=f"The ledger cannot be reached: {why}.")
        return Decision(
            False, "deny", reason=f"The ledger cannot be reached: {why}.",
            limit=f"unreachable.{kind}", retry_ms=policy.wait_ms,
            instead="Finish with what you have, or try again later.",
        )  # fmt: skip

    @property
    def away(self) -> bool:
        """Whether the last that was asked got no answer."""
        return bool(self._away_since_s)

    def reached(self) -> None:
        """Somebody answered."""
        self._away_since_s = 0.0

    def want_judge(self) -> None:
        """See that somebody judges; the listening thread does it, because it may take a while."""
        self._judge_wanted = True
        self.log.ring("client", self.source)

    def name(self) -> str:
        """A name for a call, a plan, an order: never given twice in a log."""
        return f"{self.tag}-{next(self._numbers)}"

    # --- runs ---

    def run(self, id: str, policy: Policy, *, owned: bool) -> LocalRun:
        """The run, made known here, under the orders that were given on it before."""
        self.log.follow(id)
        with self._runs_lock:  # Two of one run would each miss the other's orders.
            found = self.runs.get(id)
            if found is None:
                found = self.runs[id] = LocalRun(id, policy, owned=owned)
                self._forget_ended()
                try:
                    if not owned:
                        self.orders.look_back(found)
                except BaseException:
                    del self.runs[id]
                    raise
            return found

    def child_name(self, run: LocalRun, role: str) -> str:
        """A name for a child that nobody named: its role and a number, short where this process
        started the run, since then nobody else names children by the number alone."""
        number = run.names[role] = run.names.get(role, 0) + 1
        who = (role or "agent")[:100]
        ours = run.owned and self.generation == 0
        return f"{who}-{number}" if ours else f"{who}-{self.tag}-{number}"

    def give_back(self, run: LocalRun) -> None:
        """Return every lease that this process holds in the run."""
        for agent in tuple(run.agents.values()):
            leases.give_back(agent, self.queue)

    def _forget_ended(self) -> None:
        if len(self.runs) > RUNS_ENDED_MAX:
            over = [run.id for run in tuple(self.runs.values()) if run.over]
            for id in over[:-RUNS_ENDED_MAX]:
                del self.runs[id]

    # --- the listening thread ---

    def _hear(self) -> None:
        self.peek()
        self.verdicts.read()
        if self._judge_wanted:
            self._judge_wanted = False
            self._ensure()

    def _chores(self) -> None:
        if not self._registered:
            self._register()
        self.log.still_follow([run.id for run in tuple(self.runs.values()) if not run.over])
        for run in tuple(self.runs.values()):
            for agent in tuple(run.agents.values()):
                leases.give_back(agent, self.queue, idle_ns=leases.IDLE_NS)

    def _recall(self, run: LocalRun, ids: tuple[str, ...]) -> None:
        for agent in tuple(run.agents.values()):
            if agent.lease is not None and agent.lease.id in ids:
                leases.recall(agent, agent.lease.id, self.queue)

    def _rule_order(self, verdict: Verdict, order: RuleOrder) -> None:
        self.orders.lay(verdict.run, verdict.at_ms, order)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _before_fork() -> None:
    """What the child says must not come before what it rests on: the run, the agent."""
    while True:
        try:
            engines = list(_engines)
            break
        except RuntimeError:  # Another thread connected while we looked.
            continue
    for engine in engines:
        engine.queue.settle()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine.start_over()
    # A child of `multiprocessing` ends without `atexit`, and forgets finalizers made before.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(
            _at_exit, lambda flush: util.Finalize(None, flush, exitpriority=100)
        )


def _at_exit() -> None:
    """A process that ends without `close` still writes what it recorded, if it can in time."""
    for engine in list(_engines):
        try:
            for run in tuple(engine.runs.values()):
                engine.give_back(run)
            engine.queue.close(EXIT_S)
        except NotDurable:
            continue


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
