"""Runs as processes: their kinds, launching and resuming them, doing their work, finding earlier equal ones."""
