"""A worker as a process: `python -m ledger.processors.worker judge`, as `ledger worker` runs it.

What a newcomer would get wrong
    Everything comes from variables (LEDGER_LOG, LEDGER_GROUP, LEDGER_WEB_PORT, ...), so that no
    secret in a URL shows in a list of processes. `ledger worker` sets them from its options.
    A broker that is not there yet is waited for; topics that are wrong are not.
    SIGTERM settles: what was said is acknowledged, a checkpoint written, the group left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import faust

from ledger.cli.output import StatusLine
from ledger.errors import LedgerError
from ledger.log.kafka_place import Place, place
from ledger.log.kafka_start import KafkaUnreachable, NotLetIn
from ledger.log.kafka_topics import check
from ledger.settings import number, whole

from .app import create_app
from .base import DEFAULT_WEB_BIND

WAIT_S = 60.0
"""How long a broker is waited for that is not there yet."""
AGAIN_S = 0.5
LOOK_S = 1.0
"""How often it is looked at what is held."""


class PortTaken(LedgerError):
    """The port of the web server cannot be had."""

    def __init__(self, bind: str, port: int, problem: str) -> None:
        super().__init__(bind, port, problem)
        self.bind, self.port, self.problem = bind, port, problem

    def __str__(self) -> str:
        return (
            f"the web server cannot have {self.bind}:{self.port}: {self.problem}; "
            "choose another with --web-port, or none with --web-port 0"
        )


def main(role: str) -> NoReturn:
    """Work until SIGTERM or Ctrl-C; exits 0 then, 1 where it cannot go on, with a sentence."""
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: sys.exit(0))
    # What Faust and aiokafka log is for who mends them; what a person must know we say.
    if os.environ.get("LEDGER_DEBUG"):
        logging.basicConfig(level=logging.INFO)
    else:
        logging.disable(logging.CRITICAL)
    try:
        worker = _worker(role)
    except LedgerError as problem:
        _say(role, str(problem))
        sys.exit(1)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code and not worker.told:  # Else: whatever was cut short by that.
            why = worker.crash_reason
            _say(role, f"it cannot go on: {why!r}; LEDGER_DEBUG=1 shows more")
            sys.exit(1)
    _say(role, "ended", sys.stdout)
    sys.exit(0)


class Worker(faust.Worker):
    """Faust's worker, in silence."""

    told = False

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.told = True
        super()._schedule_shutdown(signal)


def _worker(role: str) -> Any:
    where = place(os.environ["LEDGER_LOG"])
    port = whole("LEDGER_WEB_PORT", 0, least=0)
    bind = os.environ.get("LEDGER_WEB_BIND") or DEFAULT_WEB_BIND
    if port:
        _check_port(bind, port)
    wait_for_brokers(where, number("LEDGER_WAIT_S", WAIT_S), lambda text: _say(role, text))
    make = _archivist if role == "archivist" else create_app
    app = make(where, web_port=port, web_bind=bind)
    app.task(_voice(app, role))
    loop = _deaf_at_the_end(asyncio.new_event_loop())
    asyncio.set_event_loop(loop)
    worker = Worker(app, quiet=True, override_logging=False, redirect_stdouts=False, loop=loop)
    worker.spinner = None
    return worker


def _deaf_at_the_end(loop: Any) -> Any:
    """The loop, which when it closes lets signals be ignored, not kill.

    A terminal tells every process of a group, and `worker all` its children once more.
    """
    remove = loop.remove_signal_handler

    def ignored(number: int) -> Any:
        found = remove(number)
        signal.signal(number, signal.SIG_IGN)
        return found

    loop.remove_signal_handler = ignored
    return loop


def _archivist(where: Place, **how: Any) -> Any:
    """What only archivists need is loaded by them alone."""
    from .archiving import create_archivist_app

    return create_archivist_app(where, os.environ.get("LEDGER_ARCHIVE"), **how)


def wait_for_brokers(where: Place, wait_s: float, say: Callable[[str], object]) -> None:
    """Return once the topics are there and as they must be.

    Raises KafkaUnreachable where nobody answers for `wait_s`, NotLetIn and TopicsWrong at once.
    """
    until_s, told = time.monotonic() + wait_s, False
    while True:
        try:
            asyncio.run(check(where))
            return
        except KafkaUnreachable as problem:
            if isinstance(problem, NotLetIn) or time.monotonic() >= until_s:
                raise
            if not told:
                say(f"waiting up to {wait_s:g} s for {where.bootstrap}: {problem.problem}")
                told = True
            time.sleep(AGAIN_S)


def _check_port(bind: str, port: int) -> None:
    """Whether the web server will get its port; it would end in a traceback."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except (OSError, OverflowError) as problem:
            raise PortTaken(bind, port, getattr(problem, "strerror", "") or str(problem)) from None


def _voice(app: Any, role: str) -> Callable[[], Any]:
    """A task that says which partitions are held, and draws a status line on a terminal."""

    async def voice() -> None:
        line, before, parent = StatusLine(), "", os.environ.get("LEDGER_PARENT", "")
        while not app.should_stop:  # What is drawn last is taken away at the end.
            if parent and os.getppid() != int(parent):
                os.kill(os.getpid(), signal.SIGTERM)  # Nobody is left to tell us.
            told = app.health.told()
            if told and told != before:
                line.clear()
                _say(role, told, sys.stdout)
                before = told
            line.draw(app.health.status())
            await app.sleep(LOOK_S)
        line.clear()

    return voice


def _say(role: str, text: str, to: Any = None) -> None:
    print(f"ledger {role}: {text}", file=to or sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["judge"])
