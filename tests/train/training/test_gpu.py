"""The measurement of a GPU, tried on the CPU with tiny networks."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
TINY = {"backbone": "resnet18", "image_size": 32, "batch_size": 4, "hidden": 16, "projection": 8, "workers": 0}


def test_every_part_prints_its_table(
    small_scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = importlib.import_module("gpu")
    changes = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--photos", str(small_scenes), "--steps", "2", *changes])
    gpu.main()
    told = capsys.readouterr().out
    assert "BYOL, resnet18, views of 32, batch 4" in told
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \|", told, re.MULTILINE)
    assert [name for name, _ in rows][:2] == ["fp32", "auto"]
    assert [name for name, _ in rows][-2:] == ["augmented by loaders", "augmented on the device"]
    assert all(int(speed) > 0 for _, speed in rows)
    losses = re.findall(r"^\| (fp32|bf16) \| (\d\.\d{4}) \| (\d\.\d{4}) \|", told, re.MULTILINE)
    assert [name for name, *_ in losses] == ["fp32", "bf16"]
    assert float(losses[0][1]) == pytest.approx(float(losses[1][1]), abs=0.5)
    difference = re.search(r"in a process group of one \(gloo\) differ by at most (\S+)\.\n", told)
    assert difference
    assert float(difference[1]) < 1e-5
