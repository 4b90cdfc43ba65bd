"""``python -m orl_explorer`` is ``orl``."""

from orl_explorer.app.cli import main

main()
