"""Sharing a set as a folder of static files, which opens from disk without a server."""
