"""What a Langfuse observation is: an agent, a model call, a tool call, a handoff, or none.

What a newcomer would get wrong
    Few frameworks type their spans (5 of the 20 example traces know AGENT). The rest say it in
    attributes of OpenTelemetry GenAI, OpenInference, Traceloop or LangSmith, or in the shape
    of a result. A name like "agent" says nothing: in LangGraph it is a node.
    One model call is often two spans, a framework's and its client library's: counted once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.importers.imported import as_list, content_text, cut, unpacked
from ledger.importers.usage import usage

AGENT, MODEL, TOOL, HANDOFF = "agent", "model", "tool", "handoff"
ACTS = (MODEL, TOOL)
"""The kinds that are calls."""

_KINDS = {
    **dict.fromkeys(("agent", "invoke_agent", "create_agent"), AGENT),
    **dict.fromkeys(("generation", "embedding", "llm", "chat", "text_completion"), MODEL),
    **dict.fromkeys(("generate_content", "embeddings"), MODEL),
    **dict.fromkeys(("tool", "retriever", "execute_tool"), TOOL),
    "handoff": HANDOFF,
}
_KIND_KEYS = (
    "openinference.span.kind",
    "traceloop.span.kind",
    "langsmith.span.kind",
    "gen_ai.operation.name",
)
_AGENT_KEYS = ("gen_ai.agent.name", "agent_name", "graph.node.id")
_TOOL_KEYS = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name")
_MODEL_KEYS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
# What the framework itself noted comes first: for Google ADK, Langfuse shows "{}" instead.
_ARGS_KEYS = ("gcp.vertex.agent.tool_call_args", "tool_arguments")
_RESULT_KEYS = ("gcp.vertex.agent.tool_response", "tool_response")
_HANDOFF_KEYS = ("gen_ai.handoff.to_agent",)
_HANDOFF_NAME = re.compile(r"handoff to (.+)", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(slots=True, eq=False)
class Span:
    """One observation.

    `kind` is "" where it fits no event. `above` is the nearest span around it that is an agent,
    `actor` the agent that it belongs to, `closing` the span that says how it ended, if another.
    """

    id: str
    name: str
    type: str
    start_ms: int
    end_ms: int | None
    raw: dict[str, Any]
    attributes: dict[str, Any]
    kind: str = ""
    depth: int = 0
    parent: Span | None = None
    children: list[Span] = field(default_factory=list)
    above: Span | None = None
    actor: str = ""
    closing: Span | None = None
    failed: bool = False
    why: str = "fits no event"

    @property
    def over_ms(self) -> int:
        """When it was over, as far as that is stated."""
        if self.closing is not None:
            return max(self.start_ms, self.closing.start_ms)
        return self.start_ms if self.end_ms is None else self.end_ms

    @property
    def came_back(self) -> bool:
        """Whether anything says that it ended: a time, a result, tokens, an error."""
        ended = self.end_ms is not None or self.closing is not None or usage(self.raw).any
        return ended or self.raw.get("output") is not None or bool(error(self))

    @property
    def label(self) -> str:
        """How it is named where it is counted: `span 'chain:prompt' fits no event`."""
        return f"span '{self.type.lower()}:{self.name}' {self.why}"

    def drop(self, why: str) -> None:
        """It is no event after all, and why."""
        self.kind, self.why = "", why

    def stated(self, keys: Iterable[str]) -> str:
        """The first of these attributes that is a text; "" when none is."""
        for key in keys:
            value = self.attributes.get(key)
            if isinstance(value, str) and value:
                return value
        return ""


def time_ms(value: object) -> int | None:
    """ISO 8601 (without a zone: UTC) as ms since 1970; None when it is no such time."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = (moment - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return None
    return since if since >= 0 else None


