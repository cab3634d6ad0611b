"""Who acts: run, agent and ancestors, carried across tasks, threads and processes.

What a newcomer would get wrong
    Tasks inherit the identity by themselves. Threads do not: `propagate`. Processes get it from
    their environment (`to_env`, `from_env`) or a header (`to_header`, `from_header`). Before it
    leaves, what this process said is put into the log: who acts for it must find the agent there.
    What comes from outside is foreign input: it is read strictly, or refused with a reason.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.client.answers import NoAgent, shorten
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.client.agent import Agent

VARIABLE = "LEDGER_IDENTITY"
HEADER = "ledger-identity"
VERSION = "v1"
TEXT_CHARS_MAX = 16_384
PATH_MAX = 64
_ID_MAX = 128
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

F = TypeVar("F", bound=Callable[..., Any])

current: contextvars.ContextVar[Agent | None] = contextvars.ContextVar("ledger_agent", default=None)
step: contextvars.ContextVar[str] = contextvars.ContextVar("ledger_step", default="")
"""The plan step that is being worked on; spawns and calls cite it."""


class BadIdentity(LedgerError):
    """A text that is no identity; `reason` says what is wrong with it."""

    def __init__(self, value: str, reason: str) -> None:
        super().__init__(value, reason)
        self.value, self.reason = value, reason

    def __str__(self) -> str:
        return (
            f"{shorten(self.value)} is no identity: {self.reason}; it looks like "
            "v1;run=RUN;agent=AGENT;path=LEAD/PARENT, as `identity().to_header()` makes it"
        )


@dataclass(frozen=True)
class Identity:
    """`agent` of `run`; `path` are its ancestors, the lead first (empty: it is the lead).

    `policy` is the digest of the policy that the run is judged by.
    """

    run: str
    agent: str
    path: tuple[str, ...] = ()
    policy: str = ""

    def settled_by(self, settle: Callable[[], object]) -> Identity:
        """The same; `settle` is called before it leaves this process."""
        object.__setattr__(self, "_settle", settle)
        return self

    @property
    def depth(self) -> int:
        """Levels below the lead."""
        return len(self.path)

    def __str__(self) -> str:
        path = "/".join(_quote(one) for one in self.path)
        text = f"{VERSION};run={_quote(self.run)};agent={_quote(self.agent)};path={path}"
        return f"{text};policy={_quote(self.policy)}" if self.policy else text

    def to_env(self) -> dict[str, str]:
        """What to add to the environment of a child process."""
        self._settle()
        return {VARIABLE: str(self)}

    def to_header(self) -> dict[str, str]:
        """What to add to the headers of a request to another service."""
        self._settle()
        return {HEADER: str(self)}

    def _settle(self) -> None:
        """Nothing was said here."""

    def __reduce__(self) -> tuple[Any, ...]:
        self._settle()
        return Identity, (self.run, self.agent, self.path, self.policy)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Identity | None:
        """The identity in the environment (this process's), None where there is none.

        Raises BadIdentity.
        """
        if environ is None:
            import os

            environ = os.environ
        value = environ.get(VARIABLE, "")
        return cls.parse(value) if value else None

    @classmethod
    def from_header(cls, headers: Mapping[str, str]) -> Identity | None:
        """The identity in these headers, None where there is none. Raises BadIdentity."""
        found = [value for name, value in headers.items() if name.lower() == HEADER]
        if len(found) > 1 and len(set(found)) > 1:
            raise BadIdentity(", ".join(found), "there are two, and they differ")
        return cls.parse(found[0]) if found else None

    @classmethod
    def parse(cls, value: str) -> Identity:
        """The identity that this text is. Raises BadIdentity."""
        if len(value) > TEXT_CHARS_MAX:
            raise BadIdentity(value, f"it has {len(value)} characters, at most {TEXT_CHARS_MAX}")
        version, _, rest = value.strip().partition(";")
        if version != VERSION:
            raise BadIdentity(value, f"its version is {version[:20]!r}, known is {VERSION!r}")
        fields: dict[str, str] = {}
        for part in rest.split(";"):
            name, equals, text = part.partition("=")
            if not equals or name not in ("run", "agent", "path", "policy") or name in fields:
                raise BadIdentity(value, f"{part[:40]!r} is no field, or stands there twice")
            fields[name] = text
        path = tuple(_id(value, "path", one) for one in fields.get("path", "").split("/") if one)
        if len(path) > PATH_MAX:
            raise BadIdentity(value, f"its path has {len(path)} agents, at most {PATH_MAX}")
        policy = fields.get("policy", "")
        return cls(
            _id(value, "run", fields.get("run", "")),
            _id(value, "agent", fields.get("agent", "")),
            path,
            _id(value, "policy", policy) if policy else "",
        )


def identity() -> Identity:
    """Who acts here. Raises NoAgent outside every run."""
    return here().identity


def here() -> Agent:
    """The agent that acts here. Raises NoAgent outside every run."""
    agent = current.get()
    if agent is None:
        raise NoAgent
    return agent


def propagate(function: F) -> F:
    """`function`, made to run under the identity of whoever calls `propagate` now.

    For threads and executors: `executor.submit(propagate(work), item)`.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: Any, **named: Any) -> Any:
        # A context can be entered once at a time, and executors call at once.
        return context.copy().run(function, *args, **named)

    return carried  # type: ignore[return-value]


def _quote(text: str) -> str:
    if _PLAIN.issuperset(text):
        return text
    from urllib.parse import quote

    return quote(text, safe="")


def _id(value: str, what: str, text: str) -> str:
    if not _PLAIN.issuperset(text):
        from urllib.parse import unquote

        try:
            text = unquote(text, errors="strict")
        except UnicodeDecodeError:
            raise BadIdentity(value, f"{what} is no UTF-8") from None
    if not 0 < len(text) <= _ID_MAX:
        raise BadIdentity(value, f"{what} has {len(text)} characters, it needs 1 to {_ID_MAX}")
    return text
