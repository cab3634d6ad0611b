"""Counting one run as it goes, into the report that is its end.

What is counted is what happened: agents that started, calls that were made, tokens that were
used. The tests hold it against the budgets of the fold, which counts the same from events.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ledger.core.verdicts import SEVERITIES, Denial, Effect, Severity, Verdict
from ledger.simulate.acts import CallModel, CallTool
from ledger.simulate.report import Quoted, SimulationReport

if TYPE_CHECKING:
    from ledger.simulate.actor import Actor
    from ledger.simulate.stage import Stage

MINUTE_MS = 60_000


@dataclass(slots=True)
class _Heard:
    """A finding about one subject, and what had happened when it first spoke."""

    name: str
    subject: str
    severity: Severity
    effect: Effect
    level: int
    first_ms: int
    agents_before: int
    microdollars_before: int
    microdollars_wasted_before: int
    calls_wasted_before: int
    reason: str


@dataclass(slots=True)
class Tally:
    """The counters of one run; money in microdollars, times in ms since the run began."""

    stage: Stage
    outcome: str = "stuck"
    agents_spawned: int = 0
    agents_wasted: int = 0
    spawns_refused: int = 0
    calls_refused: int = 0
    live_peak: int = 0
    children_open_peak: int = 0
    depth_peak: int = 0
    tool_calls: int = 0
    model_calls: int = 0
    errors: int = 0
    tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    microdollars: int = 0
    tool_calls_wasted: int = 0
    model_calls_wasted: int = 0
    call_ms_wasted: int = 0
    tokens_wasted: int = 0
    microdollars_wasted: int = 0
    ended_ms: int = 0
    killed_ms: int | None = None
    quiet_ms: int | None = None
    events: int = 0
    verdicts: int = 0
    events_refused: int = 0
    spawns_by_minute: list[int] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    _open: dict[str, int] = field(default_factory=dict)
    _heard: dict[tuple[str, str], _Heard] = field(default_factory=dict)

    def joined(self, actor: Actor) -> None:
        """An agent lives; the lead is not counted as spawned."""
        self.live_peak = max(self.live_peak, len(self.stage.live))
        self.depth_peak = max(self.depth_peak, actor.depth)
        if actor.parent is None:
            return
        self.agents_spawned += 1
        self.agents_wasted += actor.waste
        opened = self._open.get(actor.parent.name, 0) + 1
        self._open[actor.parent.name] = opened
        self.children_open_peak = max(self.children_open_peak, opened)
        minute = self._now_ms() // MINUTE_MS
        self.spawns_by_minute += [0] * (minute + 1 - len(self.spawns_by_minute))
        self.spawns_by_minute[minute] += 1

    def left(self, actor: Actor) -> None:
        """An agent is no more."""
        if actor.parent is not None:
            self._open[actor.parent.name] -= 1

    def tool_call(self, act: CallTool, *, wasted: bool) -> None:
        """A tool call started."""
        self.tool_calls += 1
        if wasted:
            self.tool_calls_wasted += 1
            self.call_ms_wasted += act.ms

    def model_call(self, act: CallModel, *, wasted: bool) -> None:
        """A model call ended."""
        self.model_calls += 1
        self.tokens += act.tokens
        self.cache_read_tokens += act.cache_read
        self.output_tokens += act.output
        self.microdollars += act.microdollars
        self.errors += bool(act.error)
        if wasted:
            self.model_calls_wasted += 1
            self.call_ms_wasted += act.ms
            self.tokens_wasted += act.tokens
            self.microdollars_wasted += act.microdollars

    def ordered(self, action: str) -> None:
        """An order was given, by a rule or a person."""
        if action == "kill" and self.killed_ms is None:
            self.killed_ms = self._now_ms()

    def wrote(self, verdict: Verdict | None) -> None:
        """An event was written and judged."""
        self.events += 1
        if verdict is None:
            return
        self.verdicts += 1
        self.events_refused += bool(verdict.refusal)
        for finding in verdict.findings:
            self._hear(finding.name, finding.subject, finding.severity, finding.effect,
                       finding.level, finding.reason)  # fmt: skip
        for order in verdict.orders:
            self.ordered(order.action)
        if verdict.quiet:
            self.quiet_ms = self._now_ms()

    def call_refused(self, denial: Denial) -> None:
        """An agent was told that it may not make a call."""
        self.calls_refused += 1
        self.limits[denial.limit] = self.limits.get(denial.limit, 0) + 1

    def spawn_refused(self, denial: Denial) -> None:
        """An agent was told that it may not start a child."""
        self.spawns_refused += 1
        self.limits[denial.limit] = self.limits.get(denial.limit, 0) + 1

    def over(self) -> None:
        """Nobody of the run lives any more."""
        self.ended_ms = self._now_ms()

    def report(self) -> SimulationReport:
        """What has been counted so far."""
        stage = self.stage
        policy = stage.world.policy
        names = (
            "outcome agents_spawned agents_wasted spawns_refused calls_refused live_peak "
            "children_open_peak depth_peak tool_calls model_calls errors tokens "
            "cache_read_tokens output_tokens microdollars tool_calls_wasted model_calls_wasted "
            "call_ms_wasted tokens_wasted "
            "microdollars_wasted events verdicts events_refused"
        ).split()
        return SimulationReport(
            scenario=stage.scenario.name,
            seed=stage.seed,
            policy=policy.digest if policy is not None and stage.world.watched else "",
            duration_ms=self.ended_ms or self._now_ms(),
            killed_at_ms=self.killed_ms,
            quiet_at_ms=self.quiet_ms,
            spawns_by_minute=tuple(self.spawns_by_minute),
            limits=dict(sorted(self.limits.items())),
            findings=tuple(Quoted(**asdict(heard)) for heard in self._heard.values()),
            **{name: getattr(self, name) for name in names},
        )  # fmt: skip

    def _hear(
        self, name: str, subject: str, severity: Severity, effect: Effect, level: int, reason: str
    ) -> None:
        if not level:
            return
        heard = self._heard.get((name, subject))
        if heard is None:
            self._heard[name, subject] = _Heard(
                name, subject, severity, effect, level, self._now_ms(), self.agents_spawned,
                self.microdollars, self.microdollars_wasted,
                self.tool_calls_wasted + self.model_calls_wasted, reason,
            )  # fmt: skip
            return
        heard.level = max(heard.level, level)
        if SEVERITIES.index(severity) > SEVERITIES.index(heard.severity):
            heard.severity, heard.effect, heard.reason = severity, effect, reason

    def _now_ms(self) -> int:
        return self.stage.world.now_ms - self.stage.began_ms
