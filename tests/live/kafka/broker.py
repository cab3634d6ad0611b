"""A real broker for a test: the program in `infra/broker`, or the one that LEDGER_KAFKA names.

What a newcomer would get wrong
    Where Java or Maven is missing, tests that need a broker skip and say so; where CI is true
    they fail instead, so that the machine that counts never skips them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.wheel import ROOT

PROGRAM = ROOT / "infra" / "broker" / "broker.py"
MISSING = 2


class Broker:
    """A running cluster: `bootstrap`, and `say` to kill and start nodes.

    `secured` says how it is entered by its other doors (`infra/broker/secured.py`), if it has any.
    """

    def __init__(self, process: "subprocess.Popen[str] | None", ready: dict[str, Any]) -> None:
        self._process = process
        self.bootstrap: str = ready["bootstrap"]
        self.nodes: dict[str, int] = ready.get("nodes", {})
        self.secured: dict[str, Any] = ready.get("secured", {})

    def say(self, line: str) -> None:
        """`kill N` or `start N`; returns when it is done."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            pytest.skip("the broker that LEDGER_KAFKA names is not ours to kill")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "did" in answer, answer
        self.nodes = answer["nodes"]


@contextmanager
def running(nodes: int = 1, *options: str) -> Iterator[Broker]:
    """A broker of that many nodes, ended with the block; `options` as its program takes them."""
    named = os.environ.get("LEDGER_KAFKA")
    if named and options:
        pytest.skip(f"the broker that LEDGER_KAFKA names is not ours to start with {options}")
    if named:
        yield Broker(None, {"bootstrap": named.partition("://")[2].partition("/")[0] or named})
        return
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "--nodes", str(nodes), *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        problem, code = process.stderr.read(), process.wait()
        if code == MISSING and os.environ.get("CI") != "true":
            pytest.skip(problem.strip())
        pytest.fail(f"the test broker did not start: {problem}")
    try:
        yield Broker(process, json.loads(line))
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()
