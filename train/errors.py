"""What a person can put right."""


class UserError(Exception):
    """Says in one sentence what was wrong, with what value, and what to do. Exit code 2, no traceback."""
