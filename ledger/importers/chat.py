"""Chat histories of agent teams (Who&When, AG2, Magentic-One): each history becomes a run.

What a newcomer would get wrong
    Nobody in a group chat is said to have started anybody, so nobody is made a parent: the
    lead is the chat itself, and each speaker is started under it when it first speaks.
    A message is a model call of its speaker. Which model, what it read and what it cost is
    not said. A terminal is no agent: its message is the result of the code before it.
    Times are not said either: the number of the message stands in, in ms. So call `m7` and
    call `t7` are message 7, and `mistake_step` 7 names them.
    `Orchestrator (-> WebSurfer)` is how Magentic-One states a handoff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ledger.core import events as e
from ledger.core.fingerprint import exact_json
from ledger.core.shapes import Contract
from ledger.importers.imported import (
    History,
    ImportedRun,
    RefusedFile,
    WrongShape,
    at,
    content_text,
    cut,
    each,
    identifier,
    labels,
    payload,
    shape,
    task_fields,
)

SHAPE = '{"history": [{"name": …, "role": …, "content": …}, …], "question": …}'
LEAD = "chat"

_TERMINALS = frozenset({"computer_terminal", "computerterminal", "tool", "function"})
_PEOPLE = frozenset({"human", "user"})
_PROMPTS = frozenset({"system", "developer"})
_CODE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_EXIT = re.compile(
    r"(?:exitcode|The script ran, then exited with Unix exit code): (-?\d{1,9})(?!\d)"
)
_IDLE = "There is no code"
_HANDOFF = re.compile(r"(.*\S) \(->\s*(.+)\)")


def recognises(document: object) -> bool:
    """Whether this looks like one history."""
    return isinstance(document, dict) and isinstance(document.get("history"), list)


def read_chat(document: object, *, origin: str) -> Iterator[ImportedRun | RefusedFile]:
    """Read one history, or a list of them; what is no history is refused, and the rest goes on."""
    return each(document, _read_history, origin)


def _read_history(document: object, origin: str, place: str) -> ImportedRun:
    if not isinstance(document, dict) or not isinstance(document.get("history"), list):
        raise WrongShape(place, f"expected {SHAPE}, found {shape(document)}")
    messages = document["history"]
    if not messages:
        raise WrongShape(at(place, "history"), "an empty list: nothing happened")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            where = at(at(place, "history"), index)
            raise WrongShape(where, f"expected an object, found {shape(message)}")
    key = cut(document.get("question_ID") or document.get("question_id"), 80)
    content = f"{exact_json(messages):014x}"
    run = identifier("-".join(filter(None, ("chat", key, content))))
    return _Chat(document, key, History("import:chat", run, origin, place)).write()


class _Chat:
    """One history on its way to being a run."""

    def __init__(self, document: dict[str, Any], key: str, history: History) -> None:
        self.document = document
        self.key = key
        self.history = history
        self.started: dict[str, None] = {LEAD: None}  # In the order of their first message.
        self.speaker = LEAD
        self.code: tuple[str, str] | None = None  # Who wrote what has yet to run.
        self.handoff: tuple[str, str] | None = None  # (its id, to whom), not yet answered.

    def write(self) -> ImportedRun:
        """Write the events in order."""
        document, add = self.document, self.history.add
        prompts = document.get("system_prompt")
        add(
            e.RunStarted,
            LEAD,
            0,
            task_key=self.key,
            labels=labels({"level": document.get("level")}),
            prompt_digest=f"{exact_json(prompts):014x}" if prompts else "",
            time_known=False,
            **task_fields(content_text(document.get("question"))),
        )
        messages = document["history"]
        for index, message in enumerate(messages):
            self._message(index, message)
        for name in prompts if isinstance(prompts, dict) else ():
            if identifier(name) not in self.started:
                self.history.skip("member of the team that never speaks")
        end_ms = len(messages)
        for agent in reversed(self.started):
            add(e.AgentEnded, agent, end_ms, outcome="unknown")
        add(e.RunEnded, LEAD, end_ms, outcome="unknown")
        self._label(end_ms)
        return self.history.imported

    def _message(self, index: int, message: dict[str, Any]) -> None:
        name, hands_to = _speaker(message)
        text = content_text(message.get("content"))
        if name.lower() in _TERMINALS or _EXIT.match(text):
            self._terminal(index, name, text)
        elif name.lower() in _PEOPLE:
            self.history.skip("message of a person")
        elif name.lower() in _PROMPTS:
            self.history.skip("system message")
        elif not name:
            self.history.skip("message that names no speaker")
        else:
            self._says(index, identifier(name), text)
            if hands_to and hands_to.lower() not in _TERMINALS:
                self._hands_on(index, identifier(hands_to), text)

    def _says(self, index: int, name: str, text: str) -> None:
        add = self.history.add
        if name not in self.started:
            self.started[name] = None
            add(e.AgentStarted, name, index, parent=LEAD, role=name)
        handoff, to = self.handoff or ("", "")
        if to == name:
            add(e.HandoffAccepted, name, index, handoff=handoff)
        result = payload(text)
        said = {"result_fp": result.fp, "result_bytes": result.bytes}
        add(e.ModelCallStarted, name, index, call=f"m{index}", model="unknown")
        add(e.ModelCallEnded, name, index, call=f"m{index}", cost_known=False, **said)
        if to == name:
            add(e.HandoffReturned, name, index, handoff=handoff, **said)
            self.handoff = None
        self.speaker = name
        code = _CODE.findall(text)
        if code:
            self.code = (name, "\n".join(code))

    def _hands_on(self, index: int, to: str, text: str) -> None:
        fields = task_fields(text)
        self.handoff = (f"h{index}", to)
        self.history.add(
            e.HandoffOffered,
            self.speaker,
            index,
            handoff=f"h{index}",
            to=to,
            contract=Contract(goal=fields.pop("task", "")),
            **fields,
        )

    def _terminal(self, index: int, name: str, text: str) -> None:
        """The terminal ran the code that was last written, or says that there was none."""
        idle = text.startswith(_IDLE)
        caller, code = self.speaker, None
        if self.code is not None and not idle:
            caller, code = self.code
            self.code = None
        exit_code = _EXIT.match(text)
        failed = idle or (exit_code is not None and int(exit_code[1]) != 0)
        args, result = payload(code, nearly=True), payload(text)
        call = f"t{index}"
        self.history.add(
            e.ToolCallStarted,
            caller,
            index,
            call=call,
            tool=identifier(name),
            args_fp=args.fp,
            args_near=args.near,
            args_bytes=args.bytes,
        )
        self.history.add(
            e.ToolCallEnded,
            caller,
            index,
            call=call,
            result_fp=result.fp,
            result_bytes=result.bytes,
            error=cut(text) if failed else "",
        )

    def _label(self, end_ms: int) -> None:
        """What people found out about the run afterwards."""
        document = self.document
        success = document.get("is_correct", document.get("is_corrected"))
        reason = document.get("mistake_reason")
        said = {
            "mistake_agent": document.get("mistake_agent"),
            "mistake_step": document.get("mistake_step"),
            "mistake_reason": reason,
            "ground_truth": document.get("ground_truth", document.get("groundtruth")),
            "labels": document.get("labels"),
        }
        found = labels(said)
        if isinstance(success, bool) or found:
            self.history.add(
                e.OutcomeReported,
                "",
                end_ms,
                success=success if isinstance(success, bool) else None,
                note=cut(reason),
                labels=found,
            )


def _speaker(message: dict[str, Any]) -> tuple[str, str]:
    """Who speaks and to whom it hands on ("": to nobody); a role stands in for a missing name."""
    name, role = message.get("name"), message.get("role")
    if not isinstance(name, str) or not name:
        name = role if isinstance(role, str) else ""
    handoff = _HANDOFF.fullmatch(name)
    if handoff:
        return handoff[1], handoff[2]
    return re.sub(r"\s*\([^()]*\)$", "", name).strip(), ""
