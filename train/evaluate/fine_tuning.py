"""Which encoders a protocol can fine-tune in whole. Does not import torch."""

from __future__ import annotations

from orl_explorer.db.models import Encoder
from orl_explorer.orl.architectures import RESNETS
from orl_explorer.train.errors import UserError


def refuse_own_reading(encoder: Encoder) -> None:
    """Raise UserError unless an encoder is a convolutional network that is read in the default way."""
    if encoder.reading is not None:
        _refuse(encoder, "convolutional networks of stride 32 that are read in the default way", "knn or linear")


def refuse_all_but_resnets(encoder: Encoder) -> None:
    """Raise UserError unless an encoder is a ResNet, whose four depths a feature pyramid needs."""
    if encoder.architecture not in RESNETS:
        _refuse(encoder, "ResNets of torchvision, for their four depths", "voc07-svm or correspondence")


def _refuse(encoder: Encoder, known: str, others: str) -> None:
    raise UserError(
        f"The encoder '{encoder.name}' cannot be fine-tuned, since its architecture is {encoder.architecture}: this "
        f"protocol takes {known}. Use a protocol with a frozen encoder, such as {others}."
    )
