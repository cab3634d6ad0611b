"""OpenAI-style transcripts (tau-bench): each trial of a task becomes a run of one agent.

What a newcomer would get wrong
    The assistant is the one agent, and its turns are model calls. The user, a person or the
    simulation of one, is none: user messages are counted as skipped.
    Ids of tool calls come again within a transcript, so calls are numbered by message: `m4`,
    and `t4.0` for the first tool it calls.
    A run is a task, a trial and what was said, because two files have a trial 0 of task 0.
    The task key is the task's id and its text, because two benchmarks have a task 0.
    Times are not said: the number of the message stands in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.core import events as e
from ledger.core.fingerprint import exact, exact_json
from ledger.importers.imported import (
    NAME_MAX,
    History,
    ImportedRun,
    RefusedFile,
    WrongShape,
    as_list,
    at,
    content_text,
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
from ledger.importers.usage import usage

SHAPE = '{"traj" or "messages": [{"role": …, "content": …, "tool_calls": …}, …]}'
LEAD = "assistant"

_PROMPTS = ("system", "developer")
_SUCCESS_MILLIONTHS = 1_000_000


def recognises(document: object) -> bool:
    """Whether this looks like one transcript."""
    return _messages(document) is not None


def read_openai(document: object, *, origin: str) -> Iterator[ImportedRun | RefusedFile]:
    """Read one transcript, or a list of them, or a bare list of messages.

    What is no transcript is refused, and the rest goes on.
    """
    if isinstance(document, list) and document and _is_message(document[0]):
        document = {"messages": document}
    return each(document, _read_trial, origin)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and "role" in value and "traj" not in value


def _messages(document: object) -> list[Any] | None:
    if isinstance(document, dict):
        for key in ("traj", "messages"):
            if isinstance(document.get(key), list):
                messages: list[Any] = document[key]
                return messages
    return None


def _read_trial(document: object, origin: str, place: str) -> ImportedRun:
    messages = _messages(document)
    if not isinstance(document, dict) or messages is None:
        raise WrongShape(place, f"expected {SHAPE}, found {shape(document)}")
    where = at(place, "traj" if messages is document.get("traj") else "messages")
    if not messages:
        raise WrongShape(where, "an empty list: nothing happened")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise WrongShape(at(where, index), f"expected a message, found {shape(message)}")
    said = labels({"task": document.get("task_id"), "trial": document.get("trial")})
    parts = ("openai", said.get("task"), said.get("trial"), f"{exact_json(messages):014x}")
    run = identifier("-".join(part for part in parts if part))
    return _Trial(document, messages, said, History("import:openai", run, origin, place)).write()


class _Trial:
    """One transcript on its way to being a run."""

    def __init__(
        self,
        document: dict[str, Any],
        messages: list[dict[str, Any]],
        said: dict[str, str],
        history: History,
    ) -> None:
        self.document = document
        self.messages = messages
        self.said = said
        self.history = history
        self.open: list[tuple[str, str, str]] = []  # (call, the id it was given, tool)

    def write(self) -> ImportedRun:
        """Write the events in order."""
        self._run_started()
        for index, message in enumerate(self.messages):
            role = message["role"]
            if role == "assistant":
                self._turn(index, message)
            elif role in ("tool", "function"):
                self._result(index, message)
            elif role not in _PROMPTS:
                self.history.skip(f"{cut(role, 40)} message")
        end_ms = len(self.messages)
        self.history.add(e.AgentEnded, LEAD, end_ms, outcome="unknown")
        self.history.add(e.RunEnded, LEAD, end_ms, outcome="unknown")
        self._reward(end_ms)
        return self.history.imported

    def _run_started(self) -> None:
        info = self.document.get("info")
        info = info if isinstance(info, dict) else {}
        stated = info.get("task")
        task = content_text(stated.get("instruction")) if isinstance(stated, dict) else ""
        key = self.said.get("task", "")
        if key and task:
            key = f"{key}-{exact(task):014x}"
        asked = [content_text(m.get("content")) for m in self.messages if m["role"] == "user"]
        prompt = [m.get("content") for m in self.messages if m["role"] in _PROMPTS]
        self.history.add(
            e.RunStarted,
            LEAD,
            0,
            task_key=cut(key, NAME_MAX),
            labels=self.said | labels({"source": info.get("source")}),
            prompt_digest=f"{exact_json(prompt):014x}" if prompt else "",
            time_known=False,
            **task_fields(task or "".join(asked[:1])),
        )

    def _turn(self, index: int, message: dict[str, Any]) -> None:
        """A model call; then the tools it asks for start."""
        calls = [call for call in as_list(message.get("tool_calls")) if isinstance(call, dict)]
        if isinstance(message.get("function_call"), dict):
            calls.append({"function": message["function_call"]})
        asked = [_asked(call) for call in calls]
        text = content_text(message.get("content"))
        result = payload([text, *([tool, args] for _, tool, args in asked)] if asked else text)
        used = usage(message)
        model = cut(message.get("model") or self.document.get("model"), NAME_MAX) or "unknown"
        self.history.add(e.ModelCallStarted, LEAD, index, call=f"m{index}", model=model)
        self.history.add(
            e.ModelCallEnded,
            LEAD,
            index,
            call=f"m{index}",
            input_tokens=used.input,
            output_tokens=used.output,
            cache_read_tokens=used.cache_read,
            cache_write_tokens=used.cache_write,
            cost_known=False,
            result_fp=result.fp,
            result_bytes=result.bytes,
        )
        for number, (given, tool, value) in enumerate(asked):
            args, call = payload(value, nearly=True), f"t{index}.{number}"
            self.open.append((call, given, tool))
            self.history.add(
                e.ToolCallStarted,
                LEAD,
                index,
                call=call,
                tool=identifier(tool),
                args_fp=args.fp,
                args_near=args.near,
                args_bytes=args.bytes,
            )

    def _result(self, index: int, message: dict[str, Any]) -> None:
        """What a tool gave back, for the oldest open call of that id, or else of that name."""
        given, name = message.get("tool_call_id"), message.get("name")
        for entry in self.open:
            if given == entry[1] if given else name == entry[2]:
                break
        else:
            self.history.skip("tool message that answers no call")
            return
        self.open.remove(entry)
        text = content_text(message.get("content"))
        result = payload(text)
        self.history.add(
            e.ToolCallEnded,
            LEAD,
            index,
            call=entry[0],
            result_fp=result.fp,
            result_bytes=result.bytes,
            error=cut(text) if text.startswith("Error") else "",
        )

    def _reward(self, end_ms: int) -> None:
        score = millionths(self.document.get("reward"))
        if score is not None:
            self.history.add(
                e.OutcomeReported,
                "",
                end_ms,
                success=score == _SUCCESS_MILLIONTHS,
                score_millionths=score,
                by="reward",
            )


def _asked(call: dict[str, Any]) -> tuple[str, str, Any]:
    """(the id it was given, the tool, the arguments) of a tool call."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    given, name = call.get("id"), function.get("name")
    return (
        given if isinstance(given, str) else "",
        name if isinstance(name, str) and name else "unnamed",
        unpacked(function.get("arguments")),
    )