def attributes_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span or trace, from metadata that may be JSON inside JSON text."""
    metadata = unpacked(raw.get("metadata"))
    if not isinstance(metadata, dict):
        return {}
    nested = unpacked(metadata.get("attributes"))
    return {**metadata, **nested} if isinstance(nested, dict) else metadata


def read_spans(observations: list[Any], skip: Callable[[str], None]) -> list[Span]:
    """The observations as classified spans: parents before children, else by start and id.

    `skip` is told of each that cannot be a span. The order does not depend on that of the list.
    """
    found: dict[str, Span] = {}
    for raw in observations:
        if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
            skip("observation without an id")
            continue
        name = cut(raw.get("name"), 80) or "unnamed"
        start_ms, end_ms = time_ms(raw.get("startTime")), time_ms(raw.get("endTime"))
        if start_ms is None:
            skip(f"observation '{name}' has no start time")
        elif raw["id"] in found:
            skip(f"observation '{name}' has the id of another one")
        else:
            kind = cut(raw.get("type"), 40) or "SPAN"
            end_ms = max(start_ms, end_ms) if end_ms is not None else None
            attributes = attributes_of(raw)
            found[raw["id"]] = Span(raw["id"], name, kind, start_ms, end_ms, raw, attributes)
    spans = _by_parents(found)
    for span in spans:
        span.kind = _kind(span)
    _name_crew(spans)
    _join_emitted(spans)
    _count_once(spans)
    for span in spans:
        if span.parent is not None:
            span.above = span.parent if span.parent.kind == AGENT else span.parent.above
    return spans


def _by_parents(found: dict[str, Span]) -> list[Span]:
    """Link the spans; a parent that is not in the file, or a circle of parents, counts as none."""
    ordered = sorted(found.values(), key=lambda span: (span.start_ms, span.id))
    for span in ordered:
        parent = span.raw.get("parentObservationId")
        span.parent = found.get(parent) if isinstance(parent, str) else None
        if span.parent is not None:
            span.parent.children.append(span)
    seen: set[str] = set()
    result: list[Span] = []
    for root in [span for span in ordered if span.parent is None] + ordered:
        if root.id in seen:
            continue
        root.parent = None
        seen.add(root.id)
        level = [root]
        while level:
            result += level
            level = [child for span in level for child in span.children if child.id not in seen]
            seen.update(child.id for child in level)
    for span in result:
        span.depth = 0 if span.parent is None else span.parent.depth + 1
    return result


def _kind(span: Span) -> str:
    if span.stated(_HANDOFF_KEYS) or span.attributes.get("traceloop.span.kind") == "handoff":
        return HANDOFF
    kind = _KINDS.get(span.type.lower(), "")
    for key in _KIND_KEYS:
        kind = kind or _KINDS.get(str(span.attributes.get(key)).lower(), "")
    if kind == TOOL and _HANDOFF_NAME.fullmatch(span.name):
        return HANDOFF
    if kind:
        return kind
    if span.stated(("gen_ai.tool.name",)) or _tool_message(span) is not None:
        return TOOL
    return AGENT if span.stated(("gen_ai.agent.name", "agent_name")) else ""


def _tool_message(span: Span) -> dict[str, Any] | None:
    """The LangChain tool message that this span returned, which only tools do."""
    output = unpacked(span.raw.get("output"))
    if isinstance(output, dict) and isinstance(output.get("kwargs"), dict):
        output = output["kwargs"]
    if isinstance(output, dict) and isinstance(output.get("tool_call_id"), str):
        return output
    return None


def _name_crew(spans: list[Span]) -> None:
    """CrewAI says beside the tasks which role each is given to, not on the spans themselves."""
    tasks: list[Any] = []
    for span in spans:
        tasks += as_list(unpacked(span.attributes.get("crew_tasks")))
    named = [task for task in tasks if isinstance(task, dict)]
    roles = {cut(task.get("id")): cut(task.get("agent_role")) for task in named}
    for span in spans:
        role = roles.get(span.stated(("task_id",)))
        if span.kind == AGENT and role:
            span.attributes["agent_name"] = role


def _join_emitted(spans: list[Span]) -> None:
    """BeeAI writes a span for each thing it emits: `x.start-4`, `x.success-4`, `x.update-5`.

    The start stands for the call, and ends where its success or error begins; the rest is
    neither agent nor call, whatever kind it is given.
    """
    starts: dict[tuple[str, str], Span] = {}
    closings: list[tuple[tuple[str, str], Span]] = []
    for span in spans:
        # The last of a chain has its kind, but no `target`.
        target, _, number = span.name.rpartition("-")
        subject, _, what = target.rpartition(".")
        emitted = isinstance(span.attributes.get("target"), str)
        if not emitted and not (number.isdigit() and what in ("success", "finish", "error")):
            continue
        if what == "start" and span.kind in ACTS:
            span.name = subject
            starts[subject, number] = span
            continue
        if span.kind in ACTS and what in ("success", "error"):
            closings.append(((subject, number), span))
        span.name = target or span.name
        span.drop("is a note of its framework")
    for key, span in closings:
        if key in starts:
            starts[key].closing, starts[key].failed = span, ".error-" in str(span.raw.get("name"))


def _count_once(spans: list[Span]) -> None:
    """Of model calls inside a model call keep the inner ones, unless only the outer has tokens."""
    around: dict[str, Span] = {}
    inside: dict[str, list[Span]] = {}
    for span in spans:
        if span.parent is not None:
            near = span.parent if span.parent.kind else around.get(span.parent.id)
            if near is not None:
                around[span.id] = near
    for span in reversed(spans):
        if span.kind != MODEL:
            continue
        kept = [span]
        inner = inside.pop(span.id, [])
        if inner and (not usage(span.raw).any or any(usage(call.raw).any for call in inner)):
            span.drop("wraps the model call that is counted")
            kept = inner
        for call in inner if span.kind else ():
            call.drop("is inside the model call that is counted")
        outer = around.get(span.id)
        if outer is not None and outer.kind == MODEL:
            inside.setdefault(outer.id, []).extend(kept)


def agent_key(span: Span) -> str:
    """What tells one agent from another where it is stated: an id or a name."""
    return span.stated(("gen_ai.agent.id", *_AGENT_KEYS))


def agent_role(span: Span) -> str:
    """The stated name of an agent, which several may have; "" when only its span has a name."""
    return span.stated(_AGENT_KEYS)


def model_name(span: Span) -> str:
    """The model that a call names; "unknown" when it names none."""
    model = span.raw.get("model")
    named = model if isinstance(model, str) and model else span.stated(_MODEL_KEYS)
    return named or "unknown"


def tool_name(span: Span) -> str:
    """The stated name of a tool, else that of its span."""
    return span.stated(_TOOL_KEYS) or span.name


def handoff_to(span: Span) -> str:
    """Whom a handoff names; "" when it names nobody."""
    match = _HANDOFF_NAME.fullmatch(span.name)
    return span.stated(_HANDOFF_KEYS) or (match[1] if match else "")


def tool_args(span: Span) -> Any:
    """The arguments of a tool call, unpacked."""
    noted = [span.attributes.get(key) for key in _ARGS_KEYS]
    for value in (*noted, span.raw.get("input"), span.attributes.get("tool.parameters")):
        if value is not None:
            return unpacked(value)
    return None


def result(span: Span) -> Any:
    """What came back of a call, unpacked; of a LangChain tool message, its content."""
    source = span.closing or span
    message = _tool_message(source)
    if message is not None:
        return content_text(message.get("content")) or message.get("content")
    noted = [source.attributes.get(key) for key in _RESULT_KEYS]
    for value in (*noted, source.raw.get("output")):
        if value is not None:
            return unpacked(value)
    return None


def error(span: Span) -> str:
    """What went wrong: the message of an ERROR span or tool message; "" when nothing did."""
    for at in (span, span.closing):
        if at is not None and at.raw.get("level") == "ERROR":
            return str(at.raw.get("statusMessage") or "error")
    if span.failed and span.closing is not None:
        return content_text(unpacked(span.closing.raw.get("output"))) or "error"
    message = _tool_message(span)
    if message is not None and message.get("status") == "error":
        return content_text(message.get("content")) or "error"
    return ""


def task_text(value: object) -> str:
    """The task in an agent's or a trace's input: a text, a prompt, or the last user message."""
    value = unpacked(value)
    if isinstance(value, dict):
        for key in ("prompt", "question", "query", "input", "contents", "messages", "new_message"):
            if value.get(key):
                return task_text([value[key]] if key == "new_message" else value[key])
        return ""
    if isinstance(value, list):
        for message in reversed(value):
            if isinstance(message, dict) and (message.get("role") or message.get("type")) in (
                "user",
                "human",
            ):
                return content_text(message.get("content") or message.get("parts"))
        return ""
    return value if isinstance(value, str) else ""
