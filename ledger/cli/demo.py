"""`ledger demo`: a fleet runs away, once left alone and once under the ledger, with real processes.

What a newcomer would get wrong
    Everything shown is checked: what did not happen makes the demo fail, and say what.
    With a log on Kafka it plays on those brokers, in topics of its own, which are removed: the
    ledger that the URL names is not touched.
    Only the part "left alone" is a simulation, counted to its end. The other fleet is real
    processes with the real client on a real log; the model calls in it are scripted.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.demo_checks import Checks, Facts
from ledger.cli.examples import example
from ledger.cli.output import (
    Column,
    Form,
    StatusLine,
    on_terminal,
    one_json,
    rows,
    say,
    say_marked,
)
from ledger.cli.place import make, place
from ledger.cli.text import count, cut, duration, money, plural

if TYPE_CHECKING:
    from ledger.cli.story import Told
    from ledger.demo.ground import Ground
    from ledger.demo.stage import Stage
    from ledger.simulate import SimulationReport

SCENARIO, SEED = "fan_out_242", 1
BAR_WIDTH = 48
REFUSALS_SHOWN = 3
EVIDENCE_SHOWN = 4
QUESTION = """select depth, count(*) as agents, sum(model_calls) as model_calls,
       sum(cost_microdollars) as microdollars
from agents group by depth order by depth"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example(
            "ledger demo", "ledger demo --keep runaway", "ledger --log kafka://127.0.0.1:9092 demo"
        )
    )(demo)


def demo(
    context: typer.Context,
    keep: Annotated[
        Path | None, typer.Option(help="Keep log and archive in this folder.", metavar="FOLDER")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: what was checked, and the figures.")
    ] = False,
) -> None:
    """Watch a fleet run away: left alone (simulated), and under the ledger (real processes).

    2 calls become 242 agents in five minutes, as people really had it. Under the ledger children
    are refused, the whole tree is killed across processes, and what happened can be drawn, asked
    about and replayed. Scripted: no model is called, no money is spent. Takes about ten seconds,
    needs no network, leaves nothing behind. Exit 1 if anything that it shows did not happen.

    With a log on Kafka it plays on its brokers, in topics of its own that are removed at the end;
    a judge and an archivist are started for them. `make demo-kafka` starts a broker, too.
    """
    where = place(context)
    if where.kafka:
        where.on_kafka()
    began_s = time.monotonic()
    with _folder(keep) as folder, contextlib.ExitStack() as muted:
        if as_json:
            muted.enter_context(contextlib.redirect_stdout(io.StringIO()))
        facts, at = _play(folder, where.kafka, kept=keep is not None)
    checks = Checks(facts)
    if as_json:
        figures = {"seconds": round(time.monotonic() - began_s, 1), **facts.figures()}
        one_json({"scripted": True, "checks": checks.as_dicts(), **figures})
    else:
        _end(checks, at, time.monotonic() - began_s, kept=keep is not None)
    if checks.failed:
        raise typer.Exit(1)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder of our own: the one to keep, which must be new or empty, or a temporary one."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="ledger-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise typer.BadParameter(f"{keep} is there and not empty", param_hint="--keep")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep


def _play(folder: Path, kafka: str, *, kept: bool) -> tuple[Facts, Ground]:
    """The whole story, and where it played; raises DemoFailed where it cannot go on."""
    from ledger.demo.stage import Stage
    from ledger.simulate import simulate

    say_marked(("coordination-ledger demo", "bold"))
    say("Scripted after an incident that people really had (anthropics/claude-code #69332).")
    say("No model is called and no money is spent. The processes in part 2 are real.")
    with Stage(folder, kafka, keep=kept) as stage:
        stage.start_judge()
        alone = simulate(SCENARIO, SEED)
        _left_alone(alone)
        stage.wait_for_judge()
        facts = Facts(alone, stage.seen)
        _under_the_ledger(stage, facts, kept=kept)
        facts.fleet_code = stage.exit_code
        facts.judge_code = stage.stop_judge()
        _look_back(stage, facts)
    return facts, stage.ground


# --- 1 -----------------------------------------------------------------------------------------


