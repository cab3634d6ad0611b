"""Policies as files: read a TOML file, and name each mistake by its line.

What a newcomer would get wrong
    A file is read strictly: `depth_max = "4"` and `depth_max = true` are mistakes, not fours
    and ones.
    Every mistake is reported, not the first only.
    `notes` are no mistakes: the policy is valid, and probably not what its author meant.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ledger import toml_lines
from ledger.core.policy import Policy
from ledger.errors import LedgerError

TEXT_MAX = 262_144
"""Characters of the canonical form: what an event can carry (`policy_recorded.text`)."""
SHOWN_MAX = 60
"""Characters of a wrong value that a person is shown."""
MISTAKES_MAX = 50
"""Mistakes listed of one file."""
BYTES_MAX = 1_048_576
"""A larger file is no policy."""

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


class Mistake(NamedTuple):
    """One thing wrong with a file; `line` 0: the file as a whole. Texts may be empty."""

    line: int
    field: str
    value: str
    problem: str
    allowed: str


class PolicyFileWrong(LedgerError):
    """A policy file that cannot be used: `path`, and its `mistakes`, at least one."""

    def __init__(self, path: str, mistakes: list[Mistake]) -> None:
        super().__init__(path, mistakes)
        self.path, self.mistakes = path, mistakes

    def __str__(self) -> str:
        return "\n".join(sentence(self.path, mistake) for mistake in self.mistakes)


class PolicyFileMissing(LedgerError):
    """There is no readable file at `path`; `reason` is the operating system's."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"cannot read policy file {self.path}: {self.reason}; name a TOML file"


class Field(NamedTuple):
    """One field a policy can have. `path` has a name in angle brackets where the user names."""

    path: tuple[str, ...]
    kind: str
    default: Any
    minimum: int | None
    maximum: int | None
    choices: tuple[str, ...]
    description: str

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    @property
    def allowed(self) -> str:
        """What it may hold, for people."""
        if self.choices:
            return _or([f'"{choice}"' for choice in self.choices])
        if self.kind == "integer":
            return f"an integer from {self.minimum} to {self.maximum}"
        if self.kind == "table":
            return "a table"
        return f"a text of {self.minimum} to {self.maximum} characters"


def load(path: str | Path) -> Policy:
    """The policy in this TOML file. Raises PolicyFileMissing, PolicyFileWrong."""
    try:
        data = Path(path).read_bytes()
    except OSError as problem:
        raise PolicyFileMissing(str(path), problem.strerror or str(problem)) from None
    policy, mistakes = check(data)
    if policy is None:
        raise PolicyFileWrong(str(path), mistakes)
    return policy


def check(data: bytes) -> tuple[Policy | None, list[Mistake]]:
    """The policy that these bytes are, or None and everything wrong with them, by line."""
    if len(data) > BYTES_MAX:
        return None, [Mistake(0, "", "", f"has {len(data)} bytes", f"{BYTES_MAX} at most")]
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        return None, [Mistake(line, "", "", "is not UTF-8", "")]
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        return None, [_unreadable(str(problem), text)]
    except RecursionError:
        return None, [Mistake(0, "", "", "nests too deep to be a policy", "")]
    try:
        policy = Policy.model_validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as problem:
        where = toml_lines.lines(text)
        errors = problem.errors(include_url=False)[:MISTAKES_MAX]
        return None, sorted(_mistake(dict(error), where) for error in errors)
    if len(policy.text) > TEXT_MAX:
        size = f"has {len(policy.text)} characters in its canonical form"
        return None, [Mistake(0, "", "", size, f"{TEXT_MAX} at most")]
    return policy, []


def sentence(path: str, mistake: Mistake) -> str:
    """A mistake as people and editors read it: `file:line: field = value: what; allowed: …`."""
    where = f"{path}:{mistake.line}: " if mistake.line else f"{path}: "
    what = f"{mistake.field} = {mistake.value}: " if mistake.value else ""
    if mistake.field and not mistake.value:
        what = f"{mistake.field}: "
    allowed = f"; allowed: {mistake.allowed}" if mistake.allowed else ""
    return f"{where}{what}{mistake.problem}{allowed}"


def notes(policy: Policy) -> list[str]:
    """Sentences about limits of a valid policy that can never be reached."""
    said = []
    run, agent = policy.run, policy.agent
    if agent.open_children_max >= run.agents_live_max:
        said.append(
            f"agent.open_children_max = {agent.open_children_max} is never reached: "
            f"run.agents_live_max = {run.agents_live_max} comes first"
        )
    for name in ("tool_calls_max", "model_calls_max", "tokens_max", "microdollars_max"):
        limits = [("agent", agent)] + [(f"roles.{r}", policy.for_agent(r)) for r in policy.roles]
        for where, limit in limits:
            own, whole = getattr(limit, name), getattr(run, name)
            if own > whole:
                said.append(
                    f"{where}.{name} = {own} is never reached: run.{name} = {whole} comes first"
                )
    rule = policy.findings.repeated_step
    if rule.deny_repeats < rule.warn_repeats:
        said.append(
            f"findings.repeated_step.warn_repeats = {rule.warn_repeats} comes after "
            f"deny_repeats = {rule.deny_repeats}: nobody is warned"
        )
    return said


