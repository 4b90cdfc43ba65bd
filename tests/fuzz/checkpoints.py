"""Fuzz the reader of checkpoints: any bytes are weights, or UserError. Run it with `make fuzz`."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import atheris
import torch
from safetensors.torch import save_file
from torch._weights_only_unpickler import Unpickler

from tests.fuzz import fuzz

with atheris.instrument_imports(include=["orl_explorer.train.encoders"]):
    from orl_explorer.train.encoders.state_dicts import read_checkpoint
    from orl_explorer.train.errors import UserError

Unpickler.load = atheris.instrument_func(Unpickler.load)  # of torch alone what reads the bytes


def mutate(content: bytes, most: int, seed: int) -> bytes:
    """Change bytes; in a checkpoint of today's form those of one member, as a wrong checksum would end its reading."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = {member: packed.read(member) for member in packed.namelist()}
        changed = random.Random(seed).choice(list(members))
    except Exception:  # a broken or empty zip file
        return atheris.Mutate(content, most)
    members[changed] = atheris.Mutate(members[changed], 1024)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed:
        for member, data in members.items():
            packed.writestr(member, data)
    return written.getvalue()[:most]


def read(path: Path) -> None:
    """Read a file. The only error is a sentence of our own."""
    try:
        read_checkpoint(path)
    except UserError as error:
        assert str(error).isprintable()
        assert "weights_only" not in str(error)


def seed(corpus: Path) -> None:
    """Write a checkpoint of each form."""
    state = {"conv1.weight": torch.zeros(2, 1, 1, 1), "bn1.bias": torch.zeros(2, dtype=torch.bfloat16)}
    torch.save({"model": state, "epoch": 3}, corpus / "new.pth")
    torch.save({"model": state}, corpus / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, corpus / "weights.safetensors")


if __name__ == "__main__":
    fuzz(read, seed, "-max_len=8192", "-len_control=0", custom_mutator=mutate)
