"""Series of runs, and reports and figures of their results."""
