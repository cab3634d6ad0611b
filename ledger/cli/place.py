"""Where the ledger is: the log, the archive and the policy that the global options name."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import typer

from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.core.policy import Policy
    from ledger.log.kafka import KafkaLog
    from ledger.log.kafka_part import KafkaPart
    from ledger.log.kafka_place import Place as KafkaPlace
    from ledger.log.sqlite import SqliteLog

    AnyLog = SqliteLog | KafkaLog
    AnyPart = SqliteLog | KafkaPart

KAFKA = ("kafka://", "kafkas://")


@dataclass(frozen=True, slots=True)
class Place:
    """What `--log`, `--archive` and `--policy` say; `policy` None: the default.

    `kafka` is the URL of a log that is no file; empty: it is one.
    """

    log: Path
    archive: str
    policy: Path | None = None
    kafka: str = ""

    def on_kafka(self) -> KafkaPlace:
        """The place on Kafka. Raises NotOnKafka, BadPlace."""
        if not self.kafka:
            raise NotOnKafka(str(self.log))
        try:
            import ledger.log.kafka_reader  # noqa: F401
        except ImportError:
            raise KafkaNotInstalled from None
        # What it has to say of itself comes as an error too, and then with a remedy.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        from ledger.log.kafka_place import place

        return place(self.kafka)

    def open_log(self, *, create: bool = False) -> AnyLog:
        """The log, whichever it is; with `create` a missing file becomes one, topics never do.

        Raises NoLedger, LogForeign, LogUnreachable, …
        """
        return self.open_kafka() if self.kafka else self.open_file(create=create)

    def open_kafka(self) -> KafkaLog:
        """The log on Kafka. Raises NotOnKafka, BadPlace, KafkaNotInstalled, LogError."""
        self.on_kafka()
        from ledger.log.kafka import KafkaLog

        return KafkaLog(self.kafka)

    def open_file(self, *, create: bool = False) -> SqliteLog:
        """The log that is a file; with `create` a missing one is made. Raises NoLedger, …"""
        from ledger.log.sqlite import SqliteLog

        if self.kafka:
            raise OnKafka(shown(self.kafka))
        if not create and not self.log.exists():
            raise NoLedger(str(self.log))
        return SqliteLog(self.log, create=create)

    def load_policy(self) -> Policy:
        """The policy named, or the default. Raises PolicyFileMissing, PolicyFileWrong."""
        from ledger.core.policy import DEFAULT
        from ledger.policy_file import load

        return DEFAULT if self.policy is None else load(self.policy)


class NoLedger(LedgerError):
    """There is no ledger at `path` yet."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"there is no ledger at {self.path}; name one with --log, "
            "or make one: `ledger demo`, `ledger import`, or ledger.connect() in your program"
        )


class NotOnKafka(LedgerError):
    """The command is for a log on Kafka, and `path` is a file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} is no log on Kafka; "
            "name one with --log kafka://host:9092/prefix (or LEDGER_LOG)"
        )


class OnKafka(LedgerError):
    """The command is for a log that is a file, and `url` is on Kafka."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def __str__(self) -> str:
        return f"{self.url} is on Kafka, and this command needs a log file; name one with --log"


class KafkaNotInstalled(LedgerError):
    """What only Kafka needs is not installed."""

    def __str__(self) -> str:
        return "what Kafka needs is not installed; run: pip install 'coordination-ledger[kafka]'"


def on_kafka(log: AnyLog) -> KafkaLog | None:
    """The log, if it is on Kafka; asked so, nothing of Kafka is loaded for a file."""
    return cast("KafkaLog", log) if hasattr(log, "look") else None


def shown(url: str) -> str:
    """The URL without its secret."""
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{rest}" if at else url


def place(context: typer.Context) -> Place:
    """The place that this command line names."""
    found = context.find_object(Place)
    assert found is not None
    return found


def make(log: str, archive: str | None, policy: str | None) -> Place:
    """The place these options name; the archive stands beside the log unless it is named.

    That of a log on Kafka is the folder `<prefix>-archive` of the working folder, for workers as
    for those who ask: who asks from elsewhere names it.
    """
    kafka = log if log.startswith(KAFKA) else ""
    beside = urlsplit(kafka).path.strip("/") or "ledger" if kafka else os.fspath(log)
    where = archive or f"{beside}-archive"
    return Place(Path(log), where, Path(policy) if policy else None, kafka)
