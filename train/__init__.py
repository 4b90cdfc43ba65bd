"""Whatever runs for minutes: ingest, pre-training, mining, object-level training, and the runs that do them."""
