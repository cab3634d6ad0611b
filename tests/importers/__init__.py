"""Importers, on documents made here and on real ones."""
