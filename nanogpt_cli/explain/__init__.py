"""Reads a training log and explains it: what happened, whether it is normal, what to do next.

source → `parse` (records) → `diagnose` (findings, by the small functions in `rules/`) → `report` (words,
all of them from `messages/<language>.toml`). Pure standard library: no torch, no numpy, no terminal.
"""
