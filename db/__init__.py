"""The store: what photos, encoders, correspondence sets and runs there are, in SQL."""
