"""The archive: every record of the logs exactly once, in one Delta Lake table of Parquet.

`rows` turns bytes into typed rows, `table` is the Delta table, `archivist` drains a log into it,
`verify` proves it whole, `compact` keeps its files few and sorted.
Nothing here is imported by `import ledger`: DuckDB, PyArrow and Delta load only when asked.
"""
