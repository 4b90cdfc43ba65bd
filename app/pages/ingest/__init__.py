"""The page with the report of an ingest."""
