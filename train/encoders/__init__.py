"""Weights of encoders: read, added, exported."""
