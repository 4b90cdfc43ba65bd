"""The error for mistakes that a user can correct."""


class UserError(Exception):
    """A message that says what is wrong, with the value, and what to do. Exit code 2, without a traceback."""
