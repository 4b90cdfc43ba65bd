"""Downstream evaluation (Tables 1-4): a module with one function for each protocol, settings in ``protocols``."""
