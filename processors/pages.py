"""What a worker shows over HTTP: `/health` for a supervisor, `/metrics` for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import Metric

from .metrics import CONTENT_TYPE, Metrics

OK, NOT_WELL = 200, 503


def add_pages(
    app: Any, report: Callable[[], dict[str, Any]], collect: Callable[[], Iterator[Metric]]
) -> None:
    """Add both to the Faust app's own web server; `report` says `ok`, and why not."""
    metrics = Metrics(collect)

    @app.page("/health")  # type: ignore[untyped-decorator]
    async def _health(view: Any, request: Any) -> Any:
        found = report()
        return view.json(found, status=OK if found["ok"] else NOT_WELL)

    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def _metrics(view: Any, request: Any) -> Any:
        return view.bytes(metrics.text(), headers={"Content-Type": CONTENT_TYPE})
