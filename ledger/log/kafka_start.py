"""Starts clients of the brokers; where none lets us in, finds out why.

What a newcomer would get wrong
    aiokafka tries every broker and keeps no reason: a wrong secret, an old certificate and a
    cable that is out are all "unable to bootstrap". So who was not let in knocks once more, by
    hand. Only where that gives no reason may waiting help.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from ledger.errors import LedgerError
from ledger.log.kafka_place import Place

KNOCK_MS = 5_000
TLS_ALERT = range(0x1503_0000, 0x1504_0000)
"""How an alert of TLS begins, where the length of an answer should stand."""
RIGHTS_TO = {
    errors.TopicAuthorizationFailedError: "topic",
    errors.GroupAuthorizationFailedError: "group",
    errors.TransactionalIdAuthorizationFailed: "transactional id",
    errors.ClusterAuthorizationFailedError: "the cluster",
}
"""What somebody lacks a right to, by the error that says so."""


class KafkaUnreachable(LedgerError, KafkaError):  # type: ignore[misc]  # aiokafka has no types.
    """No broker answers. It is aiokafka's error, too, for whoever tries again on those."""

    REMEDY = "is the broker up, and the address right?"

    def __init__(self, bootstrap: str, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(bootstrap, problem, remedy)
        self.bootstrap, self.problem, self.remedy = bootstrap, problem, remedy

    def __str__(self) -> str:
        return f"{self.bootstrap}: {self.problem}; {self.remedy}"


class NotLetIn(KafkaUnreachable):
    """The brokers are there and refuse us this; a person has to do something."""


def unreachable(place: Place, problem: BaseException) -> KafkaUnreachable:
    """The same as a sentence for people."""
    if isinstance(problem, KafkaUnreachable):
        return problem
    if meaning := _meaning(place, problem):
        return NotLetIn(place.bootstrap, *meaning)
    said = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return KafkaUnreachable(place.bootstrap, said)


def lacking(place: Place, problem: BaseException | None) -> NotLetIn | None:
    """What the brokers refuse us, where that is the problem or its cause."""
    while problem is not None:
        found = unreachable(place, problem)
        if isinstance(found, NotLetIn):
            return found
        problem = problem.__cause__
    return None


async def start(client: Any, place: Place) -> None:
    """Start a client of aiokafka's, or let go of it. Raises KafkaUnreachable, NotLetIn."""
    try:
        await client.start()
    except BaseException as problem:
        await (client.close() if hasattr(client, "close") else client.stop())
        if isinstance(problem, KafkaError | OSError):
            raise await _why(place, problem) from None
        raise


async def _why(place: Place, problem: KafkaError | OSError) -> KafkaUnreachable:
    """Why no broker lets us in, as far as one says; else what keeps us from the first."""
    doors = [(host, port) for host, port, _ in collect_hosts(place.bootstrap, randomize=False)]
    answers = await asyncio.gather(*(_knock(place, host, port) for host, port in doors))
    shut = (answer for answer in answers if isinstance(answer, NotLetIn))
    return next(shut, answers[0] or unreachable(place, problem))


async def _knock(place: Place, host: str, port: int) -> KafkaUnreachable | None:
    """Why this broker does not let us in; None where it does."""
    met = False
    try:
        known = await create_conn(host, port, request_timeout_ms=KNOCK_MS, **place.security)
        met = True
        try:
            await known.send(MetadataRequest([]))
        finally:
            await known.close()
    except (KafkaError, OSError) as problem:
        said = _meaning(place, problem) or _meaning(place, problem.__cause__)
        if said is None and met and "sasl_mechanism" not in place.security:
            said = "the broker wants a user", _USER
        if said is None and "ssl_context" in place.security and await _is_plain(host, port):
            said = "the broker speaks no TLS on this port", "write kafka://, or another port"
        return NotLetIn(f"{host}:{port}", *said) if said else unreachable(place, problem)
    return None


async def _is_plain(host: str, port: int) -> bool:
    """Whether a broker answers without TLS."""
    try:
        await (await create_conn(host, port, request_timeout_ms=KNOCK_MS)).close()
    except (KafkaError, OSError):
        return False
    return True


def _meaning(place: Place, problem: BaseException | None) -> tuple[str, str] | None:
    """What the broker means, and what to do; None where it is not about us."""
    user = place.security.get("sasl_plain_username")
    mechanism = place.security.get("sasl_mechanism")
    if isinstance(problem, KafkaError) and (kind := RIGHTS_TO.get(type(problem))):
        named = [str(name).rpartition(" ")[2] for name in problem.args]  # Some in a sentence.
        who = f"user {user!r}" if user else "our certificate" if place.security else "nobody"
        return f"{who} lacks a right to {' '.join((kind, *named))}", _RIGHTS
    match problem:
        case errors.SaslAuthenticationFailed():
            return f"the broker does not take user {user!r} with this secret ({mechanism})", _USER
        case errors.UnsupportedSaslMechanismError():
            return f"the broker does not take {mechanism}", "name another with ?sasl="
        case errors.IllegalSaslStateError():
            return "the broker takes no users on this port", f"leave {user!r} out"
        case ssl.SSLCertVerificationError():
            why = problem.verify_message.rstrip(".")
            mend = _MEND.get(problem.verify_code, _AUTHORITY)
            return f"the broker's certificate does not hold ({why})", mend
        case ssl.SSLError() if re.search("CERTIFICATE|UNKNOWN_CA", problem.reason or ""):
            return (
                f"the broker wants a certificate that it trusts ({problem.reason})",
                "name yours with ?cert=FILE&key=FILE (LEDGER_KAFKA_CERT, LEDGER_KAFKA_KEY)",
            )
        case asyncio.IncompleteReadError() if problem.expected in TLS_ALERT:
            return "the broker speaks TLS on this port", "write kafkas://, or another port"
    return None


_USER = "write user:secret@ in the URL, or set LEDGER_KAFKA_USER and LEDGER_KAFKA_PASSWORD"
_RIGHTS = "give it the rights that `ledger docs fleet` lists"
_AUTHORITY = "name its authority with ?ca=FILE (LEDGER_KAFKA_CA)"
_HOST = "write the host as it stands in the certificate"
_MEND = {9: "set the clock", 10: "renew it, or set the clock", 62: _HOST, 64: _HOST}
"""What to do about some of OpenSSL's reasons (X509_V_ERR_...)."""