@cache
def fields() -> tuple[Field, ...]:
    """Every field that a policy can have, in the order of the classes."""
    schema = Policy.model_json_schema()
    return tuple(_walk(schema, schema, (), Policy().model_dump(mode="json")))


# --- mistakes -----------------------------------------------------------------------------------


def _unreadable(message: str, text: str) -> Mistake:
    found = _AT_LINE.search(message)
    line = int(found.group(1)) if found else text.count("\n") + 1
    problem = _AT_LINE.sub("", message).removesuffix(" (at end of document)")
    return Mistake(line, "", "", f"is not TOML: {problem[:1].lower()}{problem[1:]}", "")


def _mistake(error: dict[str, Any], where: dict[toml_lines.Path, int]) -> Mistake:
    path = tuple(str(part) for part in error["loc"] if part != "[key]")
    name = ".".join(_quoted(part) for part in path) or "the file"
    line = next((where[path[:end]] for end in range(len(path), 0, -1) if path[:end] in where), 0)
    value = "" if isinstance(error["input"], dict) else _short(error["input"])
    if error["type"] == "extra_forbidden":
        siblings = _siblings(path)
        hint = _hint(path, siblings)
        return Mistake(line, name, value, f"there is no such field{hint}", ", ".join(siblings))
    field = _field(path)
    allowed = field.allowed if field is not None else ""
    return Mistake(line, name, value, _problem(error), allowed)


def _hint(path: tuple[str, ...], siblings: list[str]) -> str:
    """What was probably meant: a neighbour with nearly this name, or this name elsewhere."""
    near = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.7)
    if near:
        return f"; did you mean {near[0]}?"
    homes = [f.name for f in fields() if f.path[-1] == path[-1] and "<" not in f.name]
    return f"; did you mean {' or '.join(homes[:2])}?" if homes else ""


def _problem(error: dict[str, Any]) -> str:
    """What is wrong, without repeating what is allowed."""
    kind: str = error["type"]
    if kind.endswith("_type"):
        return f"is {_kind(error['input'])}"
    plain = {
        "literal_error": "is not one of the words for it",
        "greater_than_equal": "is too small",
        "less_than_equal": "is too large",
        "string_too_short": "is too short",
        "string_too_long": "is too long",
        "too_long": "has too many entries",
    }
    said: str = plain.get(kind, error["msg"])
    return said


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "a table")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _matches(field: Field, path: tuple[str, ...]) -> bool:
    pairs = zip(field.path, path, strict=False)
    return all(own == other or own.startswith("<") for own, other in pairs)


def _siblings(path: tuple[str, ...]) -> list[str]:
    """The fields that stand beside `path`, in order."""
    depth = len(path) - 1
    beside = [f.path[depth] for f in fields() if len(f.path) > depth and _matches(f, path[:-1])]
    return list(dict.fromkeys(beside))


def _field(path: tuple[str, ...]) -> Field | None:
    exact = [f for f in fields() if len(f.path) == len(path) and _matches(f, path)]
    if exact:
        return exact[0]
    if any(_matches(f, path) and len(f.path) > len(path) for f in fields()):
        return Field(path, "table", None, None, None, (), "")
    return None


# --- the schema, walked -------------------------------------------------------------------------


def _walk(
    whole: dict[str, Any], node: dict[str, Any], path: tuple[str, ...], default: Any
) -> list[Field]:
    node = _resolved(whole, node)
    if "properties" in node:
        found: list[Field] = []
        for name, child in node["properties"].items():
            inner = default.get(name) if isinstance(default, dict) else None
            found += _walk(whole, child, (*path, name), inner)
        return found
    if isinstance(node.get("additionalProperties"), dict):
        singular = path[-1].removesuffix("s")
        return _walk(whole, node["additionalProperties"], (*path, f"<{singular}>"), None)
    kind = node.get("type", "string")
    bounds = ("minimum", "maximum") if kind == "integer" else ("minLength", "maxLength")
    return [
        Field(
            path,
            kind,
            default,
            node.get(bounds[0], None if kind == "integer" else 0),
            node.get(bounds[1]),
            tuple(node.get("enum", ())),
            node.get("description", ""),
        )
    ]


def _resolved(whole: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The node without references and without the `null` of an optional field."""
    for part in node.get("anyOf", ()):
        if part.get("type") != "null":
            return _resolved(whole, {**part, "description": node.get("description", "")})
    if "$ref" in node:
        found: dict[str, Any] = whole["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        return found
    return node


def _or(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
