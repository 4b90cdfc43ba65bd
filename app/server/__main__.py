"""Streamlit's command, ended by a signal with a sentence and without a traceback. Run by ``orl explore``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from orl_explorer.app.server.processes import STOPPED, is_alone


def main() -> NoReturn:
    """Run Streamlit. Its server handles a signal while it runs, and repeats it when it has closed its connections."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from streamlit import config, file_util
    from streamlit.web.cli import main as streamlit

    # Not those of the current folder, which may be somebody else's project.
    config.get_config_files = lambda file_name: [file_util.get_streamlit_file_path(file_name)]
    streamlit()
    sys.exit(0)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error is closed
        if is_alone():  # else the process that watches the servers says it, once
            os.write(2, f"{STOPPED}\n".encode())
    if making := sys.modules.get("orl_explorer.train.mining.making"):  # else there are no temporary folders
        making.remove_temporary()
    os._exit(128 + number)


if __name__ == "__main__":
    main()
