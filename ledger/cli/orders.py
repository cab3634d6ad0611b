"""`ledger kill`, `pause`, `resume`: orders of a person, and the receipts that come back.

What a newcomer would get wrong
    An order is in the log before anything else happens, and bites from there, with or without a
    judge. Loading DuckDB first would cost the operator a second: only the log is opened here.
    On Kafka the run's own partition is asked first, so that an order to a whole id is quick.
    A judge knows who has to answer, and says when all have. Without one, whoever answers within
    the wait is shown, and nobody can say that this is all.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ledger.cli.asking import RunUnknown, pick
from ledger.cli.examples import example
from ledger.cli.output import complain, one_json, say
from ledger.cli.place import on_kafka, place
from ledger.cli.text import count, duration, money, plural
from ledger.core.events import OrderGiven, OrderReceipted
from ledger.core.shapes import Action, Scope

if TYPE_CHECKING:
    from ledger.cli.place import AnyLog, AnyPart
    from ledger.log.kafka import KafkaLog
    from ledger.log.sqlite import SqliteLog

LOOK_S = 2.0
"""How long receipts are waited for where nobody says how long."""
READ_ROWS = 2_000
POLL_S = 0.05
RUN_CHARS_MAX = 128
"""Characters of a run's id; longer keys among the checkpoints are the judge's own."""

RunId = Annotated[str, typer.Argument(help="The run, or how its id begins.", metavar="RUN")]
AgentId = Annotated[str | None, typer.Option(help="Only this agent.", metavar="AGENT")]
Subtree = Annotated[bool, typer.Option("--subtree", help="And all agents below it.")]
Reason = Annotated[str, typer.Option(help="Why; it is in the log for good.", metavar="TEXT")]
Wait = Annotated[
    float | None,
    typer.Option(
        help="Wait so long for every receipt; exit 1 if one is missing then.",
        metavar="SECONDS", min=0.0, max=3600.0,
    ),
]  # fmt: skip
Unseen = Annotated[
    bool, typer.Option("--unseen", help="Also a run that nobody announced yet: it is held so.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object.")]


@dataclass(slots=True)
class Given:
    """An order in the log, and what came back."""

    event: OrderGiven
    offset: int
    receipts: list[OrderReceipted] = field(default_factory=list)
    quiet: bool = False
    quiet_ms: int = 0
    refused: str = ""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog=example(
            'ledger kill 0199c0de --reason "it searches in circles"',
            "ledger kill 0199c0de --agent researcher-1 --subtree --wait 5",
        )
    )(kill)
    app.command(epilog=example("ledger pause 0199c0de --agent researcher-1"))(pause)
    app.command(epilog=example("ledger resume 0199c0de"))(resume)


def kill(
    context: typer.Context, run: RunId, agent: AgentId = None, subtree: Subtree = False,
    reason: Reason = "", wait: Wait = None, unseen: Unseen = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Kill a run, an agent, or an agent with all below it, in whatever process they live.

    Nothing in the scope is granted from then on, and it cannot be lifted. Every process that
    has agents there answers with a receipt: agents stopped, calls in flight, cost since.
    Works without a judge.
    """
    _order(context, "kill", run, agent, subtree, reason, wait, unseen, as_json)


