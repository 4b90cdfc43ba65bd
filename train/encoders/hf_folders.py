"""Encoders from folders that transformers saved, read without network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orl_explorer.orl.architectures import HF
from orl_explorer.orl.hf_dense import plan_hf, quietly, transformers_library, vision_config, without_pooler
from orl_explorer.orl.reading import Choices
from orl_explorer.train.encoders.brought import described_model, first_line, planned
from orl_explorer.train.encoders.state_dicts import Weights, usable
from orl_explorer.train.errors import UserError

PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def hf_weights(folder: Path, choices: Choices, tell: Callable[[str], object]) -> Weights:
    """Return the vision model of a folder, such as ``save_pretrained`` writes. Raises UserError.

    tell: called with what was left out or assumed.
    """
    config, processor = described_model(folder), _processor(folder, tell)
    if not config.get("model_type"):
        raise UserError(
            f"{folder} is no model of transformers: its config.json names no model_type. Use timm-local:{folder} for "
            "one of timm."
        )
    reading = planned(lambda: plan_hf(config, processor, choices))
    with quietly():
        network, left_out = _loaded(folder, config)
    if left_out:
        tell(f"Of {folder}, {len(left_out)} tensors of other parts, such as {left_out[0]}, were left out.")
    state = {
        name: usable(folder, name, value, not value.is_floating_point()) for name, value in network.state_dict().items()
    }
    return Weights(f"{HF}{reading.network['model_type']}", state, None, reading.learned_from == "labels", reading)


def _loaded(folder: Path, config: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return the vision model with its weights, in float32, and the names of tensors that it does not need."""
    transformers = transformers_library()
    own = transformers.AutoConfig.for_model(**vision_config(config))
    try:
        network, said = transformers.AutoModel.from_pretrained(
            folder,
            config=own,
            local_files_only=True,
            output_loading_info=True,
            dtype="float32",
            **without_pooler(own),
        )
    except Exception as error:  # a missing or damaged file raises many kinds of errors
        raise UserError(f"Cannot read {folder} with transformers: {first_line(error)}.") from error
    missing = sorted(str(name) for name in said["missing_keys"])
    if missing:
        raise UserError(
            f"Cannot use {folder}: {len(missing)} tensors of its vision model, such as {missing[0]}, are not in its "
            "files. Download the folder again."
        )
    return network, sorted(str(name) for name in said["unexpected_keys"])


def _processor(folder: Path, tell: Callable[[str], object]) -> dict[str, Any]:
    for name in PROCESSORS:
        try:
            found = json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UserError(f"Cannot read {folder / name}: {first_line(error)}.") from error
        return found.get("image_processor", found)
    tell(f"{folder} has no {PROCESSORS[0]}: ImageNet's mean and deviation of colours are assumed.")
    return {}
