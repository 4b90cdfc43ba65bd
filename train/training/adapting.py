"""Adapting an encoder to a set's photos in a minute: its network stays, and a linear projector is learned on top.

Stored features are projected, not computed again, so the next mining takes hardly longer than matching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import set_images
from orl_explorer.orl.heads import LinearProjector, build_head, head_of
from orl_explorer.orl.linear import learn_projector
from orl_explorer.train.encoders import weights
from orl_explorer.train.encoders.weights import Weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.embed import embed_rois
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, roi_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.run_folders import own_folder
from orl_explorer.train.training.adapt_config import ADAPTED, AdaptConfig, counted_pairs, refuse_adapted
from orl_explorer.train.training.start_from import saw_labels
from orl_explorer.train.training.trained_on import FILE, Correspondences, correspondences
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

AT_ONCE = 4096  # stored features that are projected and written at once
SAME = 1e-6  # half the mean squared distance of unit features from their mean below which all count as the same


def adapt(
    workspace: Workspace,
    mined: CorrespondenceSet,
    encoder: EncoderRow,
    name: str,
    config: AdaptConfig,
    *,
    run_id: int,
    device: str = "cpu",
    progress: Progress | None = None,
) -> EncoderRow:
    """Learn a linear projector of an encoder from the pairs of a set, and register both as a new encoder.

    The encoder need not be the one that mined the set. Raises UserError.
    """
    progress, folder = progress or Progress(), own_folder(workspace, run_id)
    base = Features(workspace, encoder, device, mined.params.get("precision", "fp32"))
    given = base.weights()
    had = head_of(given.projector or {})
    if had is not None and had.kind == "linear":
        refuse_adapted(encoder.name)
    path = folder / "encoder.pt"
    if path.is_file():  # learned by an earlier attempt of the run
        made = weights.checkpoint_weights(path)
    else:
        found = _kept(workspace, mined, config, run_id)
        made = replace(given, projector=_learned(workspace, mined, base, found, config, progress).state_dict())
        made = _labelled(made, saw_labels(workspace, encoder.name, mined))
        weights.save_weights(made, path)
    row = weights.described(workspace, made, path, name=name, kind=ADAPTED, source=f"run {run_id}", run_id=run_id)
    _project_stored(base, Features(workspace, row, precision=base.precision), made, given.projector is None, progress)
    if had is not None:
        progress.log(f"The linear projector takes the place of that of '{encoder.name}', for photos and RoIs alike.")
    return add_encoder(workspace.store, row)


def _kept(workspace: Workspace, mined: CorrespondenceSet, config: AdaptConfig, run_id: int) -> Correspondences:
    """Return the pairs that the run learns from, as they were at its start."""
    path = workspace.run_folder(run_id) / FILE
    if not path.is_file():
        dataset = dataset_by_id(workspace.store, mined.dataset_id)
        correspondences(workspace, mined, dataset, counted_pairs(config)).save(path)
    return Correspondences.load(path)


def _learned(
    workspace: Workspace,
    mined: CorrespondenceSet,
    base: Features,
    found: Correspondences,
    config: AdaptConfig,
    progress: Progress,
) -> LinearProjector:
    images, photos = list(set_images(workspace.store, mined.id)), Photos.of(workspace.store, mined.dataset_id)
    embed_rois(workspace, mined.id, base, images, photos, progress, settled=True)
    size = min(config.batch_size, len(found.queries))
    if size < 2:
        raise UserError(f"Only one photo of the set '{mined.name}' has pairs. Adapting an encoder needs two or more.")
    if size < config.batch_size:
        progress.log(f"Batches are of {size} photos: so many have pairs.")
    progress.log(
        f"Adapting '{base.name}' to the set '{mined.name}': {plural(len(found.pairs), 'pair')} of "
        f"{plural(len(found.queries), 'photo')}."
    )
    data = _Pairs(found, base.rois)
    mean = torch.from_numpy(data.mean())
    if 1 - float(mean @ mean) < SAME:
        raise UserError(
            f"To '{base.name}', all RoIs of the set '{mined.name}' look the same. There is nothing to adapt."
        )
    drawn = data.drawn(np.random.default_rng(config.seed), size, config.steps, progress)
    losses: list[float] = []

    def after_step(loss: float) -> None:
        losses.append(loss)
        progress.metric(len(losses), {"loss": loss})

    projector = learn_projector(mean, drawn, config.learning_rate, config.temperature, after_step)
    if not all(torch.isfinite(value).all() for value in projector.state_dict().values()):
        raise UserError("The projector is not finite numbers. No encoder was added. Use a lower learning rate.")
    if losses:
        tenth = max(1, len(losses) // 10)
        before, after = (float(np.mean(part)) for part in (losses[:tenth], losses[-tenth:]))
        progress.log(f"Loss: {before:.3f} in the first tenth of the steps, {after:.3f} in the last.")
    return projector


@dataclass(frozen=True)
class _Pairs:
    """The features of a set's pairs, which stay on disk."""

    found: Correspondences
    stored: Embeddings

    def mean(self) -> np.ndarray:
        """Return the mean feature of all RoIs, float32 [C]."""
        owners = np.repeat(np.arange(len(self.found.roi_start) - 1), np.diff(self.found.roi_start))
        keys = roi_keys(self.found.digests[owners], self.found.rois)
        total = np.zeros(self.stored.width)
        for start in range(0, len(keys), AT_ONCE):
            total += self.stored.get(keys[start : start + AT_ONCE]).sum(axis=0, dtype=np.float64)
        return (total / max(1, len(keys))).astype(np.float32)

    def drawn(
        self, choice: np.random.Generator, size: int, steps: int, progress: Progress
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features of a random pair of each of some photos: any neighbour, and any pair with it."""
        found = self.found
        progress.phase("Learning a projector", steps)
        for _ in range(steps):
            queries = choice.choice(found.queries, size, replace=False)
            neighbors = choice.integers(found.neighbor_start[queries], found.neighbor_start[queries + 1])
            pairs = found.pairs[choice.integers(found.pair_start[neighbors], found.pair_start[neighbors + 1])]
            ends = zip((queries, found.neighbors[neighbors]), (pairs[:, :4], pairs[:, 4:]), strict=True)
            query, key = (self.stored.get(roi_keys(found.digests[photos], boxes)) for photos, boxes in ends)
            yield torch.tensor(query), torch.tensor(key)
            progress.advance()


def _labelled(made: Weights, supervised: bool) -> Weights:
    """Return weights that say whether labels had a part in them."""
    reading = made.reading
    if reading is not None and supervised:
        reading = replace(reading, learned_from="labels")
    return replace(made, supervised=supervised, reading=reading)


def _project_stored(base: Features, new: Features, made: Weights, photos_too: bool, progress: Progress) -> None:
    """Write the features of the new encoder for all that are stored of its base.

    photos_too: whether photos have the same features as RoIs. What the network alone decides is copied.
    """
    head = head_of(made.projector or {})
    assert head is not None and made.projector is not None
    projector = build_head(base.rois.width, head)
    assert isinstance(projector, LinearProjector)
    projector.load_state_dict(made.projector)

    parts: list[tuple[Embeddings, Embeddings, Callable[[np.ndarray], np.ndarray]]] = [
        (base.rois, new.rois, projector.project),
        (base.attention, new.attention, np.asarray),
        (base.map_boxes, new.map_boxes, np.asarray),
    ]
    if photos_too:
        parts.append((base.images, new.images, projector.project))
    left = [(old, fresh, change, old.keys[~fresh.have(old.keys)]) for old, fresh, change in parts]
    progress.phase("Projecting stored features", sum(len(keys) for *_, keys in left))
    for old, fresh, change, keys in left:
        blocks = (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))
        if len(keys):
            fresh.add(_changed(old, change, blocks, progress))
    progress.log(f"Features of {plural(len(left[0][3]), 'RoI')} were projected, not computed again.")


def _changed(
    old: Embeddings, change: Callable[[np.ndarray], np.ndarray], blocks: Iterator[np.ndarray], progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for keys in blocks:
        yield keys, change(old.get(keys))
        progress.advance(len(keys))