def _left_alone(alone: SimulationReport) -> None:
    _title("1  Left alone", "counted to its end by simulation")
    most = max(alone.spawns_by_minute)
    for minute, number in enumerate(alone.spawns_by_minute, start=1):
        bar = "█" * max(1, number * BAR_WIDTH // most)
        say_marked((f"  minute {minute}  ", "dim"), (bar, "red"), (f" {number} new agents", ""))
    say()
    say(
        f"  2 calls became {alone.agents_spawned} agents in five minutes: "
        f"{alone.model_calls:,} model calls, {count(alone.tokens)} tokens, "
        f"{money(alone.microdollars)},"
    )
    wasted = money(alone.microdollars_wasted)
    say(f"  {wasted} of it for work that nobody wanted. Nothing stopped it.")


# --- 2 -----------------------------------------------------------------------------------------


def _under_the_ledger(stage: Stage, facts: Facts, *, kept: bool) -> None:
    from ledger.core.verdicts import Verdict
    from ledger.demo.fleet import SPEED

    _title("2  The same fleet under the ledger", f"real processes, {SPEED} times as fast")
    where = "kept" if kept else "removed afterwards"
    say_marked((f"  log {stage.ground.shown} ({where}), default policy", "dim"))
    stage.start_fleet()
    told = _Telling()
    for at_s, news in stage.watch():
        if isinstance(news, Verdict):
            told.verdict(at_s, news, facts)
        elif news is not None:
            told.event(at_s, news)
        else:
            told.count(at_s, stage)
    told.status.clear()
    facts.pids = len(stage.seen.sources)
    say(f"  All {facts.pids} processes of the fleet have ended.")


class _Telling:
    """Says the milestones of the fleet as they happen: a line each, the rest is counted."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self.status = StatusLine()

    def verdict(self, at_s: float, verdict: Any, facts: Facts) -> None:
        """The first refusal by each limit, the finding that led to the order, the order."""
        denial = verdict.denial
        if denial is not None and not facts.seen.order and self._first(denial.limit):
            self._line(at_s, "refused", "yellow", f"“{denial.reason} {denial.instead}”")
        for order in verdict.orders:
            refused = facts.seen.refused
            self._line(
                at_s, "critical", "bold red",
                f"{plural(refused, 'spawn')} refused in all, and it does not listen: "
                "runaway_fan_out",
            )  # fmt: skip
            whole = f"the whole run, by rule: order {order.order}"
            self._line(at_s, order.action, "bold red", whole)
        seen = facts.seen
        if seen.quiet_ms and not facts.quiet_s:
            facts.quiet_s = at_s
            late = f"{seen.quiet_ms - seen.order_ms} ms after the order: "
            text = "every process that held agents has answered, nobody can act"
            self._line(at_s, "quiet", "bold green", late + text)

    def event(self, at_s: float, event: Any) -> None:
        """Starts of the fleet, and receipts."""
        if event.type == "run_started":
            self._line(at_s, "start", "green", "the lead, in a process of its own")
        elif event.type == "order_receipted":
            held = plural(event.agents_stopped, "agent")
            said = f"held {held}: stopped, with {plural(event.calls_in_flight, 'call')} in flight"
            if not event.agents_stopped:
                said = "holds nobody any more, or has not begun: it never will"
            self._line(at_s, "receipt", "", f"process {event.source.split('-')[1]} {said}")

    def count(self, at_s: float, stage: Stage) -> None:
        """What is not said line by line."""
        seen = stage.seen
        self.status.draw(
            f"  {at_s:5.1f} s  {plural(len(seen.sources), 'process', 'processes')}, "
            f"{plural(seen.agents, 'agent')} started, {plural(seen.refused, 'spawn')} refused"
        )

    def _first(self, limit: str) -> bool:
        """Whether this limit refuses for the first time."""
        new = limit not in self._said and len(self._said) < REFUSALS_SHOWN
        self._said.add(limit)
        return new

    def _line(self, at_s: float, word: str, style: str, text: str) -> None:
        self.status.clear()
        say_marked((f"  {at_s:5.1f} s  ", "dim"), (f"{word:<10}", style), text)


# --- 3 to 6 ------------------------------------------------------------------------------------


def _look_back(stage: Stage, facts: Facts) -> None:
    from ledger.archive.verify import verify
    from ledger.cli.asking import catalog, rows_of
    from ledger.cli.drawing import head, tree, wrong
    from ledger.cli.replay import replay_run
    from ledger.cli.story import tell

    where = make(stage.ground.url, stage.ground.archive, None)
    facts.verified = verify(where.archive).ok
    with catalog(where) as opened:
        told = tell(opened, stage.run)
        facts.tell(told)
        _title("3  What an operator sees", "ledger show last")
        head(told)
        wrong(told)
        say()
        tree(told)
        _evidence(opened, told)
        _bill(facts)
        _title("5  Ask anything", "every event, every verdict, a second after it happened")
        say_marked((f'  $ ledger sql "{QUESTION.splitlines()[0]} …"', "bold"))
        answer = opened.sql(QUESTION)
        found = list(rows_of(answer))
        facts.sql_agents = sum(row[1] for row in found)
        facts.sql_microdollars = sum(row[3] for row in found)
        rows(answer.column_names, found, Form.TABLE)
        _title("6  Replay it", f"ledger replay {stage.run[:13]}…")
        report = replay_run(opened, where, stage.run)
        facts.replay(report)
        say(f"  {facts.replay_line}")


def _evidence(opened: Any, told: Told) -> None:
    """The finding that led to the order, and the events that prove it."""
    from ledger.cli.asking import rows_of
    from ledger.cli.tail import event_line

    leading = [pair for pair in told.worst_first() if pair[1].effect.startswith("kill")]
    if not leading:
        return
    verdict, finding = leading[0]
    say()
    say_marked(("  the finding  ", "bold"), f"{finding.severity} {finding.name}: {finding.reason}")
    facts = ", ".join(f"{key} {value}" for key, value in finding.facts.items())
    say(f"  in figures   {facts}")
    offsets = list(finding.evidence)[-EVIDENCE_SHOWN:]
    sql = 'select append_ms, payload from events where list_contains($at, "offset") order by all'
    for append_ms, payload in rows_of(opened.sql(sql, {"at": offsets})):
        line = "".join(text for text, _ in event_line(append_ms, told.run.id, payload.encode()))
        say(f"  evidence     {cut(' '.join(line.split()), 100)}")
    say(f"  by           policy {verdict.policy[:12]}, fold version {verdict.version}")


def _bill(facts: Facts) -> None:
    from ledger.demo.fleet import SPEED

    _title("4  The bill", "scripted prices")
    alone, bill = facts.alone, facts
    order_ms = int(facts.order_s * 1_000)
    stopped = f"{duration(order_ms)} ({duration(order_ms * SPEED)} of the script)"
    figures = [
        ("agents started", f"{alone.agents_spawned:,}", f"{bill.agents:,}"),
        ("alive at once", f"{alone.live_peak:,}", f"{bill.live_peak:,}"),
        ("spawns refused", "0", f"{bill.seen.refused:,}"),
        ("model calls", f"{alone.model_calls:,}", f"{bill.model_calls:,}"),
        ("tokens", count(alone.tokens), count(bill.tokens)),
        ("cost", money(alone.microdollars), money(bill.microdollars)),
        ("stopped after", "never", stopped),
    ]
    rows(
        [Column(""), Column("left alone", style=lambda _: "red", right=True),
         Column("under the ledger", style=lambda _: "green", right=True)],
        figures, Form.TABLE,
    )  # fmt: skip
    if facts.microdollars:
        say(f"  {alone.microdollars // facts.microdollars} times the money, had nobody looked.")


def _end(checks: Checks, ground: Ground, took_s: float, *, kept: bool) -> None:
    say()
    for check in checks.failed:
        say_marked(("  FAILED  ", "bold red"), check.claim, f" ({check.found})")
    if checks.failed:
        wrong = plural(len(checks.failed), "claim")
        say(f"The demo failed: {wrong} of {len(checks.all)} not true.")
        return
    say_marked(
        ("✓ ", "green"), f"{len(checks.all)} claims checked, all true; {took_s:.0f} s; scripted."
    )
    fleet = "://" in ground.shown
    if not kept:
        say("  ledger demo --keep FOLDER   keeps log and archive to look around in")
    else:
        at = f"ledger --log {shlex.quote(ground.shown)}"
        if fleet:
            at += f" --archive {shlex.quote(ground.archive)}"
        for command in ("show last", "findings", "query fan_out_by_run", 'sql "from orders"'):
            say(f"  {at} {command}")
    where = "kafka://host:9092" if fleet else "ledger.db"
    say(f'  import ledger; ledger.connect("{where}")   puts your own fleet under it')


def _title(title: str, note: str) -> None:
    say()
    wide = shutil.get_terminal_size().columns if on_terminal() else 0
    rule = " " + "─" * max(0, min(wide, 100) - len(title) - len(note) - 4) if wide else ""
    say_marked((title, "bold"), (f"  {note}", "dim"), (rule, "dim"))