def pause(
    context: typer.Context, run: RunId, agent: AgentId = None, subtree: Subtree = False,
    reason: Reason = "", wait: Wait = None, unseen: Unseen = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Make a run, an agent, or an agent with all below it wait at its next step.

    `ledger resume` lifts it; the policy says how long a paused agent waits (client.pause_max_ms).
    """
    _order(context, "pause", run, agent, subtree, reason, wait, unseen, as_json)


def resume(
    context: typer.Context, run: RunId, agent: AgentId = None, subtree: Subtree = False,
    reason: Reason = "", wait: Wait = None, unseen: Unseen = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Let what was paused go on. A kill stays."""
    _order(context, "resume", run, agent, subtree, reason, wait, unseen, as_json)


def find_in_log(log: AnyLog, prefix: str) -> str:
    """The run of this id, or the only one whose id begins so, without the archive.

    Raises RunUnknown, RunAmbiguous.
    """
    fleet = on_kafka(log)
    if fleet is not None:
        return _find_on_kafka(fleet, prefix)
    return prefix if log.read_run(prefix, 1) else pick(prefix, _known_runs(cast("SqliteLog", log)))


def _known_runs(log: SqliteLog) -> list[str]:
    """The runs that the judge holds, and those that the log has from its checkpoint on."""
    kept = log.load_checkpoints()
    found = {run for run in kept.states if 0 < len(run) <= RUN_CHARS_MAX}
    after = kept.next_offset - 1
    while page := log.read(after, READ_ROWS):
        found |= {row.run for row in page}
        after = page[-1].offset
    return sorted(found - {"policy"})


def _find_on_kafka(log: KafkaLog, prefix: str) -> str:
    """The same, of all partitions; the last resort is to read the one that the id belongs to."""
    look = log.look()
    if prefix in look.runs([log.part_of(prefix).number]):
        return prefix
    try:
        return pick(prefix, sorted(look.runs(range(log.partitions))))
    except RunUnknown:
        if log.read_run(prefix, 1):
            return prefix
        raise


def _order(
    context: typer.Context, action: Action, run: str, agent: str | None, subtree: bool,
    reason: str, wait: float | None, unseen: bool, as_json: bool,
) -> None:  # fmt: skip
    if subtree and not agent:
        raise typer.BadParameter("needs --agent: the agent at its top", param_hint="--subtree")
    scope: Scope = "run" if not agent else "subtree" if subtree else "agent"
    with place(context).open_log() as log:
        run = run if unseen else find_in_log(log, run)
        event = OrderGiven(
            run=run, agent=agent or "", order=_id(action), action=action, scope=scope,
            reason=reason, by=_who(), at_ms=time.time_ns() // 1_000_000, grade="declared",
        )  # fmt: skip
        given = _give(log, event, LOOK_S if wait is None else wait, silent=as_json)
    if as_json:
        one_json(_as_dict(given))
    else:
        _conclude(given)
    if given.refused or (wait is not None and action != "resume" and not given.quiet):
        raise typer.Exit(1)


def _give(log: AnyLog, event: OrderGiven, wait_s: float, *, silent: bool) -> Given:
    """Put the order into the log, then wait for what comes back; says each thing as it comes."""
    from ledger import wire

    part = log.part_of(event.run)
    verdict_pos = part.verdicts_end()
    with log.bell("judge", "an-order") as bell:
        given = Given(event, log.append_order(event.run, wire.encode(event)))
        if not silent:
            say(f"{event.action} of {_scope(event)} is in the log at offset {given.offset}")
        offset, until_s = given.offset, time.monotonic() + wait_s
        while True:
            # In this order: a receipt is in the log before the judge says that all are.
            verdict_pos = _verdicts(part, given, verdict_pos)
            offset = _receipts(part, given, offset, silent)
            left_s = until_s - time.monotonic()
            if given.quiet or given.refused or left_s <= 0 or event.action == "resume":
                return given
            bell.wait(min(POLL_S, left_s))


def _receipts(part: AnyPart, given: Given, after: int, silent: bool) -> int:
    from ledger import wire

    mark = given.event.order.encode()
    while page := part.read(after, READ_ROWS):
        for row in page:
            if row.run != given.event.run or mark not in row.value:
                continue
            event = wire.decode(row.value)
            if isinstance(event, OrderReceipted) and event.order == given.event.order:
                given.receipts.append(event)
                if not silent:
                    say(f"  {event.source}: {_receipt(event)}")
        after = page[-1].offset
    return after


def _verdicts(part: AnyPart, given: Given, after: int) -> int:
    from ledger import wire

    while page := part.verdicts(after, READ_ROWS, given.event.run):
        for row in page:
            if row.offset < 0:
                continue  # No verdict: anybody may write into a topic.
            verdict = wire.decode_verdict(row.value)
            if given.event.order in verdict.quiet:
                given.quiet, given.quiet_ms = True, verdict.at_ms
            if row.offset == given.offset:
                given.refused = verdict.refusal
        after = page[-1].pos
    return after


def _receipt(event: OrderReceipted) -> str:
    words = [plural(event.agents_stopped, "agent") + " stopped"]
    if event.calls_in_flight:
        words.append(plural(event.calls_in_flight, "call") + " in flight")
    if event.tokens_since or event.microdollars_since:
        words.append(f"{count(event.tokens_since)} tokens, {money(event.microdollars_since)} since")
    return ", ".join(words)


def _conclude(given: Given) -> None:
    action = given.event.action
    if given.refused:
        complain(f"ledger: the order was refused: {given.refused}")
    elif action == "resume":
        say("whoever waited goes on")
    elif given.quiet:
        took = duration(max(0, given.quiet_ms - given.event.at_ms))
        say(f"quiet after {took}: nobody in its scope can act any more")
    elif given.receipts:
        say("not quiet yet: somebody has not answered, or nobody judges (`ledger show` says who)")
    else:
        say("nobody has answered yet; the order holds whoever comes")


def _scope(event: OrderGiven) -> str:
    if event.scope == "run":
        return f"run {event.run}"
    below = " and all below" if event.scope == "subtree" else ""
    return f"agent {event.agent}{below} of run {event.run}"


def _as_dict(given: Given) -> dict[str, Any]:
    event = given.event
    took = max(0, given.quiet_ms - event.at_ms) if given.quiet else None
    wanted = ("source", "agents_stopped", "calls_in_flight", "tokens_since", "microdollars_since")
    return {
        "run": event.run,
        "order": event.order,
        "action": event.action,
        "scope": event.scope,
        "agent": event.agent,
        "offset": given.offset,
        "refused": given.refused,
        "quiet": given.quiet,
        "ms_to_quiet": took,
        "receipts": [{name: getattr(one, name) for name in wanted} for one in given.receipts],
    }


def _id(action: str) -> str:
    """An id that no other order of the run has: when, and which process."""
    return f"{action}-{time.time_ns() // 1_000:x}-{os.getpid():x}"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:RUN_CHARS_MAX]
