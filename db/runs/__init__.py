"""Runs, and what they leave in the store: metrics, probes, evaluations."""
