"""A run as text: what went wrong at a glance, orders and receipts, the spawn tree with budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ledger.cli.output import Column, Form, rows, say, say_marked
from ledger.cli.runs import style
from ledger.cli.story import OrderTold, Told, left, spent
from ledger.cli.text import count, cut, duration, money, plural, when
from ledger.core.state import Agent, Run
from ledger.core.verdicts import MICRODOLLARS, SPAWNS, TOKENS, UNITS

CHILDREN_SHOWN = 12
"""Children of one agent that are drawn one by one; the quiet ones beyond are summed up."""
FINDINGS_SHOWN = 8
TASK_SHOWN = 72
LEFT_SHOWN = 50
"""Below so many percent of its scarcest unit, an agent's line says which unit that is."""


# --- the head ----------------------------------------------------------------------------------


def head(told: Told) -> None:
    """Who, what, when, and the bill against its limits."""
    run, started = told.run, told.started
    state = told.state()
    say_marked((run.id, "bold"), (f"  {state}", style(state)))
    about = [
        f"tenant {run.tenant}" if run.tenant else "",
        f"effort {run.effort}" if run.effort else "",
        "imported: seen from outside" if run.observed else "",
        f"policy {run.policy.name} {run.policy.digest[:12]}",
    ]
    if started.task or started.task_key:
        say(f"  task     {cut(started.task or started.task_key, TASK_SHOWN)}")
    began = when(told.began_ms) or "at no known time"
    took = duration(run.now_ms - told.began_ms)
    say(f"  started  {began}, seen for {took}; {', '.join(filter(None, about))}")
    used = run.budget
    bill = [
        f"{plural(used.spent(SPAWNS), 'agent')} of {used.granted[SPAWNS]:,}",
        f"{plural(told.tool_calls.total(), 'tool call')}",
        f"{plural(told.model_calls.total(), 'model call')}",
        f"{count(used.spent(TOKENS))} tokens of {count(used.granted[TOKENS])}",
        f"{money(used.spent(MICRODOLLARS))} of {money(used.granted[MICRODOLLARS])}",
    ]
    say(f"  used     {', '.join(bill)}")
    if told.result is not None:
        good = {True: "as wanted", False: "not as wanted", None: "no verdict"}[told.result.success]
        say(f"  worth    {good}{f', says {told.result.by}' if told.result.by else ''}")


def wrong(told: Told) -> None:
    """Findings, the worst first; orders with their receipts; what should not have been."""
    lines: dict[tuple[str, str, str], int] = {}
    for _, finding in told.worst_first():
        doing = finding.effect if finding.mode == "enforce" else f"would {finding.effect}"
        effect = f" → {doing}" if finding.effect != "warn" else ""
        line = (finding.severity, finding.name, f"{finding.reason}{effect}")
        lines[line] = lines.get(line, 0) + 1
    say()
    for severity, name, text in lines:
        say_marked(
            (f"  {severity:<9}", style(severity)), (f"{name}  " if name else "", "bold"), text
        )
    for order in told.orders.values():
        say_marked(("  order    ", "bold"), order_line(order))
    for text in _oddities(told):
        say_marked(("  note     ", "yellow"), text)


def order_line(order: OrderTold) -> str:
    """An order in a sentence: who ordered what, who answered, when it was quiet."""
    scope = {"run": "the run", "agent": order.agent, "subtree": f"{order.agent} and below"}
    given = f"{order.action} {scope[order.scope]}, by {order.by or 'a rule'}: {order.reason}"
    answers = list(order.receipts.values())
    said = f"; {plural(len(answers), 'process', 'processes')} answered"
    since = sum(one.microdollars_since for one in answers)
    said += f", {money(since)} since" if since and order.by else ""
    if order.quiet_ms:
        said += f"; quiet after {duration(order.quiet_ms - order.at_ms)}"
    return given.rstrip(".") + said


def _oddities(told: Told) -> Iterator[str]:
    run = told.run
    waiting = sorted({h for order in run.orders.values() if not order.quiet for h in order.waiting})
    if waiting:
        yield f"may still act, having not answered: {', '.join(waiting[:4])}"
    late = [order for order in run.orders.values() if order.acted_after]
    if late:
        acts = sum(order.acted_after for order in late)
        cost = sum(order.microdollars_after for order in late)
        yield f"{plural(acts, 'act')} after a kill, {money(cost)}"
    if run.unadmitted and not run.observed:
        yield f"{plural(run.unadmitted, 'act')} that nobody admitted"
    if told.denied:
        yield f"{plural(sum(told.denied.values()), 'request')} refused"
    if told.calls_failed:
        yield f"{plural(told.calls_failed, 'call')} failed"
    if told.cost_unknown:
        yield f"{plural(told.cost_unknown, 'model call')} without a known price: the cost is more"
    if told.refusals:
        yield f"{plural(told.refusals, 'event')} could not follow what came before"
    if run.gaps:
        yield f"{plural(run.gaps, 'gap')} in the numbering of its publishers: events are missing"


# --- the tree ----------------------------------------------------------------------------------


