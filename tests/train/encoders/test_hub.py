"""Weights of the Hugging Face hub where no hub answers: refused within seconds, unless they are in its cache."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from orl_explorer.train.encoders import hub
from orl_explorer.train.encoders.hub import refuse_unreachable
from orl_explorer.train.encoders.weights import weights_from
from orl_explorer.train.errors import UserError


@pytest.fixture(autouse=True)
def silent_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a hub that takes connections and never answers."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield address


def test_a_hub_that_does_not_answer_is_asked_once(silent_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ANSWER", 0.5)
    began = time.monotonic()
    with pytest.raises(UserError) as refusal:
        weights_from("timm:test_vit")
    assert time.monotonic() - began < 10
    assert str(refusal.value).startswith(f"Cannot reach {silent_hub}: ")
    assert str(refusal.value).endswith(
        "On a machine with a network, run `hf download timm/test_vit.r160_in1k --local-dir FOLDER`; copy the folder "
        "here and add it as timm-local:FOLDER."
    )


def test_a_machine_without_a_network_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens
    with pytest.raises(UserError, match=r"^Cannot reach http://127.0.0.1:9: .*refused"):
        refuse_unreachable("timm/test_vit.r160_in1k")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^Cannot reach http://127.0.0.1:9: HF_HUB_OFFLINE is set. On a machine"):
        refuse_unreachable("timm/test_vit.r160_in1k")


def test_files_in_the_cache_need_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--timm--test_vit.r160_in1k" / "snapshots" / "0a1b"
    kept.mkdir(parents=True)
    (kept / "model.safetensors").touch()
    refuse_unreachable("timm/test_vit.r160_in1k@main")
