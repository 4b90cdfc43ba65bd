"""Fuzz the reader of checkpoints: any bytes are weights, or UserError. Run it with `make fuzz`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
import torch
from safetensors.torch import save_file

from orl_explorer.train.encoders.state_dicts import read_checkpoint
from orl_explorer.train.errors import UserError


def main() -> None:
    """Fuzz with the arguments of libFuzzer. The corpus is made anew, of one small file in each format."""
    with tempfile.TemporaryDirectory() as folder:
        path, corpus = Path(folder, "weights"), Path(folder, "corpus")
        corpus.mkdir()
        state = {"conv1.weight": torch.zeros(2, 1, 1, 1), "bn1.bias": torch.zeros(2, dtype=torch.bfloat16)}
        torch.save({"model": state, "epoch": 3}, corpus / "new.pth")
        torch.save({"model": state}, corpus / "old.pth", _use_new_zipfile_serialization=False)
        save_file(state, corpus / "weights.safetensors")

        def check(content: bytes) -> None:
            path.write_bytes(content)
            try:
                read_checkpoint(path)
            except UserError as error:
                assert str(error).isprintable()
                assert "weights_only" not in str(error)

        atheris.Setup([*sys.argv, "-max_len=4096", "-timeout=30", "-rss_limit_mb=4096", str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