def tree(told: Told, *, everybody: bool = False) -> None:
    """The spawn tree, one line an agent."""
    columns = [
        Column("agent", wrap=False), Column("state", style=style), Column("calls", count),
        Column("tokens", count), Column("cost", money), Column("left"),
        Column("refused", lambda n: str(n or "")), Column("found", wrap=False),
    ]  # fmt: skip
    rows(columns, list(_tree_rows(told, everybody)), Form.TABLE)


def _tree_rows(told: Told, everybody: bool) -> Iterator[list[object]]:
    children: dict[str, list[Agent]] = {}
    roots = []
    for agent in told.run.agents.values():
        if agent.parent is None:
            roots.append(agent)
        else:
            children.setdefault(agent.parent.id, []).append(agent)
    # A stack, not recursion: a tree may be deeper than Python's.
    stack: list[tuple[Agent | list[Agent], str, str]] = [(root, "", "") for root in reversed(roots)]
    while stack:
        node, stem, branch = stack.pop()
        if isinstance(node, list):
            yield _sum(told, node, stem + branch)
            continue
        yield _line(told, node, stem + branch)
        below = stem + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        shown = children.get(node.id, [])
        kids: list[Agent | list[Agent]] = list(shown if everybody else ())
        if not everybody:
            kids = _summed(told, shown, children)
        marks = ["├─ "] * (len(kids) - 1) + ["└─ "] * bool(kids)
        stack += [
            (kid, below, mark) for kid, mark in zip(reversed(kids), reversed(marks), strict=True)
        ]


def _summed(
    told: Told, shown: list[Agent], children: dict[str, list[Agent]]
) -> list[Agent | list[Agent]]:
    """The children to draw; beyond CHILDREN_SHOWN those with nothing to say of them, as one."""
    telling = [a for a in shown if told.of(a.id) or told.denied[a.id] or a.id in children]
    room = max(0, CHILDREN_SHOWN - len(telling))
    quiet = [a for a in shown if not (told.of(a.id) or told.denied[a.id] or a.id in children)]
    rest = quiet[room:] if len(quiet) > room + 1 else []
    gone = {agent.id for agent in rest}
    kept: list[Agent | list[Agent]] = [agent for agent in shown if agent.id not in gone]
    return [*kept, rest] if rest else kept


def _line(told: Told, agent: Agent, guide: str) -> list[object]:
    name = f"{agent.id} ({agent.role})" if agent.role and agent.role != agent.id else agent.id
    percent, unit = left(agent)
    scarce = f"{percent} % {unit}" if percent < LEFT_SHOWN else f"{percent} %"
    found = ", ".join(f"{f.severity} {f.name}" for f in told.of(agent.id)[:2])
    return [
        f"{guide}{name}", told.state(agent),
        told.calls(agent.id), spent(agent, "tokens"),
        spent(agent, "microdollars"), scarce, told.denied[agent.id], found,
    ]  # fmt: skip


def _sum(told: Told, agents: list[Agent], guide: str) -> list[object]:
    states = Counter(told.state(agent) for agent in agents).most_common()
    words = ", ".join(f"{number} {word}" for word, number in states)
    calls = sum(told.calls(agent.id) for agent in agents)
    return [
        f"{guide}… {len(agents)} more", words, calls, sum(spent(a, "tokens") for a in agents),
        sum(spent(a, "microdollars") for a in agents), "", 0, "",
    ]  # fmt: skip


# --- for programs ------------------------------------------------------------------------------


def as_dict(told: Told) -> dict[str, Any]:
    """The story as plain values."""
    run: Run = told.run
    return {
        "run": run.id,
        "state": told.state(),
        "task": told.started.task,
        "tenant": run.tenant,
        "observed": run.observed,
        "policy": run.policy.digest,
        "started_ms": told.began_ms,
        "now_ms": run.now_ms,
        "events": told.events,
        "budget": _budget(run.budget),
        "denied": sum(told.denied.values()),
        "unadmitted": 0 if run.observed else run.unadmitted,
        "findings": [
            {**asdict(finding), "offset": verdict.offset} for verdict, finding in told.worst_first()
        ],
        "orders": [
            {
                **{key: value for key, value in asdict(order).items() if key != "receipts"},
                "receipts": [
                    {"source": one.source, "agents_stopped": one.agents_stopped,
                     "calls_in_flight": one.calls_in_flight, "tokens_since": one.tokens_since,
                     "microdollars_since": one.microdollars_since}
                    for one in order.receipts.values()
                ],
            }
            for order in told.orders.values()
        ],
        "agents": [
            {
                "agent": agent.id,
                "parent": agent.parent.id if agent.parent else None,
                "depth": agent.depth,
                "role": agent.role,
                "task": told.tasks.get(agent.id, ""),
                "state": told.state(agent),
                "denied": told.denied[agent.id],
                "tool_calls": told.tool_calls[agent.id],
                "model_calls": told.model_calls[agent.id],
                "budget": _budget(agent.budget),
                "findings": [finding.name for finding in told.of(agent.id)],
            }
            for agent in run.agents.values()
        ],
    }  # fmt: skip


def _budget(budget: Any) -> dict[str, dict[str, int]]:
    return {
        name: {
            "granted": budget.granted[unit],
            "reserved": budget.reserved(unit),
            "spent": budget.spent(unit),
            "available": budget.available(unit),
        }
        for unit, name in enumerate(UNITS)
    }
