"""Verdicts, tags and selections."""
