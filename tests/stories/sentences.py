"""The sentences of stories: one pattern and one function each, from words to events.

An act uses the lease that was granted for it: the spawn or the call that was asked for by name,
or what is left of a lease the agent took. Where there is none nobody was asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

from ledger.core import events as e
from ledger.core import fingerprint
from ledger.core.events import Event
from ledger.core.policy import Policy
from ledger.core.shapes import Action, Contract, Units
from ledger.core.verdicts import UNITS, Verdict


class NotUnderstood(Exception):
    """A sentence that fits no pattern, or names what is not there."""


class Teller:
    """Who lives in which process, which leases were granted, which calls are open."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.offset = self.at_ms = self.calls = 0
        self.homes: dict[str, str] = {}
        self.seqs: dict[str, int] = {}
        self.granted: dict[str, str] = {}
        self.held: dict[str, list[tuple[str, list[int]]]] = {}
        self.wish = ""
        self.open: dict[str, tuple[str, str, Units]] = {}

    def events(self, sentence: str, at_ms: int) -> Iterator[Event]:
        """The events that a sentence tells, one by one: what follows may hang on the verdict of
        what went before. Raises NotUnderstood.
        """
        self.at_ms = at_ms
        for pattern, tell in SENTENCES.items():
            found = re.fullmatch(pattern, sentence)
            if found is not None:
                yield from tell(self, **found.groupdict())
                return
        raise NotUnderstood(f"{sentence!r} is no sentence; python -m tests.stories lists them")

    def heard(self, verdict: Verdict | None) -> None:
        """Remember the lease that was granted."""
        if verdict is None or verdict.lease is None:
            return
        if verdict.about == "lease_requested":
            held = self.held.setdefault(verdict.agent, [])
            held.append((verdict.lease.lease, list(verdict.lease.units)))
        else:
            self.granted[self.wish] = verdict.lease.lease

    def home(self, agent: str) -> str:
        """The process in which an agent lives."""
        if agent not in self.homes:
            raise NotUnderstood(f"nobody started {agent}; there are {', '.join(self.homes)}")
        return self.homes[agent]

    def say(self, cls: type[Event], agent: str, source: str = "", **fields: Any) -> Event:
        """The event, numbered by the process that writes it."""
        source = source or self.home(agent)
        seq = self.seqs[source] = self.seqs.get(source, 0) + 1
        return cls(run="r", agent=agent, source=source, seq=seq, at_ms=self.at_ms, **fields)

    def lease(self, agent: str, wish: str, unit: str) -> str:
        """The lease of an act: asked for by name, or with a unit left, or none."""
        if wish in self.granted:
            return self.granted.pop(wish)
        for lease, left in self.held.get(agent, []):
            if left[UNITS.index(unit)]:
                left[UNITS.index(unit)] -= 1
                return lease
        return ""


Tell = Callable[..., Iterator[Event]]
SENTENCES: dict[str, Tell] = {}
WHO = r"(?P<who>[\w-]+)"
OTHER = r"(?P<other>[\w-]+)"
TASK = r"(?:: (?P<task>.+))?"
AS = r"(?: in (?P<home>[\w-]+))?"
WHAT = r"(?P<what>[\w.-]+)"
ARGS = r"(?: (?P<args>.+?))??"


def sentence(pattern: str) -> Callable[[Tell], Tell]:
    """Register the function that tells sentences of this pattern."""

    def register(tell: Tell) -> Tell:
        SENTENCES[pattern] = tell
        return tell

    return register


def _task(task: str | None) -> dict[str, Any]:
    if not task:
        return {}
    near = fingerprint.near(task)
    return {"task": task, "task_fp": fingerprint.exact(task), "task_near": near}


def readable(pattern: str) -> str:
    """A pattern as a person reads it: `<who> starts[ as <role>]`."""
    named = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"<\1>", pattern)
    return named.replace("(?:", "[").replace(")?", "]").replace(")", "]")


def _units(text: str) -> Units:
    try:
        parts = [part.split() for part in text.replace(" and ", ", ").split(", ")]
        return Units(**{name: int(count) for count, name in parts})
    except (ValueError, TypeError):
        raise NotUnderstood(f"{text!r} is no amount; say `3 spawns, 500 tokens`") from None


# --- runs and agents ----------------------------------------------------------------------------


@sentence(rf"{WHO} starts(?: as (?P<role>[\w-]+))?{AS}{TASK}")
def _starts(
    t: Teller, who: str, role: str | None, home: str | None, task: str | None
) -> Iterator[Event]:
    t.homes[who] = home or "p1"
    fields = {"policy": t.policy.digest, "role": role or "", **_task(task)}
    yield t.say(e.RunStarted, who, **fields)


