"""Where a ledger on Kafka is: brokers, the prefix of its topics, and how to get in.

What a newcomer would get wrong
    `kafka://host:9092,other:9092/prefix` is plain text; `kafkas://` is TLS. `user:secret@` in
    front is SASL, with `?sasl=SCRAM-SHA-512` (default), `SCRAM-SHA-256` or `PLAIN`.
    `?ca=FILE` names the authority, `?cert=FILE&key=FILE` a client's own certificate.
    What the URL does not say is looked for in LEDGER_KAFKA_USER, LEDGER_KAFKA_PASSWORD,
    LEDGER_KAFKA_SASL, LEDGER_KAFKA_CA, LEDGER_KAFKA_CERT, LEDGER_KAFKA_KEY, so that no secret
    need stand in a command line. Certificates count with `kafkas://` only.
    Whatever cannot be so is said here: the Kafka client would wait, ask on the terminal, or fail
    with a traceback.
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
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
"""Of SASL; the first is used where none is named."""
_OPTIONS = frozenset({"sasl", "ca", "cert", "key", "partitions", "replication"})


class BadPlace(LedgerError):
    """This is no address of a ledger on Kafka, or what it names cannot be used."""

    REMEDY = "write kafka://host:9092/prefix"

    def __init__(self, url: str, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(url, problem, remedy)
        self.url, self.problem, self.remedy = url, problem, remedy

    def __str__(self) -> str:
        return f"{self.url}: {self.problem}; {self.remedy}"


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

    Raises BadPlace.
    """
    try:
        return _place(url, settings)
    except BadPlace:
        raise
    except ValueError as problem:
        raise BadPlace(shown(url), str(problem)) from None


def _place(url: str, settings: Mapping[str, str] | None) -> Place:
    parts = urlsplit(url)
    if parts.scheme not in ("kafka", "kafkas"):
        raise ValueError(f"scheme {parts.scheme!r} is not kafka or kafkas")
    if "@" in parts.path + parts.query + parts.fragment:  # Else half a secret would be a host.
        raise BadPlace(
            shown(url), "there is an @ behind the hosts",
            "write / ? # @ in a user, a secret or a file's name as %2F %3F %23 %40",
        )  # fmt: skip
    who, _, hosts = parts.netloc.rpartition("@")
    options = dict(parse_qsl(parts.query))
    if strange := sorted(options.keys() - _OPTIONS):
        raise ValueError(f"unknown option {strange[0]!r}")
    if parts.scheme == "kafka" and (files := sorted(options.keys() & {*_FILES})):
        raise BadPlace(shown(url), f"{files[0]} is for TLS", "write kafkas://host:9093/prefix")
    if not hosts:
        raise ValueError("no host")
    for host in hosts.split(","):
        _ = urlsplit(f"//{host}").port  # Raises for what is none.
    numbers = {name: int(options[name]) for name in _NUMBERS if name in options}
    prefix = parts.path.strip("/") or PREFIX
    found = _settings(os.environ if settings is None else settings)
    user, secret = who.partition(":")[::2]
    options = {
        **found, **options,
        **({"user": unquote(user)} if user else {}),
        **({"password": unquote(secret)} if secret else {}),
    }  # fmt: skip
    security = _security(shown(url), parts.scheme == "kafkas", options)
    return Place(hosts, prefix, security=security, **numbers)


_NUMBERS = ("partitions", "replication")
_FILES = ("ca", "cert", "key")
_SETTINGS = ("user", "password", "sasl", *_FILES)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Options from the environment; an empty one says nothing."""
    found = {name: environment.get(f"LEDGER_KAFKA_{name.upper()}", "") for name in _SETTINGS}
    return {name: value for name, value in found.items() if value}


def _security(url: str, tls: bool, options: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tls:
        found["ssl_context"] = _context(url, options)
    user = options.get("user", "")
    if user:
        mechanism = options.get("sasl", MECHANISMS[0])
        if mechanism not in MECHANISMS:
            raise BadPlace(
                url, f"sasl {mechanism!r} is not supported", f"choose of {', '.join(MECHANISMS)}"
            )
        if not options.get("password"):
            raise BadPlace(
                url, f"user {user!r} has no secret",
                "write user:secret@, or set LEDGER_KAFKA_PASSWORD",
            )  # fmt: skip
        found |= {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": options["password"],
        }
    if found:
        found["security_protocol"] = ("SASL_" if user else "") + ("SSL" if tls else "PLAINTEXT")
    return found


def _context(url: str, options: dict[str, str]) -> ssl.SSLContext:
    """What TLS is spoken with. Raises BadPlace."""
    files = {name: options[name] for name in _FILES if name in options}
    for name, file in files.items():
        try:
            open(file, "rb").close()  # OpenSSL does not say which it is that is not there.
        except OSError as problem:
            why = f"{name} {file!r} cannot be read: {problem.strerror}"
            raise BadPlace(url, why, f"name a file with ?{name}=FILE") from None
    try:
        context = ssl.create_default_context(cafile=files.get("ca"))
        if "cert" in files:  # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(files["cert"], files.get("key"), password=lambda: "")
    except ssl.SSLError as problem:
        raise BadPlace(
            url, f"TLS cannot use {_named(files)} ({problem.reason or 'unreadable'})",
            "give PEM files, and a key that belongs to cert and has no passphrase",
        ) from None  # fmt: skip
    return context


def _named(files: dict[str, str]) -> str:
    return ", ".join(f"{name} {file!r}" for name, file in files.items())


def shown(url: str) -> str:
    """The URL without its secret."""
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{rest}" if at else url


def group_of(place: Place) -> str:
    """The consumer group of the judges of this log."""
    return f"{place.prefix}-{os.environ.get('LEDGER_GROUP') or JUDGES}"
