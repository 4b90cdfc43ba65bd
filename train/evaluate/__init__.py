"""Downstream evaluation (Tables 1-4): one module per protocol, with their settings in ``protocols``."""
