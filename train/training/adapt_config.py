"""The settings of ``train.training.adapting``. This module does not import torch."""

from __future__ import annotations

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import Settings, setting
from orl_explorer.train.training.config import OPTIMISER
from orl_explorer.train.training.methods import ORLConfig

ADAPTED = "adapted"  # kind of an encoder with a linear projector


class AdaptConfig(Settings):
    """How a linear projector is learned from the pairs of a set. ``docs/results.md`` measures the defaults."""

    steps: int = setting(
        300,
        ge=0,
        le=100_000,
        help="Steps of learning. With more, the features move further. 0: only subtract their mean",
    )
    batch_size: int = setting(256, ge=2, le=65_536, help="Photos per step, each with one of its pairs")
    leave_out_wrong: bool = setting(False, help="Leave out pairs that a person judged wrong in the explorer")
    learning_rate: float = setting(0.0001, gt=0, le=1, help="Learning rate, of Adam", group=OPTIMISER)
    temperature: float = setting(0.3, gt=0, le=10, help="Temperature of the softmax over similarities", group=OPTIMISER)
    seed: int = setting(0, ge=0, help="Seed of the choice of pairs", group=OPTIMISER)


def counted_pairs(config: AdaptConfig) -> ORLConfig:
    """Return settings of stage 3 by which the same pairs of a set count."""
    return ORLConfig(leave_out_wrong=config.leave_out_wrong)


def refuse_adapted(name: str) -> None:
    """Raise the UserError of an encoder that has a linear projector already."""
    raise UserError(
        f"The encoder '{name}' is adapted already. Adapt the encoder that it was made from: an encoder can learn from "
        "the pairs of any set, also of one that another encoder found."
    )
