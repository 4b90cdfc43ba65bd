"""Encoders that are no network here: their features were computed elsewhere and imported. Does not import torch."""

from __future__ import annotations

from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Encoder
from orl_explorer.train.errors import UserError

ABSENT = "an archive"  # source of an encoder without weights, which came with a set


def is_absent(row: Encoder) -> bool:
    """Return whether an encoder has neither weights nor imported vectors: only a set of it was imported."""
    return row.kind == VECTORS and row.source == ABSENT


def refuse_absent(row: Encoder) -> None:
    """Raise UserError if features are needed of an encoder that is not here."""
    if is_absent(row):
        raise UserError(
            f"The encoder '{row.name}' is not in this workspace: its set was imported from an archive. Explore, "
            "Matches, Compare and training need no encoder. For the rest, add the encoder with `orl encoders add`: its "
            f"weights have the digest {row.weights_sha256[:12]}…"
        )


def refuse_vectors(row: Encoder, purpose: str = "") -> None:
    """Raise UserError if an encoder is imported vectors. purpose: what needs a network, by default new features."""
    refuse_absent(row)
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
