"""What each act does to the world: events, requests, time; one function an act.

A performer returns the answer where the act takes no time, or None and sees to it that the
script goes on later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ledger.core import events as e
from ledger.core import fingerprint
from ledger.core.shapes import Contract
from ledger.core.shapes import Step as PlanStep
from ledger.core.verdicts import MODEL_CALLS, TOOL_CALLS, Denial, Verdict
from ledger.simulate import acts as a
from ledger.simulate.acts import Answer
from ledger.simulate.purse import Held, Wish

if TYPE_CHECKING:
    from ledger.simulate.actor import Actor

DONE = Answer()
LOCAL_MS = 1
"""What a refusal takes that the client gives by itself."""


def perform(me: Actor, act: a.Act) -> Answer | None:
    """Do one act of `me`."""
    return _PERFORM[type(act)](me, act)


def args_fp(tool: str, args: Any) -> int:
    """The fingerprint of a call: the tool's name, NUL, its arguments as canonical JSON."""
    text = json.dumps(args or {}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return fingerprint.exact(f"{tool}\0{text}")


def _think(me: Actor, act: a.Think) -> None:
    me.answer_in(max(act.ms, 1), DONE)


# --- calls -------------------------------------------------------------------------------------


def _call_tool(me: Actor, act: a.CallTool) -> None:
    stage = me.stage
    fp = args_fp(act.tool, act.args)
    started = partial(_tool_started, me, act, fp)
    if not stage.world.watched:
        started(None, None)
        return
    # What a finding refuses is asked for by name, so that the refusal is in the ledger.
    by_name = stage.scenario.by_name or fp in me.denied
    named = partial(_ask_tool, me, act, fp)
    me.purse.ask(Wish(TOOL_CALLS, [0, 1, 0, 0, 0], named, started, by_name=by_name))


def _ask_tool(me: Actor, act: a.CallTool, fp: int) -> Verdict | None:
    call = me.stage.next_call()
    return me.write(e.ToolCallRequested, call=call, tool=act.tool, args_fp=fp)


def _tool_started(
    me: Actor, act: a.CallTool, fp: int, held: Held | None, denial: Denial | None
) -> None:
    stage = me.stage
    if denial is not None:
        _denied(me, denial)
        return
    call = stage.next_call()
    retry_of = stage.failed.pop(f"{me.name} {fp}", "") if act.retry else ""
    me.write(
        e.ToolCallStarted,
        call=call,
        tool=act.tool,
        lease=held.id if held is not None else "",
        args_fp=fp,
        retry_of=retry_of,
    )
    stage.tally.tool_call(act, wasted=act.waste or me.waste)
    if act.error:
        stage.failed[f"{me.name} {fp}"] = call

    def ended(error: str) -> None:
        me.call = None
        result_fp = 0 if error else fingerprint.exact_json(act.result)
        me.write(e.ToolCallEnded, call=call, result_fp=result_fp, error=error)
        stage.tally.errors += bool(error)

    _in_flight(me, act.ms, act.error, ended)


def _call_model(me: Actor, act: a.CallModel) -> None:
    started = partial(_model_started, me, act)
    if not me.stage.world.watched:
        started(None, None)
        return
    need = [0, 0, 1, *_estimate(act)]
    named, by_name = partial(_ask_model, me, act), me.stage.scenario.by_name
    me.purse.ask(Wish(MODEL_CALLS, need, named, started, by_name=by_name))


def _estimate(act: a.CallModel) -> tuple[int, int]:
    """(tokens, microdollars) as the client guesses them before the call."""
    if act.estimate_tokens is None:
        return act.tokens, act.microdollars
    return act.estimate_tokens, act.microdollars * act.estimate_tokens // max(act.tokens, 1)


def _ask_model(me: Actor, act: a.CallModel) -> Verdict | None:
    tokens, microdollars = _estimate(act)
    return me.write(
        e.ModelCallRequested,
        call=me.stage.next_call(),
        model=act.model,
        tokens_estimate=tokens,
        microdollars_estimate=microdollars,
    )


def _model_started(me: Actor, act: a.CallModel, held: Held | None, denial: Denial | None) -> None:
    stage = me.stage
    if denial is not None:
        _denied(me, denial)
        return
    call = stage.next_call()
    tokens, microdollars = _estimate(act)
    me.write(
        e.ModelCallStarted,
        call=call,
        model=act.model,
        lease=held.id if held is not None else "",
        prompt_fp=fingerprint.exact(act.prompt) if act.prompt else 0,
        tokens_estimate=tokens,
        microdollars_estimate=microdollars,
    )

    def ended(error: str) -> None:
        me.call = None
        me.write(
            e.ModelCallEnded,
            call=call,
            input_tokens=act.input,
            output_tokens=act.output,
            cache_read_tokens=act.cache_read,
            cache_write_tokens=act.cache_write,
            cost_microdollars=act.microdollars,
            prices="scripted",
            error=error,
        )
        stage.tally.model_call(act, wasted=act.waste or me.waste)
        me.host.ended.append((stage.world.now_ms, act.tokens, act.microdollars))
        me.purse.settle(
            held, [0, 0, 1, tokens, microdollars], [0, 0, 1, act.tokens, act.microdollars]
        )
        stage.spent()

    _in_flight(me, act.ms, act.error, ended)


def _denied(me: Actor, denial: Denial) -> None:
    """The script hears that it may not call."""
    me.stage.tally.call_refused(denial)
    me.answer_in(LOCAL_MS, Answer(denied=denial))


def _in_flight(me: Actor, ms: int, error: str, ended: Callable[[str], None]) -> None:
    """A call runs. A kill ends it at once (`me.call`), a pause lets it run out."""
    me.call = ended

    def over() -> None:
        if me.call is not ended or me.host.dead:
            return
        ended(error)
        me.answer_in(0, Answer(error=error))

    me.stage.world.after(max(ms, 1), over)


# --- agents ------------------------------------------------------------------------------------


def _spawn(me: Actor, act: a.Spawn) -> None:
    stage = me.stage
    child = stage.next_agent(act.role)
    task = act.task or f"{act.role} of {child}"
    fields = {
        "role": act.role,
        "task": task,
        "task_fp": fingerprint.exact(task),
        "task_near": fingerprint.near(task),
        "constraints": act.constraints,
        "budget": act.budget,
    }
    if not stage.world.watched:
        stage.start(me, act, child, "", fields)
        me.answer_in(0, Answer(agent=child))
        return
    verdict = me.write(e.SpawnRequested, child=child, **fields)

    def answered() -> None:
        if verdict is not None and verdict.lease is not None:
            stage.start(me, act, child, verdict.lease.lease, fields)
            me.go(Answer(agent=child))
        else:
            denial = (verdict.denial if verdict is not None else None) or Denial("refused")
            stage.tally.spawn_refused(denial)
            me.go(Answer(denied=denial))

    me.later(stage.world.round_trip_ms, answered)


def _wait(me: Actor, act: a.Wait) -> Answer | None:
    names = me.children if act.agents is None else act.agents
    waiting = tuple(name for name in names if name in me.stage.live)
    if not waiting:
        return DONE
    me.stage.wait(me, waiting)
    return None


def _hand_off(me: Actor, act: a.HandOff) -> Answer | None:
    stage = me.stage
    to = stage.actors.get(act.to)
    if to is None or to.over:
        return Answer(error=f"{act.to} is not there")
    handoff = a.Handoff(stage.next_handoff(), me.name, act.goal, act.constraints)
    me.write(
        e.HandoffOffered,
        handoff=handoff.id,
        to=act.to,
        mode=act.mode,
        contract=Contract(goal=act.goal, constraints=act.constraints),
        task_fp=fingerprint.exact(act.goal),
        task_near=fingerprint.near(act.goal),
    )
    to.inbox.append(handoff)
    if to.waiting is not None and to.waiting[0] == "inbox":
        to.waiting = None
        to.later(stage.world.round_trip_ms, lambda: _received(to))
    if act.mode != "delegate_and_wait":
        return Answer(handoff=handoff)
    me.waiting = ("handoff", handoff.id)
    return None


def _receive(me: Actor, act: a.Receive) -> Answer | None:
    if me.inbox:
        return _accept(me)
    if me.stage.closing:
        return DONE
    me.waiting = ("inbox", None)
    return None


def _received(me: Actor) -> None:
    me.go(_accept(me) if me.inbox else DONE)


def _accept(me: Actor) -> Answer:
    handoff = me.inbox.pop(0)
    me.write(e.HandoffAccepted, handoff=handoff.id)
    return Answer(handoff=handoff)


def _return(me: Actor, act: a.Return) -> Answer:
    me.write(
        e.HandoffReturned,
        handoff=act.handoff.id,
        goal=act.handoff.goal,
        constraints=act.handoff.constraints,
        result_fp=fingerprint.exact_json(act.result),
    )
    giver = me.stage.actors[act.handoff.giver]
    if giver.waiting == ("handoff", act.handoff.id):
        giver.waiting = None
        giver.answer_in(me.stage.world.round_trip_ms, Answer(handoff=act.handoff))
    return DONE


# --- the rest ----------------------------------------------------------------------------------


def _constrain(me: Actor, act: a.Constrain) -> Answer:
    me.write(e.ConstraintDeclared, constraint=act.constraint, text=act.text)
    return DONE


def _plan(me: Actor, act: a.Plan) -> Answer:
    steps = tuple(PlanStep(id=f"s{i}", text=text) for i, text in enumerate(act.steps, 1))
    me.write(e.PlanProposed, plan=f"plan-{me.name}", goal=act.goal, steps=steps)
    return DONE


def _produce(me: Actor, act: a.Produce) -> Answer:
    me.write(e.OutputProduced, output=act.output, result_fp=fingerprint.exact_json(act.result))
    return DONE


def _verify(me: Actor, act: a.Verify) -> Answer:
    me.write(e.OutputVerified, output=act.output, passed=act.passed)
    return DONE


def _order(me: Actor, act: a.Order) -> Answer:
    me.stage.order(me, act)
    return DONE


def _crash(me: Actor, act: a.Crash) -> None:
    me.stage.crash(me.host)


def _fail(me: Actor, act: a.Fail) -> None:
    me.stage.end(me, act.outcome, act.error)


_PERFORM: dict[type, Callable[[Actor, Any], Answer | None]] = {
    a.Think: _think,
    a.CallTool: _call_tool,
    a.CallModel: _call_model,
    a.Spawn: _spawn,
    a.Wait: _wait,
    a.HandOff: _hand_off,
    a.Receive: _receive,
    a.Return: _return,
    a.Constrain: _constrain,
    a.Plan: _plan,
    a.Produce: _produce,
    a.Verify: _verify,
    a.Order: _order,
    a.Crash: _crash,
    a.Fail: _fail,
}
