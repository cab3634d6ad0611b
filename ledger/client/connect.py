"""The way in: `connect` to a log, and the Ledger it gives: runs, records, orders."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ledger import wire
from ledger.client import admission, drafts
from ledger.client.agent import Agent, Run
from ledger.client.answers import BadValue, Decision, NoAgent
from ledger.client.engine import Engine
from ledger.client.identity import Identity
from ledger.client.lowlevel import ENDINGS, NOTED, note_after, note_before, wish_of
from ledger.client.receipt import Receipt, give_order
from ledger.client.run_id import new_run_id
from ledger.client.values import a_name, an_id, labels, text
from ledger.client.waiter import adrive, drive
from ledger.closing import Closing
from ledger.core import events as e
from ledger.core.policy import DEFAULT, Policy, from_text
from ledger.core.shapes import Action, Grade
from ledger.log import KafkaNotInstalled

if TYPE_CHECKING:
    from ledger.log.needed import ClientLog
    from ledger.log.sqlite import SqliteLog

LOG_VARIABLE = "LEDGER_LOG"
POLICY_VARIABLE = "LEDGER_POLICY"
LOG_DEFAULT = "ledger.db"
KAFKA = ("kafka://", "kafkas://")
JudgeMode = Literal["process", "thread", "none"]


def connect(
    path: str | Path | None = None, *, policy: Policy | str | Path | None = None,
    grade: Grade = "enforced", judge: JudgeMode = "process",
) -> Ledger:  # fmt: skip
    """The ledger whose log is the file at `path` (else LEDGER_LOG, else ledger.db), made if new.

    A `path` that begins with `kafka://` or `kafkas://` is a log on Kafka (`ledger.log.kafka`):
    its topics are there already (`ledger topics apply`), and its judges are workers of the fleet,
    so that `judge` means nothing.
    `policy` judges the runs started here: a Policy, or the path of a TOML file (else
    LEDGER_POLICY, else the default). `judge` says who judges: a process that ends by itself, a
    thread of this process, or none (somebody else does).
    Raises LogError where the log cannot be used, PolicyFileMissing, PolicyFileWrong; on Kafka
    BadPlace, KafkaNotInstalled.
    """
    return Ledger(path, policy=policy, grade=grade, judge=judge)


class Ledger(Closing):
    """A log in use by this process. Close it, or use it as a context. See `connect`."""

    def __init__(
        self, path: str | Path | None = None, *, policy: Policy | str | Path | None = None,
        grade: Grade = "enforced", judge: JudgeMode = "process",
    ) -> None:  # fmt: skip
        self.policy = _policy(policy)
        if judge not in ("process", "thread", "none"):
            raise BadValue("judge", judge, "it is one of process, thread, none")
        self.log: Any
        self.log, self._judge = _opened(
            path or os.environ.get(LOG_VARIABLE, "") or LOG_DEFAULT, judge
        )
        self.path: str = self.log.path
        try:
            self._engine = Engine(self.log, self.policy, grade=grade, ensure=self._judge.ensure)
            self._judge.ensure()
        except BaseException:
            self.log.close()
            raise
        self._recorded: set[str] = set()

    @property
    def dropped(self) -> int:
        """Events that were dropped because the queue was full (`client.queue_full`)."""
        return self._engine.queue.dropped

    @property
    def source(self) -> str:
        """The source under which this process numbers its events."""
        return self._engine.source

    # --- runs ---

    def run(
        self, task: str = "", *, task_key: str = "", tenant: str = "", role: str = "",
        effort: str = "", labels: Mapping[str, str] | None = None, agent: str = "lead",
        run: str = "", prompt: str = "", model_settings: Mapping[str, object] | None = None,
        code_version: str = "", resumes: str = "",
    ) -> Run:  # fmt: skip
        """A run, started when entered and ended when left; its lead becomes the current identity.

        `run` and `agent` name run and lead. Raises BadValue, LogError.
        """
        self._record_policy()
        fields: dict[str, Any] = {
            "policy": self.policy.digest, "task": text("task", task),
            "task_key": a_name("task_key", task_key), "tenant": a_name("tenant", tenant),
            "role": a_name("role", role), "effort": a_name("effort", effort),
            "labels": _labels("labels", labels), "prompt_digest": drafts.digest(prompt),
            "model_settings": _labels("model_settings", model_settings),
            "code_version": a_name("code_version", code_version),
            "resumes": a_name("resumes", resumes),
        }  # fmt: skip
        id = an_id("run", run) if run else new_run_id()
        local = self._engine.run(id, self.policy, owned=not run)
        return Run(self._engine, local, an_id("agent", agent), fields)

    def join(self, identity: Identity | None = None) -> Agent:
        """Act as an agent that was started elsewhere: the one in this process's environment, or
        `identity`. Enter it to make it the current identity.

        Raises NoAgent where there is none, BadIdentity, LogError.
        """
        who = identity or Identity.from_env()
        if who is None:
            raise NoAgent
        run = self._engine.run(who.run, self._policy_of(who.policy), owned=False)
        self._engine.begin()
        return Agent(self._engine, run.agent(who.agent, who.path))

    # --- the low level ---

    def record(self, event: e.Event) -> None:
        """Record an event under this process's source. Promises nothing: see `flush`.

        Raises BadValue for an event that is numbered already, QueueFull, Killed.
        """
        if event.seq or event.source:
            raise BadValue("source", (event.source, event.seq), "record() numbers events itself")
        engine = self._engine
        if isinstance(event, e.RunStarted) and event.policy == self.policy.digest:
            self._record_policy()
        run = engine.runs.get(event.run)
        agent = None if run is None else run.agents.get(event.agent)
        if agent is not None and type(event) not in ENDINGS:
            engine.look(agent)
        if not engine.listener.running:
            engine.begin()
        if engine.queue.room(event.run):
            noted = type(event) in NOTED
            if noted:
                note_before(engine, self._policy_of, event)
            engine.queue.put(event.run, drafts.given, event)
            if noted:
                note_after(engine, event)

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return once everything recorded before is on the disk. Raises NotDurable."""
        self._engine.queue.flush(timeout_s)

    def admit(self, request: admission.Request) -> Decision:
        """Decide a request before acting. Asking again with the same call (or child) gets the
        same answer and spends nothing. Raises Killed.

        When allowed, record the *started* event with `lease=decision.lease`.
        """
        engine = self._engine
        agent, wish = wish_of(engine, self._policy_of, request)
        engine.look(agent)
        found = engine.pledges.find(request)
        if found is not None:
            return found
        decision, lease = drive(admission.admit(engine, agent, wish), engine.queue.pump)
        return engine.pledges.keep(agent, request, decision, lease)

    async def aadmit(self, request: admission.Request) -> Decision:
        """As `admit`, without blocking the loop."""
        engine = self._engine
        agent, wish = wish_of(engine, self._policy_of, request)
        await adrive(admission.held(engine, agent))
        found = engine.pledges.find(request)
        if found is not None:
            return found
        decision, lease = await adrive(admission.admit(engine, agent, wish))
        return engine.pledges.keep(agent, request, decision, lease)

    # --- orders ---

    def kill(
        self, run: str, agent: str = "", *, subtree: bool = False, reason: str = "",
        by: str = "", wait_s: float | None = None,
    ) -> Receipt:  # fmt: skip
        """Stop the run (or one agent, or it with all below it) for good, in every process.

        With `wait_s`, wait that long until the order is quiet. Raises LogError, BadValue.
        """
        return self._order("kill", run, agent, subtree, reason, by, wait_s)

    def pause(
        self, run: str, agent: str = "", *, subtree: bool = False, reason: str = "",
        by: str = "", wait_s: float | None = None,
    ) -> Receipt:  # fmt: skip
        """Let the scope wait at its next ledger call, until resumed. As `kill` otherwise."""
        return self._order("pause", run, agent, subtree, reason, by, wait_s)

    def resume(
        self, run: str, agent: str = "", *, subtree: bool = False, reason: str = "", by: str = "",
    ) -> Receipt:  # fmt: skip
        """Lift a pause or a drain of the scope; never a kill."""
        return self._order("resume", run, agent, subtree, reason, by, None)

    def drain(
        self, run: str, agent: str = "", *, subtree: bool = False, reason: str = "",
        by: str = "", wait_s: float | None = None,
    ) -> Receipt:  # fmt: skip
        """Let the scope finish what it has and start nobody. As `kill` otherwise."""
        return self._order("drain", run, agent, subtree, reason, by, wait_s)

    def _order(
        self, action: Action, run: str, agent: str, subtree: bool, reason: str, by: str,
        wait_s: float | None,
    ) -> Receipt:  # fmt: skip
        return give_order(
            self._engine, action, an_id("run", run), a_name("agent", agent), subtree,
            text("reason", reason), a_name("by", by), wait_s,
        )  # fmt: skip

    # --- life ---

    def close(self, timeout_s: float = 10.0) -> None:
        """Return leases, write everything down, let go. Raises NotDurable, and stays open then."""
        self._engine.close(timeout_s)
        self._judge.stop()
        self.log.close()

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    # --- policies ---

    def _record_policy(self) -> None:
        """The policy's text stands in the log before the first run that names it."""
        policy = self.policy
        if policy.digest in self._recorded:
            return
        event = e.PolicyRecorded(run="policy", digest=policy.digest, text=policy.text)
        self.log.record_policy(policy.digest, policy.text, run="policy", value=wire.encode(event))
        self._recorded.add(policy.digest)

    def _policy_of(self, digest: str) -> Policy:
        """The policy that a run of another process is judged by, as the log has it."""
        if not digest or digest == self.policy.digest:
            return self.policy
        found = self.log.policy(digest)
        return self.policy if found is None else from_text(found)


