"""Mining by imported vectors: their boxes are the proposals, and nothing can be computed that was not imported."""

from __future__ import annotations

from orl_explorer.db.encoders import VECTORS
from orl_explorer.db.models import Dataset, Encoder
from orl_explorer.db.photos import usable_images
from orl_explorer.db.sets import write
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace


def settings_by(encoder: Encoder, config: MineConfig) -> MineConfig:
    """Return settings of mining for an encoder. For imported vectors, the proposals are their boxes, under its name."""
    if encoder.kind != VECTORS or config.proposals != "search":
        return config
    return config.model_copy(update={"proposals": encoder.name})


def refuse_settings(encoder: Encoder, config: MineConfig) -> None:
    """Raise UserError if settings need what imported vectors lack: other boxes, attention maps, another precision."""
    if encoder.kind != VECTORS:
        return
    name = encoder.name
    if config.proposals != name:
        raise UserError(
            f"'{name}' is imported vectors and has those of its own boxes alone. Use the proposals '{name}'."
        )
    if config.needs_objectness:
        raise UserError(
            f"Objectness needs attention maps, which '{name}' cannot compute: it is imported vectors without a "
            "network. Use ranked_by=search and object_weight=0, as the preset paper does."
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
    boxless = set(write.missing_proposals(workspace.store, [image.id for image in images], config.method))
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
