"""Runs as processes: kinds, launching, working, recognising what was done."""
