"""Langfuse exports: each trace becomes a run, its observations become events.

What a newcomer would get wrong
    The lead is the agent that everything happens under. Where no span is that, the trace
    itself is the lead, under its own name: no agent is made up to stand between.
    Two agents of one name are two agents: `researcher` and `researcher#2`, both of role
    `researcher`. A span inside a span of the same agent is still that agent.
    Spans overlap and clocks differ by a millisecond. An agent starts no later than what it
    does, and ends no earlier than its own calls; a child may outlive its parent.
    Scores come after the run's end, at their own time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ledger.core import events as e
from ledger.importers import spans as s
from ledger.importers.imported import (
    NAME_MAX,
    History,
    ImportedRun,
    RefusedFile,
    WrongShape,
    as_list,
    at,
    cut,
    each,
    identifier,
    labels,
    millionths,
    payload,
    shape,
    task_fields,
    unpacked,
)
from ledger.importers.spans import ACTS, AGENT, HANDOFF, MODEL, Span
from ledger.importers.timeline import Mark, Timeline, Write
from ledger.importers.usage import cost_microdollars, usage

SHAPE = '{"trace": {"id": …}, "observations": [{"id": …, "type": …, "startTime": …}, …]}'


def recognises(document: object) -> bool:
    """Whether this looks like one trace."""
    return isinstance(document, dict) and (
        isinstance(document.get("trace"), dict) or isinstance(document.get("observations"), list)
    )


def read_langfuse(document: object, *, origin: str) -> Iterator[ImportedRun | RefusedFile]:
    """Read one trace, or a list of traces; what is no trace is refused, and the rest goes on."""
    return each(document, _read_trace, origin)


def _read_trace(document: object, origin: str, place: str) -> ImportedRun:
    if not isinstance(document, dict) or not recognises(document):
        raise WrongShape(place, f"expected {SHAPE}, found {shape(document)}")
    trace = document["trace"] if isinstance(document.get("trace"), dict) else document
    observations = document.get("observations", trace.get("observations"))
    if not isinstance(trace.get("id"), str) or not trace["id"]:
        where = at(at(place, "trace"), "id") if trace is not document else at(place, "id")
        raise WrongShape(where, f"expected a text, found {shape(trace.get('id'))}")
    if not isinstance(observations, list):
        raise WrongShape(at(place, "observations"), f"expected a list, found {shape(observations)}")
    history = History("import:langfuse", identifier(f"langfuse-{trace['id']}"), origin, place)
    return _Trace(trace, s.read_spans(observations, history.skip), history).write()


@dataclass(slots=True)
class _Agent:
    """An agent and when it lived; `span` is None for the trace as lead."""

    id: str
    name: str
    parent: str
    span: Span | None
    start_ms: int
    end_ms: int

    @property
    def role(self) -> str:
        return "" if self.span is None else cut(s.agent_role(self.span), NAME_MAX)

    @property
    def depth(self) -> int:
        return -1 if self.span is None else self.span.depth

    @property
    def task(self) -> str:
        return "" if self.span is None else s.task_text(self.span.raw.get("input"))


class _Trace:
    """One trace on its way to being a run."""

    def __init__(self, trace: dict[str, Any], spans: list[Span], history: History) -> None:
        self.trace = trace
        self.spans = spans
        self.history = history
        self.agents: dict[str, _Agent] = {}
        self.named: Counter[str] = Counter()
        self.timeline = Timeline()
        self.starts: dict[str, Mark] = {}
        self.ends: dict[str, Mark] = {}
        begun = s.time_ms(trace.get("timestamp")) or 0
        self.start_ms = min((span.start_ms for span in spans), default=begun)
        self.end_ms = max((span.over_ms for span in spans), default=begun)

    def write(self) -> ImportedRun:
        """Write the events in order."""
        lead = self._find_agents()
        self._stretch()
        self._run_started(lead)
        for agent in self.agents.values():
            self._place_agent(agent)
        for ordinal, span in enumerate(self.spans):
            self._place(span, f"{span.kind}-{ordinal}")
        end_ms = max(self.timeline.play(self.start_ms), self.end_ms)
        failed = any(s.error(span) for span in self.spans if span.depth == 0)
        self.history.add(e.RunEnded, lead.id, end_ms, outcome="failed" if failed else "unknown")
        self._scores(end_ms)
        return self.history.imported

    # --- who ---------------------------------------------------------------------------------

    def _find_agents(self) -> _Agent:
        """Name the agents and say whose each span is; gives the lead."""
        outermost = [x for x in self.spans if x.above is None]
        lead = None
        if sum(x.kind == AGENT for x in outermost) != 1 or any(
            x.kind in (*ACTS, HANDOFF) for x in outermost
        ):
            lead = self._agent(cut(self.trace.get("name")) or "trace", "", None)
        for span in self.spans:
            above = span.above
            span.actor = above.actor if above is not None else (lead.id if lead else "")
            if span.kind != AGENT:
                continue
            if above is not None and s.agent_key(span) and s.agent_key(span) == s.agent_key(above):
                span.drop("is inside one of the same agent")
                continue
            agent = self._agent(s.agent_role(span) or span.name, span.actor, span)
            span.actor = agent.id
            lead = lead or agent
        assert lead is not None
        return lead

    def _agent(self, name: str, parent: str, span: Span | None) -> _Agent:
        name = agent_id = identifier(name)
        self.named[name] += 1
        while agent_id in self.agents:
            agent_id = f"{name[:116]}#{self.named[name]}"
            self.named[name] += agent_id in self.agents
        start_ms, end_ms = self.start_ms, self.end_ms
        if span is not None:
            start_ms = span.start_ms
            end_ms = span.end_ms if span.end_ms is not None else self.end_ms
        agent = _Agent(agent_id, name, parent, span, start_ms, end_ms)
        self.agents[agent_id] = agent
        return agent

    def _stretch(self) -> None:
        """Let each agent live as long as it acts, and as it starts others."""
        for span in self.spans:
            if span.kind in (*ACTS, HANDOFF):
                agent = self.agents[span.actor]
                agent.start_ms = min(agent.start_ms, span.start_ms)
                agent.end_ms = max(agent.end_ms, span.over_ms)
        for agent in reversed(self.agents.values()):
            if agent.parent:
                parent = self.agents[agent.parent]
                parent.start_ms = min(parent.start_ms, agent.start_ms)
                parent.end_ms = max(parent.end_ms, agent.start_ms)

    def _place_agent(self, agent: _Agent) -> None:
        end = self.timeline.end(agent.end_ms, agent.depth, partial(self._agent_ended, agent))
        self.ends[agent.id] = end
        if not agent.parent:
            return
        start = self.timeline.start(
            agent.start_ms, agent.depth, partial(self._agent_started, agent)
        )
        self.starts[agent.id] = start
        start.before(end)
        start.before(self.ends[agent.parent])
        if agent.parent in self.starts:
            self.starts[agent.parent].before(start)

    # --- what --------------------------------------------------------------------------------

    def _place(self, span: Span, call: str) -> None:
        """Lay out the events of a span; count it where it has none."""
        if span.kind == HANDOFF:
            self._place_handoff(span, call)
        elif span.kind not in ACTS:
            if span.kind != AGENT:
                self.history.skip(span.label)
        else:
            begin, finish = (
                (self._model_started, self._model_ended)
                if span.kind == MODEL
                else (self._tool_started, self._tool_ended)
            )
            start = self._act(span, partial(begin, span, call))
            if span.came_back:
                end = self.timeline.end(span.over_ms, span.depth, partial(finish, span, call))
                start.before(end)
                end.before(self.ends[span.actor])

    def _act(self, span: Span, write: Write) -> Mark:
        """Something that its actor does while it lives."""
        mark = self.timeline.start(span.start_ms, span.depth, write)
        mark.before(self.ends[span.actor])
        if span.actor in self.starts:
            self.starts[span.actor].before(mark)
        return mark

    def _place_handoff(self, span: Span, handoff: str) -> None:
        """A transfer, taken on by the next agent of the name that starts."""
        name = s.handoff_to(span)
        if not name:
            span.drop("names nobody to hand off to")
            self.history.skip(span.label)
            return
        taker = min(
            (x for x in self.agents.values() if x.name == name and x.start_ms >= span.start_ms),
            key=lambda agent: agent.start_ms,
            default=None,
        )
        to = identifier(name) if taker is None else taker.id
        offer = self._act(span, partial(self._handoff_offered, span, handoff, to))
        if taker is not None and taker.id in self.starts:
            accepted = partial(self.history.add, e.HandoffAccepted, taker.id, handoff=handoff)
            accept = self.timeline.start(taker.start_ms, taker.depth + 1, accepted)
            offer.before(accept)
            self.starts[taker.id].before(accept)
            accept.before(self.ends[taker.id])

    # --- the events --------------------------------------------------------------------------

    def _run_started(self, lead: _Agent) -> None:
        trace, tags = self.trace, self.trace.get("tags")
        known = {
            "name": trace.get("name"),
            "environment": trace.get("environment"),
            "session": trace.get("sessionId"),
            "user": trace.get("userId"),
            "tags": ",".join(map(cut, tags)) if isinstance(tags, list) else None,
        }
        self.history.add(
            e.RunStarted,
            lead.id,
            self.start_ms,
            role=lead.role,
            code_version=cut(trace.get("release") or trace.get("version"), NAME_MAX),
            labels=labels(known),
            **task_fields(s.task_text(trace.get("input")) or lead.task),
        )

    def _agent_started(self, agent: _Agent, at_ms: int) -> None:
        self.history.add(
            e.AgentStarted,
            agent.id,
            at_ms,
            parent=agent.parent,
            role=agent.role,
            **task_fields(agent.task),
        )

    def _agent_ended(self, agent: _Agent, at_ms: int) -> None:
        error, fp = "", 0
        if agent.span is not None:
            error, fp = s.error(agent.span), payload(s.result(agent.span)).fp
        outcome = "failed" if error else "unknown"
        self.history.add(
            e.AgentEnded, agent.id, at_ms, outcome=outcome, error=cut(error), result_fp=fp
        )

    def _model_started(self, span: Span, call: str, at_ms: int) -> None:
        prompt = payload(unpacked(span.raw.get("input")))
        self.history.add(
            e.ModelCallStarted,
            span.actor,
            at_ms,
            call=call,
            model=identifier(s.model_name(span)),
            prompt_fp=prompt.fp,
            prompt_bytes=prompt.bytes,
        )

    def _model_ended(self, span: Span, call: str, at_ms: int) -> None:
        result, used, cost = payload(s.result(span)), usage(span.raw), cost_microdollars(span.raw)
        if used.unsplit:
            self.history.skip("tokens of a model call stated only in a total")
        self.history.add(
            e.ModelCallEnded,
            span.actor,
            at_ms,
            call=call,
            input_tokens=used.input,
            output_tokens=used.output,
            cache_read_tokens=used.cache_read,
            cache_write_tokens=used.cache_write,
            cost_microdollars=cost or 0,
            cost_known=cost is not None,
            prices="langfuse" if cost is not None else "",
            result_fp=result.fp,
            result_bytes=result.bytes,
            error=cut(s.error(span)),
        )

    def _tool_started(self, span: Span, call: str, at_ms: int) -> None:
        args = payload(s.tool_args(span), nearly=True)
        self.history.add(
            e.ToolCallStarted,
            span.actor,
            at_ms,
            call=call,
            tool=identifier(s.tool_name(span)),
            args_fp=args.fp,
            args_near=args.near,
            args_bytes=args.bytes,
        )

    def _tool_ended(self, span: Span, call: str, at_ms: int) -> None:
        result = payload(s.result(span))
        self.history.add(
            e.ToolCallEnded,
            span.actor,
            at_ms,
            call=call,
            result_fp=result.fp,
            result_bytes=result.bytes,
            error=cut(s.error(span)),
        )

    def _handoff_offered(self, span: Span, handoff: str, to: str, at_ms: int) -> None:
        self.history.add(
            e.HandoffOffered, span.actor, at_ms, handoff=handoff, to=to, mode="transfer"
        )

    def _scores(self, end_ms: int) -> None:
        """Scores are what somebody said of the result; which of them is success, nobody says."""
        scores = [x for x in as_list(self.trace.get("scores")) if isinstance(x, dict)]
        for score in sorted(scores, key=lambda x: (cut(x.get("timestamp")), cut(x.get("id")))):
            said = {
                "name": score.get("name"),
                "value": score.get("stringValue") or score.get("value"),
                "type": score.get("dataType"),
                "observation": score.get("observationId"),
            }
            self.history.add(
                e.OutcomeReported,
                "",
                max(end_ms, s.time_ms(score.get("timestamp")) or 0),
                score_millionths=millionths(score.get("value")),
                by=cut(score.get("source"), NAME_MAX),
                note=cut(score.get("comment")),
                labels=labels(said),
            )
        for _ in as_list(self.trace.get("corrections")):
            self.history.skip("correction of the output by a person")
