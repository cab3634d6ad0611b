"""Histories: recorded runs with the verdicts they were given, never edited, replayed for ever.

One line a record: its offset, its append time, the event, and the verdict or null. They are
made by scripts (`recipes.py`), and scripted runs they are. SHA256SUMS holds them to the letter.
A change of the fold that changes a verdict needs a new FOLD_VERSION, and new histories beside
the old ones; `python -m tests.histories` records the recipes that have no file of this version.
"""
