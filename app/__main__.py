"""``python -m app`` is ``orl``."""

from app.cli import main

main()
