"""Fuzzing of the readers of photos, annotations and checkpoints, a module each. Run it with `make fuzz`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris


def fuzz(read: Callable[[Path], None], seed: Callable[[Path], None], *options: str, **setup: Any) -> None:
    """Fuzz a reader of files with the arguments of libFuzzer, until its time is over or the reader raises.

    seed: writes small files of each format into a folder; from their bytes the fuzzing begins.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, corpus = Path(folder, "file"), Path(folder, "corpus")
        corpus.mkdir()
        seed(corpus)

        def check(content: bytes) -> None:
            path.write_bytes(content)
            read(path)

        atheris.Setup([*sys.argv, "-timeout=30", "-rss_limit_mb=4096", *options, str(corpus)], check, **setup)
        atheris.Fuzz()
