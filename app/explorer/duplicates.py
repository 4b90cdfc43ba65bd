"""Near-duplicates of a dataset for their page, kept in memory."""

from __future__ import annotations

from orl_explorer.db.encoders import encoder_by_id, encoders
from orl_explorer.db.models import Dataset, Encoder
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_by_id, marks_of, usable_images
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.duplicates import DuplicateGroup, find_duplicates, stored_features
from orl_explorer.train.remembered import computed_once
from orl_explorer.train.workspace import Workspace

MOST = 20_000  # photos that a page compares with one another, in some ten seconds
LEAST = 0.5  # of the threshold; below it, most photos would be near-duplicates of one another


def encoders_with_features(workspace: Workspace, dataset: Dataset) -> list[Encoder]:
    """Return the encoders of which all photos of a dataset that are not kept out of mining have stored features.

    The newest comes first.
    """
    images = list(usable_images(workspace.store, dataset.id))
    found = sorted(encoders(workspace.store), key=lambda row: -row.id)
    out = kept_out(workspace.store, dataset.id).tolist()
    return [row for row in found if stored_features(workspace, row, images, out) is not None]


def duplicates_of(
    workspace: Workspace, dataset: Dataset, encoder: Encoder, threshold: float
) -> tuple[DuplicateGroup, ...]:
    """Return the groups of near-duplicates, found once for each state of the dataset. Raises UserError.

    It refuses large datasets and low thresholds, since a server answers many people.
    """
    if threshold < LEAST:
        raise UserError(f"The explorer compares photos from a similarity of {LEAST:g} on. Use a larger threshold.")
    if dataset.image_count > MOST:
        raise UserError(f"The explorer compares at most {MOST:,} photos. Use `orl duplicates` in a terminal.")
    state = dataset.revision, marks_of(workspace.store, dataset.id)  # photos may be kept out or let in
    return _found(workspace, dataset.id, state, encoder.id, encoder.weights_sha256, threshold)


@computed_once(16)
def _found(
    workspace: Workspace, dataset_id: int, state: tuple[int, int], encoder_id: int, weights: str, threshold: float
) -> tuple[DuplicateGroup, ...]:
    dataset, encoder = dataset_by_id(workspace.store, dataset_id), encoder_by_id(workspace.store, encoder_id)
    return tuple(find_duplicates(workspace, dataset, encoder, threshold))
