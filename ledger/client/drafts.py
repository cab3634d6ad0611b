"""Makes events in the flushing thread, out of what an agent's thread put down.

Each function takes the run and plain values. Fingerprints are computed here: a near fingerprint
costs 90 µs, which is not the agent's time.
"""

from __future__ import annotations

from typing import Any

from ledger.client.values import printed
from ledger.core import events as e
from ledger.core import fingerprint


def given(run: str, event: e.Event) -> e.Event:
    """An event that the caller made."""
    return event


def make(run: str, cls: type[e.Event], fields: dict[str, Any]) -> e.Event:
    """An event of this class. Defaults may be left out of `fields`."""
    return cls(run=run, **fields)


def with_task(run: str, cls: type[e.Event], fields: dict[str, Any]) -> e.Event:
    """As `make`, with the fingerprints of its task (or of the goal of its contract)."""
    contract = fields.get("contract")
    task = fields["task"] if contract is None else contract.goal
    if task:
        fields["task_fp"] = fingerprint.exact(task)
        fields["task_near"] = fingerprint.near(task)
    return cls(run=run, **fields)


def tool_fp(tool: str, args: Any) -> int:
    """The fingerprint of a call: the tool's name with its arguments; 0 where there are none
    given, because what is not known is not compared."""
    return 0 if args is None else printed(args, 0, prefix=tool).exact


def tool_requested(
    run: str, agent: str, call: str, tool: str, args: Any, step: str
) -> e.ToolCallRequested:
    """A tool call that is asked for by name."""
    return e.ToolCallRequested(
        run=run, agent=agent, call=call, tool=tool, args_fp=tool_fp(tool, args), step=step
    )


def agent_started(run: str, lease: str, fields: dict[str, Any]) -> e.Event:
    """An agent that lives now, under the lease its spawn was admitted with."""
    return with_task(run, e.AgentStarted, {**fields, "lease": lease})


def tool_started(
    run: str, lease: str, agent: str, call: str, tool: str, args: Any, capture: int, step: str,
    retry_of: str,
) -> e.ToolCallStarted:  # fmt: skip
    """A tool call that runs; `capture` is how many bytes of its arguments may be kept."""
    seen = printed(args, capture, prefix=tool)
    return e.ToolCallStarted(
        run=run, agent=agent, call=call, tool=tool, lease=lease,
        args_fp=seen.exact, args_bytes=seen.bytes, args=seen.text, args_cut=seen.cut,
        step=step, retry_of=retry_of,
    )  # fmt: skip


def tool_ended(
    run: str, agent: str, call: str, result: Any, capture: int, error: str
) -> e.ToolCallEnded:
    """A tool call that came back."""
    seen = printed(result, capture)
    return e.ToolCallEnded(
        run=run, agent=agent, call=call, result_fp=seen.exact, result_bytes=seen.bytes,
        result=seen.text, result_cut=seen.cut, error=error,
    )  # fmt: skip


def model_requested(
    run: str, agent: str, call: str, model: str, prompt: Any, fields: dict[str, Any]
) -> e.ModelCallRequested:
    """A model call that is asked for by name."""
    return e.ModelCallRequested(
        run=run, agent=agent, call=call, model=model, prompt_fp=printed(prompt, 0).exact, **fields
    )


def model_started(
    run: str, lease: str, agent: str, call: str, model: str, prompt: Any, capture: int,
    fields: dict[str, Any],
) -> e.ModelCallStarted:  # fmt: skip
    """A model call that runs."""
    seen = printed(prompt, capture)
    return e.ModelCallStarted(
        run=run, agent=agent, call=call, model=model, lease=lease, prompt_fp=seen.exact,
        prompt_bytes=seen.bytes, prompt=seen.text, prompt_cut=seen.cut, **fields,
    )  # fmt: skip


def model_ended(
    run: str, agent: str, call: str, result: Any, capture: int, fields: dict[str, Any]
) -> e.ModelCallEnded:
    """A model call that came back, with its usage in `fields`."""
    seen = printed(result, capture)
    return e.ModelCallEnded(
        run=run, agent=agent, call=call, result_fp=seen.exact, result_bytes=seen.bytes,
        result=seen.text, result_cut=seen.cut, **fields,
    )  # fmt: skip


def with_result(run: str, cls: type[e.Event], fields: dict[str, Any], result: Any) -> e.Event:
    """As `make`, with the fingerprint of a result, and its size where the event has a place."""
    seen = printed(result, 0)
    fields["result_fp"] = seen.exact
    if "result_bytes" in cls.model_fields:
        fields["result_bytes"] = seen.bytes
    return cls(run=run, **fields)


def digest(value: str) -> str:
    """A prompt as a short digest for `prompt_digest`."""
    return f"{fingerprint.exact(value):014x}" if value else ""
