"""`ledger worker`: a judge or an archivist of a log on Kafka, until Ctrl-C or SIGTERM.

What a newcomer would get wrong
    The command becomes the worker: one process, which a supervisor's signals reach, and whose
    command line does not have the log's URL, which may hold a secret.
    `all` is two processes below this one. A judge must answer within milliseconds, and an
    archivist that writes Parquet would hold the interpreter, or the memory, of both.
    When one of the two ends the other is told to end too, so that a supervisor starts both anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, NoReturn

import typer

from ledger.cli.examples import example
from ledger.cli.place import Place, place
from ledger.settings import MuteLimits, whole

KAFKA = "--log kafka://127.0.0.1:9092"


class Role(Enum):
    """What a worker does."""

    JUDGE = "judge"
    ARCHIVIST = "archivist"
    ALL = "all"


Group = Annotated[
    str,
    typer.Option(help="The group that shares the partitions (LEDGER_GROUP, LEDGER_ARCHIVE_GROUP)."),
]
WebPort = Annotated[
    int,
    typer.Option(
        envvar="LEDGER_WEB_PORT",
        min=0,
        max=65_534,
        help="Port of /health and /metrics; 0: none. With `all` the archivist has the next.",
    ),
]
WebBind = Annotated[
    str, typer.Option(envvar="LEDGER_WEB_BIND", help="Address that the port is opened on.")
]
Wait = Annotated[
    float,
    typer.Option(envvar="LEDGER_WAIT_S", min=0, help="How long to wait for a broker, seconds."),
]
Session = Annotated[
    float,
    typer.Option(
        envvar="LEDGER_SESSION_S",
        min=1,
        help="Who is silent so long is dead to the group, seconds.",
    ),
]
LagMax = Annotated[
    int,
    typer.Option(
        envvar="LEDGER_LAG_MAX",
        min=1,
        help="Events that a partition may be behind before /health says so.",
    ),
]
CommitEvery = Annotated[
    float,
    typer.Option(
        envvar="LEDGER_ARCHIVE_COMMIT_S",
        min=0.1,
        help="How often an archivist commits where little is new, seconds; each is a file a "
        "partition until they are compacted.",
    ),
]
RefusedInRow = Annotated[
    int,
    typer.Option(
        envvar="LEDGER_REFUSED_IN_ROW_MAX",
        min=1,
        help="So many refused records of one source in a row mute it in the refused log.",
    ),
]
Muted = Annotated[
    float,
    typer.Option(
        envvar="LEDGER_MUTED_S",
        min=1,
        help="A source is muted so long, or until a good record of it, seconds.",
    ),
]
RefusedSources = Annotated[
    int,
    typer.Option(
        envvar="LEDGER_REFUSED_SOURCES_MAX",
        min=1,
        help="So many sources of refused records are kept in mind, a partition.",
    ),
]
KeepMs = Annotated[
    int | None,
    typer.Option(
        envvar="LEDGER_ARCHIVE_KEEP_MS",
        min=0,
        help="How long an archivist leaves in Kafka what is archived and judged; "
        "`keep_ms` of topics.toml says so else.",
    ),
]
MUTED = MuteLimits()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example(
            f"ledger {KAFKA} worker",
            f"ledger {KAFKA} worker judge --web-port 6066",
            f"ledger {KAFKA} --archive /var/lib/ledger/archive worker archivist",
        )
    )(worker)


def worker(
    context: typer.Context,
    role: Annotated[
        Role, typer.Argument(help="What it does; `all` is one of each, in two processes.")
    ] = Role.JUDGE,
    group: Group = "",
    web_port: WebPort = 0,
    web_bind: WebBind = "127.0.0.1",
    wait_s: Wait = 60.0,
    session_s: Session = 6.0,
    lag_max: LagMax = 100_000,
    refused_in_row_max: RefusedInRow = MUTED.in_row_max,
    muted_s: Muted = MUTED.muted_ms / 1_000,
    refused_sources_max: RefusedSources = MUTED.sources_max,
    commit_s: CommitEvery = 2.0,
    keep_ms: KeepMs = None,
) -> None:
    """Judge or archive a log on Kafka: a worker that shares the partitions with its group.

    Start as many as there are partitions, or fewer; whatever one of them does, the others take
    over. It stops before it reads where a topic is not as `ledger topics check` wants it.
    A judge reads the archive only where Kafka no longer has what it must fold.
    Ctrl-C or SIGTERM ends it: what it said is acknowledged, a checkpoint is written, the group
    is left, and exit is 0. It ends with 1 where it cannot go on, and says why.
    """  # fmt: skip
    variables = {
        "LEDGER_WEB_PORT": web_port, "LEDGER_WEB_BIND": web_bind, "LEDGER_WAIT_S": wait_s,
        "LEDGER_SESSION_S": session_s, "LEDGER_LAG_MAX": lag_max,
        "LEDGER_REFUSED_IN_ROW_MAX": refused_in_row_max, "LEDGER_MUTED_S": muted_s,
        "LEDGER_REFUSED_SOURCES_MAX": refused_sources_max, "LEDGER_ARCHIVE_COMMIT_S": commit_s,
    }  # fmt: skip
    if keep_ms is not None:
        variables["LEDGER_ARCHIVE_KEEP_MS"] = keep_ms
    if group and role is Role.ALL:
        raise typer.BadParameter("judges and archivists are two groups; start them by themselves")
    if group:
        variables["LEDGER_GROUP" if role is Role.JUDGE else "LEDGER_ARCHIVE_GROUP"] = group
    work(place(context), role, variables)


def work(where: Place, role: Role, settings: Mapping[str, object]) -> NoReturn:
    """Become the worker; `settings` are variables that replace those there are.

    Raises NotOnKafka, BadPlace, BadVariable.
    """
    from ledger.judge.start import environment

    where.on_kafka()
    os.environ.update({name: str(value) for name, value in settings.items()})
    os.environ.update({"LEDGER_LOG": where.kafka, "LEDGER_ARCHIVE": where.archive})
    if role is not Role.ALL:
        _become(_command(role), environment())
    web_port = whole("LEDGER_WEB_PORT", 0, least=0)
    if any(where.kafka in word for word in sys.argv):  # It may hold a secret, and `ps` shows it.
        _become([sys.executable, "-P", "-m", "ledger.cli", "worker", role.value], environment())
    next_port = {"LEDGER_WEB_PORT": str(web_port + 1 if web_port else 0)}
    _both({Role.JUDGE: environment(), Role.ARCHIVIST: {**environment(), **next_port}})


def _command(role: Role) -> list[str]:
    return [sys.executable, "-P", "-m", "ledger.processors.worker", role.value]


def _become(command: list[str], variables: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, variables)


def _both(wanted: dict[Role, dict[str, str]]) -> NoReturn:
    """Run a process for each, until one ends or we are told to; then none is left."""
    children: dict[int, subprocess.Popen[bytes]] = {}
    told = False

    def end(*_: object) -> None:
        nonlocal told
        if not told:  # The second signal would be one too many while they settle.
            told = True
            for child in children.values():
                child.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    for role, variables in wanted.items():
        child = subprocess.Popen(
            _command(role), env={**variables, "LEDGER_PARENT": str(os.getpid())}
        )
        children[child.pid] = child
        if told:
            child.send_signal(signal.SIGTERM)  # It was not there yet when the others heard.
    code = 0
    while children:
        pid, status = os.wait()
        if children.pop(pid, None) is not None:
            code = code or os.waitstatus_to_exitcode(status)
            end()
    raise typer.Exit(1 if code else 0)
