"""Speed, measured: one module a subject, each with `figures()`; `python -m tests.bench NAME`."""