@sentence(rf"{WHO} asks to spawn {OTHER}{TASK}")
def _asks_spawn(t: Teller, who: str, other: str, task: str | None) -> Iterator[Event]:
    t.wish = f"spawn {other}"
    yield t.say(e.SpawnRequested, who, child=other, **_task(task))


@sentence(rf"{WHO} spawns {OTHER}{AS}(?: for (?P<units>[\w ,]+?))?{TASK}")
def _spawns(
    t: Teller, who: str, other: str, home: str | None, units: str | None, task: str | None
) -> Iterator[Event]:
    t.homes[other] = home or t.home(who)
    budget = _units(units) if units else None
    lease = t.lease(who, f"spawn {other}", "spawns")
    yield t.say(e.AgentStarted, other, parent=who, lease=lease, budget=budget,
                **_task(task))  # fmt: skip


@sentence(rf"{WHO} spawns {OTHER} if it may{TASK}")
def _spawns_admitted(t: Teller, who: str, other: str, task: str | None) -> Iterator[Event]:
    t.wish = wish = f"spawn {other}"
    yield t.say(e.SpawnRequested, who, child=other, **_task(task))
    t.homes[other] = t.home(who)
    if wish in t.granted:
        yield t.say(e.AgentStarted, other, parent=who,
                    lease=t.granted.pop(wish), **_task(task))  # fmt: skip


@sentence(rf"{WHO} ends")
def _ends(t: Teller, who: str) -> Iterator[Event]:
    yield t.say(e.AgentEnded, who)


@sentence(rf"{WHO} fails: (?P<error>.+)")
def _fails(t: Teller, who: str, error: str) -> Iterator[Event]:
    yield t.say(e.AgentEnded, who, outcome="failed", error=error)


@sentence("the run ends")
def _run_ends(t: Teller) -> Iterator[Event]:
    yield t.say(e.RunEnded, "", next(iter(t.homes.values())))


@sentence("time passes")
def _tick(t: Teller) -> Iterator[Event]:
    yield t.say(e.Ticked, "", "judge")


@sentence(rf"{WHO} is dead")
def _lost(t: Teller, who: str) -> Iterator[Event]:
    yield t.say(e.HolderLost, "", "watcher", holder=who)


# --- calls --------------------------------------------------------------------------------------


def _fp(what: str, args: str | None) -> int:
    return fingerprint.exact(f"{what}\0{args or ''}")


@sentence(rf"{WHO} asks to call {WHAT}{ARGS}")
def _asks_tool(t: Teller, who: str, what: str, args: str | None) -> Iterator[Event]:
    t.calls += 1
    t.wish = f"call {who} {what}"
    call, fp = f"c{t.calls}", _fp(what, args)
    yield t.say(e.ToolCallRequested, who, call=call, tool=what, args_fp=fp)


@sentence(rf"{WHO} calls {WHAT}{ARGS}(?: -> (?P<result>.+))?")
def _calls(t: Teller, who: str, what: str, args: str | None, result: str | None) -> Iterator[Event]:
    t.calls += 1
    call, fp = f"c{t.calls}", _fp(what, args)
    lease = t.lease(who, f"call {who} {what}", "tool_calls")
    yield t.say(e.ToolCallStarted, who, call=call, tool=what, args_fp=fp, lease=lease)
    if result is None:
        t.open[f"{who} {what}"] = (call, "", Units())
    elif result.startswith("error"):
        yield t.say(e.ToolCallEnded, who, call=call, error=result)
    else:
        yield t.say(e.ToolCallEnded, who, call=call, result_fp=fingerprint.exact(result))


@sentence(rf"{WHO} gets (?P<result>.+) from {WHAT}")
def _gets(t: Teller, who: str, result: str, what: str) -> Iterator[Event]:
    if f"{who} {what}" not in t.open:
        raise NotUnderstood(f"{who} has no open call of {what}")
    call, lease, estimate = t.open.pop(f"{who} {what}")
    if not call.startswith("m"):
        yield t.say(e.ToolCallEnded, who, call=call, result_fp=fingerprint.exact(result))
    else:
        units = _units(result)
        yield t.say(e.ModelCallEnded, who, call=call, input_tokens=units.tokens,
                    cost_microdollars=units.microdollars)  # fmt: skip
        left = {
            "tokens": max(0, estimate.tokens - units.tokens),
            "microdollars": max(0, estimate.microdollars - units.microdollars),
        }
        if lease and any(left.values()):  # As the client does with a lease for one call.
            yield t.say(e.LeaseReturned, who, lease=lease, left=Units(**left))


