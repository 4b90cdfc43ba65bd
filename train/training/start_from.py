"""Checks of the encoder or set that a training starts from, and its use of labels. Does not import torch."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from orl_explorer.db.encoders import encoder_by_id, find_encoder
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.store import Store
from orl_explorer.orl.architectures import HF, TIMM
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.workspace import Workspace

C = TypeVar("C", bound=TrainConfig)


def settled(store: Store, config: C) -> C:
    """Return the settings of a run, whose backbone is that of the encoder to start from if they name none.

    Raises UserError if what they keep of an encoder has none to be taken from.
    """
    if not config.start_from and (config.freeze or config.batch_norms == "frozen" or not config.backbone):
        raise UserError(
            "These settings adapt an encoder, but start_from names none. Name the encoder to start from, in a terminal "
            "with --start-from NAME."
        )
    if config.backbone:
        return config
    return config.model_copy(update={"backbone": _encoder(store, config.start_from).architecture})


def _encoder(store: Store, name: str) -> EncoderRow:
    row = find_encoder(store, name)
    if row is None:
        raise UserError(f"Invalid value for start_from: {name}. There is no such encoder; see `orl encoders`.")
    refuse_vectors(row, "start_from")
    if row.architecture.startswith(HF):
        raise UserError(f"Invalid value for start_from: {name}. '{row.architecture}' can be read, not trained.")
    return row


def start_encoder(workspace: Workspace, name: str, architecture: str) -> EncoderRow:
    """Return the encoder to start from. Raises UserError if it does not exist or has another architecture."""
    row = _encoder(workspace.store, name)
    if row.architecture != architecture:
        raise UserError(
            f"Invalid value for start_from: {name}. Its architecture is {row.architecture}, and the run's backbone is "
            f"{architecture}. Use --set backbone={row.architecture}, or another encoder."
        )
    return row


def refuse_unfit(config: TrainConfig) -> None:
    """Raise UserError if the run's backbone is unknown, cannot read its views, or has no block left to learn."""
    if not config.freeze and not config.backbone.startswith(TIMM):
        return  # the other backbones take views of any size
    if reason := _unfit(config.backbone, config.freeze, tuple(sorted({each.side for each in config.passes}))):
        raise UserError(reason)


@lru_cache(maxsize=32)  # a form asks again at every change of any field
def _unfit(architecture: str, frozen: int, sides: tuple[int, ...]) -> str:
    """Return why a backbone cannot learn from views of these sides with so many frozen blocks, "" if it can."""
    from orl_explorer.orl.blocks import freeze
    from orl_explorer.orl.trainable import on_paper, refuse_side

    try:
        backbone = on_paper(architecture)
    except ValueError as error:
        return str(error)
    try:
        freeze(backbone, frozen)
    except ValueError as error:
        return f"Invalid value for freeze: {frozen}. {error}."
    for side in sides:
        try:
            refuse_side(backbone, side)
        except ValueError as error:
            return f"{architecture} cannot learn from views of {side} pixels: {error}."
    return ""


def refuse_wider(mined: CorrespondenceSet, config: ORLConfig) -> None:
    """Raise UserError if a run asks for more neighbours or pairs than its set was mined with."""
    for name, least in (("neighbors", "K"), ("pair_ratio", "N")):
        asked, there = getattr(config, name), mined.params.get(name)
        if there is not None and asked > there:
            raise UserError(
                f"Invalid value for {name}: {asked:g}. The set '{mined.name}' was mined with {least} = {there:g}. "
                f"Use at most {there:g}, or mine again with more."
            )
    if config.pair_ratio and mined.params.get("cover_photo"):  # its further pairs are in no order with the N best
        raise UserError(
            f"Invalid value for pair_ratio: {config.pair_ratio:g}. The set '{mined.name}' was mined with cover_photo, "
            f"which keeps pairs beyond the best. Mine again with --pair-ratio {config.pair_ratio:g}."
        )


def saw_labels(workspace: Workspace, start_from: str, mined: CorrespondenceSet | None) -> bool:
    """Whether labels influence a training: by the encoder it starts from, if any, by the set's, or by its boxes."""
    sources = [find_encoder(workspace.store, start_from)] if start_from else []
    if mined is not None:
        sources.append(encoder_by_id(workspace.store, mined.encoder_id))
        if mined.params.get("proposals") == "annotations":
            return True
    return any(row is not None and row.supervised for row in sources)
