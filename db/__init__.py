"""The store: photos, encoders, correspondence sets and runs, in SQL."""
