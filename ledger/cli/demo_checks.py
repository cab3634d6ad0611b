"""What the demo claims, and whether it is so: each claim against what was really recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.demo import KILLED_CODE

if TYPE_CHECKING:
    from ledger.cli.story import Told
    from ledger.demo.stage import Seen
    from ledger.replay import ReplayReport
    from ledger.simulate import SimulationReport

PROCESSES_MIN = 2
"""A kill that reached fewer processes proves nothing about crossing them."""


@dataclass(slots=True)
class Facts:
    """Everything the demo saw: the simulation, the fleet as it ran, the log afterwards."""

    alone: SimulationReport
    seen: Seen
    pids: int = 0
    quiet_s: float = 0.0
    fleet_code: int | None = None
    judge_code: int | None = None
    told: Told | None = None
    agents: int = 0
    live_peak: int = 0
    live_max: int = 0
    model_calls: int = 0
    tokens: int = 0
    microdollars: int = 0
    order_s: float = 0.0
    killed: int = 0
    alive: int = 0
    granted_after: int = 0
    sql_agents: int = 0
    sql_microdollars: int = 0
    verified: bool = False
    replay_equal: bool = False
    replay_line: str = ""

    def tell(self, told: Told) -> None:
        """Take the figures of the run from its story."""
        from ledger.core.verdicts import MICRODOLLARS, TOKENS

        run = told.run
        self.told = told
        self.agents = len(run.agents) - 1
        self.live_peak, self.live_max = told.live_peak, run.limits.agents_live_max
        self.model_calls = told.model_calls.total()
        self.tokens = run.budget.spent(TOKENS)
        self.microdollars = run.budget.spent(MICRODOLLARS)
        self.order_s = (self.seen.order_ms - told.began_ms) / 1_000 if self.seen.order_ms else 0.0
        self.alive = run.live
        self.granted_after = told.granted_after_kill
        self.killed = sum(told.state(agent) == "killed" for agent in run.agents.values())

    def replay(self, report: ReplayReport) -> None:
        """Take what the replay found."""
        self.replay_equal = report.equal and report.compared > 0 and not report.unjudged
        self.replay_line = str(report)

    def figures(self) -> dict[str, Any]:
        """The bills of both fleets, and how the real one was stopped."""
        alone = self.alone
        return {
            "left_alone": {
                "agents": alone.agents_spawned,
                "model_calls": alone.model_calls,
                "tokens": alone.tokens,
                "microdollars": alone.microdollars,
            },
            "under_the_ledger": {
                "agents": self.agents,
                "live_peak": self.live_peak,
                "spawns_refused": self.seen.refused,
                "model_calls": self.model_calls,
                "tokens": self.tokens,
                "microdollars": self.microdollars,
                "processes": self.pids,
                "receipts": len(self.seen.receipts),
                "ms_to_quiet": self.seen.quiet_ms - self.seen.order_ms,
                "seconds_to_order": round(self.order_s, 3),
            },
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A claim, whether it is true, and what was found."""

    claim: str
    true: bool
    found: str


@dataclass(slots=True)
class Checks:
    """Every claim of the demo against its facts."""

    facts: Facts
    all: list[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        facts, seen = self.facts, self.facts.seen
        answered = {receipt.source for receipt in seen.receipts}
        self._check("left alone, 2 calls become 242 agents", facts.alone.agents_spawned, 242)
        self._check("under the ledger, spawns are refused", seen.refused, at_least=1)
        self._check(
            "never more agents are alive than the policy allows",
            facts.live_peak, at_least=1, at_most=facts.live_max,
        )  # fmt: skip
        self._check("a rule orders the kill", bool(seen.order), True)
        self._check("the kill reaches more than one process", len(answered), at_least=PROCESSES_MIN)
        self._check("the order becomes quiet", seen.quiet_ms, at_least=max(1, seen.order_ms))
        self._check("nothing is granted after the order", facts.granted_after, 0)
        self._check("agents are killed", facts.killed, at_least=1)
        self._check("nobody is alive afterwards", facts.alive, 0)
        self._check("every process of the fleet ends, killed", facts.fleet_code, KILLED_CODE)
        self._check("the judge ends in order", facts.judge_code, 0)
        self._check("the archive is whole", facts.verified, True)
        self._check("SQL counts the agents that were seen", facts.sql_agents, seen.agents + 1)
        self._check("SQL adds up the bill of the fold", facts.sql_microdollars, facts.microdollars)
        self._check("the replay gives equal verdicts", facts.replay_equal, True)

    @property
    def failed(self) -> list[Check]:
        """The claims that are not true."""
        return [check for check in self.all if not check.true]

    def as_dicts(self) -> list[dict[str, Any]]:
        """The claims as plain values."""
        return [
            {"claim": check.claim, "true": check.true, "found": check.found} for check in self.all
        ]

    def _check(
        self, claim: str, found: Any, expected: Any = None, *,
        at_least: int | None = None, at_most: int | None = None,
    ) -> None:  # fmt: skip
        true = found == expected if expected is not None else True
        if at_least is not None:
            true = true and found >= at_least
        if at_most is not None:
            true = true and found <= at_most
        self.all.append(Check(claim, bool(true), str(found)))
