"""Mining by imported vectors: their boxes are the proposals, and nothing can be computed that was not imported."""

from __future__ import annotations

import numpy as np

from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.photos import usable_images
from orl_explorer.db.proposals import missing_proposals, proposals_of
from orl_explorer.orl.boxes import BoxVerdict, judge_shape
from orl_explorer.train.encoders.vectors import refuse_absent
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

BLOCK = 512  # photos whose boxes are read at once


def settings_by(encoder: Encoder, config: MineConfig) -> MineConfig:
    """Return settings of mining for an encoder. For imported vectors, the proposals are their boxes, under its name."""
    if encoder.kind != VECTORS or config.proposals != "search":
        return config
    return config.model_copy(update={"proposals": encoder.name})


def refuse_settings(encoder: Encoder, config: MineConfig) -> None:
    """Raise UserError if settings need what imported vectors lack: other boxes, attention maps, another precision."""
    refuse_absent(encoder)
    if encoder.kind != VECTORS:
        return
    name = encoder.name
    if config.proposals != name:
        raise UserError(f"Only the boxes that were imported with '{name}' have a vector. Use proposals={name}.")
    if config.needs_objectness:
        raise UserError(
            f"Objectness needs attention maps, which '{name}' cannot compute: it is imported vectors without a "
            "network. Keep the search order of raw boxes (ranked_by=search) and give objectness no weight in pairs "
            "(object_weight=0)."
        )
    if config.precision != "fp32":
        raise UserError(
            f"Invalid value for precision: {config.precision}. '{name}' is imported vectors, which are used as they "
            "are. Use fp32."
        )


def check_vectors(workspace: Workspace, dataset: Dataset, encoder: Encoder, config: MineConfig) -> None:
    """Raise UserError if a dataset cannot be mined by imported vectors. Any other encoder passes."""
    if encoder.kind != VECTORS:
        return
    refuse_settings(encoder, config)
    images, features = list(usable_images(workspace.store, dataset.id)), Features(workspace, encoder)
    if not features.rois.rows:
        raise UserError(
            f"'{encoder.name}' has vectors of photos alone, and pairs are found by vectors of boxes. Import those with "
            "`orl import features`."
        )
    has = features.images.have(photo_keys(images))
    boxless = set(missing_proposals(workspace.store, [image.id for image in images], config.method))
    lacking = {
        "vector": [image.path for image, there in zip(images, has, strict=True) if not there],
        "box with a vector": [image.path for image in images if image.id in boxless],
    }
    for what, paths in lacking.items():
        if paths:
            raise UserError(
                f"{plural(len(paths), 'photo')} of '{dataset.name}' {'has' if len(paths) == 1 else 'have'} no {what} "
                f"of '{encoder.name}', such as {paths[0]}. Import what is missing with `orl import features`."
            )
    if config.fallback == "image":
        _check_whole_photos(workspace, encoder, images, config, features)


def _check_whole_photos(
    workspace: Workspace, encoder: Encoder, images: list[Image], config: MineConfig, features: Features
) -> None:
    """Raise UserError if photos whose boxes are all rejected fall back to the whole photo, which has no vector."""
    lacking: list[str] = []
    for some in batched(images, BLOCK):
        raw = proposals_of(workspace.store, [image.id for image in some], config.method)
        for image in some:
            if (judge_shape(raw[image.id], config.rules) == BoxVerdict.KEPT).any():
                continue
            whole = np.array([[0, 0, image.width, image.height]], np.int16)
            if features.rois.missing(roi_keys(image.digest or 0, whole)):
                lacking.append(image.path)
    if lacking:
        raise UserError(
            f"{plural(len(lacking), 'photo')} would get the whole photo as RoI, such as {lacking[0]}, of which "
            f"'{encoder.name}' has no vector. Use fallback=first, or import that vector."
        )