@sentence(rf"{WHO} asks {WHAT} for (?P<units>[\w ,]+)")
def _asks_model(t: Teller, who: str, what: str, units: str) -> Iterator[Event]:
    t.calls += 1
    t.wish = f"call {who} {what}"
    estimate = _units(units)
    yield t.say(e.ModelCallRequested, who, call=f"m{t.calls}", model=what,
                tokens_estimate=estimate.tokens,
                microdollars_estimate=estimate.microdollars)  # fmt: skip


@sentence(rf"{WHO} prompts {WHAT}(?: estimating (?P<estimate>[\w ,]+?))?(?: -> (?P<used>.+))?")
def _prompts(
    t: Teller, who: str, what: str, estimate: str | None, used: str | None
) -> Iterator[Event]:
    t.calls += 1
    call, units = f"m{t.calls}", _units(estimate) if estimate else Units()
    asked = f"call {who} {what}" in t.granted
    lease = t.lease(who, f"call {who} {what}", "model_calls")
    yield t.say(e.ModelCallStarted, who, call=call, model=what, lease=lease,
                tokens_estimate=units.tokens, microdollars_estimate=units.microdollars)  # fmt: skip
    t.open[f"{who} {what}"] = (call, lease if asked else "", units)
    if used is not None:
        yield from _gets(t, who, used, what)


# --- leases -------------------------------------------------------------------------------------


@sentence(rf"{WHO} takes a lease of (?P<units>[\w ,]+?){AS}")
def _takes(t: Teller, who: str, units: str, home: str | None) -> Iterator[Event]:
    yield t.say(e.LeaseRequested, who, home or "", wants=_units(units))


@sentence(rf"{WHO} returns its lease")
def _returns(t: Teller, who: str) -> Iterator[Event]:
    if not t.held.get(who):
        raise NotUnderstood(f"{who} holds no lease")
    lease, left = t.held[who].pop(0)
    units = Units(**dict(zip(UNITS, left, strict=True)))
    yield t.say(e.LeaseReturned, who, lease=lease, left=units)


# --- orders -------------------------------------------------------------------------------------


@sentence(r"(?P<by>\w+) orders (?P<order>[\w-]+): (?P<action>\w+) "
          r"(?:the (?P<run>run)|(?P<agent>[\w-]+)(?P<below> and below)?)")  # fmt: skip
def _orders(
    t: Teller, by: str, order: str, action: str, run: str | None, agent: str | None,
    below: str | None,
) -> Any:  # fmt: skip
    if action not in get_args(Action):
        raise NotUnderstood(f"{action!r} is no order; there are {', '.join(get_args(Action))}")
    scope = "run" if run else "subtree" if below else "agent"
    yield t.say(e.OrderGiven, agent or "", by, order=order, action=action, scope=scope, by=by)


@sentence(rf"{WHO} answers (?P<order>[\w-]+)")
def _answers(t: Teller, who: str, order: str) -> Iterator[Event]:
    yield t.say(e.OrderReceipted, "", who, order=order)


# --- the rest -----------------------------------------------------------------------------------


@sentence(rf"{WHO} hands (?P<handoff>[\w-]+) to {OTHER}{TASK}")
def _hands(t: Teller, who: str, handoff: str, other: str, task: str | None) -> Iterator[Event]:
    contract = Contract(goal=task or "")
    yield t.say(e.HandoffOffered, who, handoff=handoff, to=other, contract=contract)


@sentence(rf"{WHO} (?P<how>accepts|gives back|refuses) (?P<handoff>[\w-]+)")
def _handed(t: Teller, who: str, how: str, handoff: str) -> Iterator[Event]:
    if how == "accepts":
        yield t.say(e.HandoffAccepted, who, handoff=handoff)
    elif how == "gives back":
        yield t.say(e.HandoffReturned, who, handoff=handoff)
    else:
        yield t.say(e.HandoffRefused, who, handoff=handoff)


@sentence(rf"{WHO} (?P<how>plans|declares|produces|verifies) (?P<what>[\w-]+){TASK}")
def _notes(t: Teller, who: str, how: str, what: str, task: str | None) -> Iterator[Event]:
    if how == "plans":
        yield t.say(e.PlanProposed, who, plan=what, goal=task or "")
    elif how == "declares":
        yield t.say(e.ConstraintDeclared, who, constraint=what, text=task or "")
    elif how == "produces":
        yield t.say(e.OutputProduced, who, output=what)
    else:
        yield t.say(e.OutputVerified, who, output=what, passed=True)
