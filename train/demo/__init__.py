"""The demo: a data set composed from photos that installed packages ship, mined and ready to explore."""