def _opened(path: str | Path, judge: JudgeMode) -> tuple[ClientLog, _Judge]:
    """The log, and who sees to its judge."""
    if isinstance(path, str) and path.startswith(KAFKA):
        try:
            from ledger.log.kafka import KafkaLog
        except ImportError:
            raise KafkaNotInstalled(path.partition("://")[0]) from None
        return KafkaLog(path), _Judge(None, "none")
    from ledger.log.sqlite import SqliteLog

    log = SqliteLog(path)
    return log, _Judge(log, judge)


class _Judge:
    """Sees to it that somebody judges a log that is a file."""

    def __init__(self, log: SqliteLog | None, mode: JudgeMode) -> None:
        self._log, self._mode = log, mode
        self._stop: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def ensure(self) -> None:
        """Start a judge if nobody judges."""
        if self._log is None:
            return
        if self._mode == "process":
            from ledger import judge

            try:
                judge.ensure(self._log)
            except judge.JudgeNotStarted:
                self._mode = "thread"  # Where no process can be started, a thread judges.
        if self._mode == "thread" and not self._alive():
            self._pid = os.getpid()
            self._start_thread(self._log.path)

    def _alive(self) -> bool:
        """Whether this very process has a judge thread; a fork does not inherit one."""
        return self._pid == os.getpid() and self._thread is not None and self._thread.is_alive()

    def _start_thread(self, path: str) -> None:
        from ledger.judge import Judge
        from ledger.log.sqlite import SqliteLog

        log = SqliteLog(path)
        judge = Judge(log)

        def work() -> None:
            try:
                judge.run()
            finally:
                log.close()

        self._thread = threading.Thread(target=work, name="ledger-judge", daemon=True)
        self._stop = judge.stop
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a process ends by itself."""
        if self._thread is not None and self._alive():
            self._stop()
            self._thread.join(5.0)


def _policy(given: Policy | str | Path | None) -> Policy:
    if isinstance(given, Policy):
        return given
    path = given if given is not None else os.environ.get(POLICY_VARIABLE, "")
    if not path:
        return DEFAULT
    from ledger import policy_file  # Names each mistake by its line; only who has a file needs it.

    return policy_file.load(path)


def _labels(what: str, values: Mapping[str, object] | None) -> dict[str, str]:
    return labels(what, values) if values else {}
