"""The demo: a dataset composed from photos that installed packages ship, mined and ready to explore."""
