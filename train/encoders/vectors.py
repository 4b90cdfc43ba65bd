"""Encoders that are no network here: their features were computed elsewhere and imported. Does not import torch."""

from __future__ import annotations

from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Encoder
from orl_explorer.train.errors import UserError


def refuse_vectors(row: Encoder, purpose: str = "") -> None:
    """Raise UserError if an encoder is imported vectors. purpose: what needs a network, by default new features."""
    if row.kind != VECTORS:
        return
    if purpose:
        raise UserError(
            f"'{row.name}' is imported vectors without a network, which {purpose} needs. Use an encoder with weights."
        )
    raise UserError(
        f"'{row.name}' is imported vectors without a network, so nothing new can be computed with it. Import the "
        "vectors that are missing with `orl import features`, or use an encoder with weights."
    )
