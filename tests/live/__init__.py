"""Tests that start real processes, kill them, freeze them and cut their power."""
