"""`ledger worker`: a judge or an archivist of a log on Kafka, until Ctrl-C or SIGTERM.

What a newcomer would get wrong
    The command becomes the worker: one process, which a supervisor's signals reach.
    `all` is two processes below this one. A judge must answer within milliseconds, and an
    archivist that writes Parquet would hold the interpreter, or the memory, of both.
    When one of the two ends the other is told to end too, so that a supervisor starts both anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from enum import Enum
from typing import Annotated, NoReturn

import typer

from ledger.cli.examples import example
from ledger.cli.place import place

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
) -> None:
    """Judge or archive a log on Kafka: a worker that shares the partitions with its group.

    Start as many as there are partitions, or fewer; whatever one of them does, the others take
    over. It stops before it reads where a topic is not as `ledger topics check` wants it.
    Ctrl-C or SIGTERM ends it: what it said is acknowledged, a checkpoint is written, the group
    is left, and exit is 0. It ends with 1 where it cannot go on, and says why.
    """  # fmt: skip
    from ledger.judge.start import environment

    where = place(context)
    where.on_kafka()
    variables = {
        "LEDGER_LOG": where.kafka, "LEDGER_ARCHIVE": where.archive,
        "LEDGER_WEB_PORT": str(web_port), "LEDGER_WEB_BIND": web_bind,
        "LEDGER_WAIT_S": str(wait_s), "LEDGER_SESSION_S": str(session_s),
        "LEDGER_LAG_MAX": str(lag_max),
    }  # fmt: skip
    variables = {**environment(), **variables}
    if group and role is Role.ALL:
        raise typer.BadParameter("judges and archivists are two groups; start them by themselves")
    if group:
        variables["LEDGER_GROUP" if role is Role.JUDGE else "LEDGER_ARCHIVE_GROUP"] = group
    if role is not Role.ALL:
        command = _command(role)
        os.execve(command[0], command, variables)
    next_port = {"LEDGER_WEB_PORT": str(web_port + 1 if web_port else 0)}
    _both({Role.JUDGE: variables, Role.ARCHIVIST: {**variables, **next_port}})


def _command(role: Role) -> list[str]:
    return [sys.executable, "-P", "-m", "ledger.processors.worker", role.value]


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
