"""A real S3-compatible server for a test: the program in `infra/s3`.

What a newcomer would get wrong
    It is built once, which takes minutes of both cores: `python infra/s3/server.py --build`.
    Where it is not there, tests that need it skip and say so.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.wheel import ROOT

SERVER = ROOT / "infra" / "s3" / "server.py"
PROGRAM = ROOT / "infra" / "s3" / "target" / "versitygw"


@contextmanager
def serving() -> Iterator[tuple[str, dict[str, str]]]:
    """The URL of an empty bucket, and the variables (or storage options) that open it."""
    if not PROGRAM.exists() and not os.environ.get("LEDGER_S3_BUILD"):
        pytest.skip("no S3 server is built: python infra/s3/server.py --build (needs Go, minutes)")
    process = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield (
            f"s3://{said['bucket']}",
            {
                "AWS_ENDPOINT_URL": said["endpoint"],
                "AWS_ACCESS_KEY_ID": said["key"],
                "AWS_SECRET_ACCESS_KEY": said["secret"],
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
            },
        )
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
