"""Where a ledger on Kafka is: brokers, the prefix of its topics, and how to get in.

What a newcomer would get wrong
    `kafka://host:9092,other:9092/prefix` is plain text; `kafkas://` is TLS. `user:secret@` in
    front is SASL, with `?sasl=SCRAM-SHA-512` (default), `SCRAM-SHA-256` or `PLAIN`.
    `?ca=FILE` names the authority, `?cert=FILE&key=FILE` a client's own certificate.
    What the URL does not say is looked for in LEDGER_KAFKA_USER, LEDGER_KAFKA_PASSWORD,
    LEDGER_KAFKA_SASL, LEDGER_KAFKA_CA, LEDGER_KAFKA_CERT, LEDGER_KAFKA_KEY, so that no secret
    need stand in a command line. Certificates count with `kafkas://` only.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ledger.errors import LedgerError

PREFIX = "ledger"
JUDGES = "judges"
"""The group of judges; one log has one (`LEDGER_GROUP` names another)."""
_OPTIONS = frozenset({"sasl", "ca", "cert", "key", "partitions", "replication"})


class BadPlace(LedgerError):
    """This is no address of a ledger on Kafka."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"{self.url}: {self.problem}; write kafka://host:9092/prefix"


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger on Kafka. `security` are arguments that every client takes.

    `partitions` and `replication` override `topics.toml` where its ledger was made otherwise.
    """

    bootstrap: str
    prefix: str = PREFIX
    partitions: int | None = None
    replication: int | None = None
    security: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def topic(self, short: str) -> str:
        """The full name of a topic."""
        return f"{self.prefix}-{short}"

    def client(self) -> dict[str, Any]:
        """Arguments for any client of the brokers."""
        return {"bootstrap_servers": self.bootstrap, **self.security}


def place(url: str, settings: Mapping[str, str] | None = None) -> Place:
    """The place that this URL names; `settings` (else the environment) say what it does not.

    Raises BadPlace, and OSError for certificates not there.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("kafka", "kafkas"):
        raise BadPlace(shown(url), f"scheme {parts.scheme!r} is not kafka or kafkas")
    who, _, hosts = parts.netloc.rpartition("@")
    options = dict(parse_qsl(parts.query))
    if strange := sorted(options.keys() - _OPTIONS):
        raise BadPlace(shown(url), f"unknown option {strange[0]!r}")
    if not hosts:
        raise BadPlace(shown(url), "no host")
    try:
        numbers = {name: int(options[name]) for name in _NUMBERS if name in options}
    except ValueError as problem:
        raise BadPlace(shown(url), str(problem)) from None
    prefix = parts.path.strip("/") or PREFIX
    found = _settings(os.environ if settings is None else settings)
    user, secret = who.partition(":")[::2]
    options = {
        **found, **options,
        **({"user": unquote(user)} if user else {}),
        **({"password": unquote(secret)} if secret else {}),
    }  # fmt: skip
    security = _security(parts.scheme == "kafkas", options)
    return Place(hosts, prefix, security=security, **numbers)


_NUMBERS = ("partitions", "replication")
_SETTINGS = ("user", "password", "sasl", "ca", "cert", "key")


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Options from the environment; an empty one says nothing."""
    found = {name: environment.get(f"LEDGER_KAFKA_{name.upper()}", "") for name in _SETTINGS}
    return {name: value for name, value in found.items() if value}


def _security(tls: bool, options: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tls:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
        found["ssl_context"] = context
    user = options.get("user", "")
    if user:
        found |= {
            "sasl_mechanism": options.get("sasl", "SCRAM-SHA-512"),
            "sasl_plain_username": user,
            "sasl_plain_password": options.get("password", ""),
        }
    if found:
        found["security_protocol"] = ("SASL_" if user else "") + ("SSL" if tls else "PLAINTEXT")
    return found


def shown(url: str) -> str:
    """The URL without its secret."""
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{rest}" if at else url


def group_of(place: Place) -> str:
    """The consumer group of the judges of this log."""
    return f"{place.prefix}-{os.environ.get('LEDGER_GROUP') or JUDGES}"
