"""Stage 2: from a dataset and an encoder to a correspondence set (Sec. 3.2).

Raw proposals depend on (image, method) and features on (encoder, image, box). Both are computed once and stored, so
that changing K, N or a threshold reuses them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from orl_explorer.db.lost import Lost
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.people.kept_out import KEPT_OUT, kept_out
from orl_explorer.db.photos import usable_images
from orl_explorer.db.proposals import keep_proposals, missing_proposals
from orl_explorer.db.sets import read, write
from orl_explorer.orl.cells import neighbors_in_cells
from orl_explorer.orl.duplicates import near_duplicate_groups
from orl_explorer.orl.matching import Rows, nearest_neighbors, pair_count
from orl_explorer.train.encoders.precision import refuse_precision
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import leave_out, lost_as, present_or_stored
from orl_explorer.train.mining.candidates import Described, candidates, describe, match, raw_boxes, searches, with_map
from orl_explorer.train.mining.config import OWN_SOURCES, MineConfig
from orl_explorer.train.mining.cost import proposals_metric
from orl_explorer.train.mining.duplicates import standing_for
from orl_explorer.train.mining.embed import BLOCK, embed_images, embed_rois, map_attention, map_boxes
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.mining.place import Here, WorkPlace
from orl_explorer.train.mining.quality import measure_and_keep
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress, Within, map_ahead, one_ahead, timed
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

NAMED = 5  # photos in a line of the log
PART = 1024  # photos that are searched while others are embedded
FEW_LEFT, MANY_LEFT = 0.2, 0.95  # shares of the pairs that N allows, beyond which a minimum worth does not fit
MATCHED = 16  # images per transaction of matching, where the RoI features of all neighbours are in memory


class Known(NamedTuple):
    """The RoIs of a photo: ids int64 [B], and their features and merit."""

    ids: np.ndarray
    rois: Described


_Stage = Callable[[list[Image], Progress], list[Image]]
_Query = tuple[int, Known, list[Known]]  # id of a photo, its RoIs, and those of its neighbours, nearest first


def check(workspace: Workspace, dataset: Dataset, encoder: Encoder, name: str, config: MineConfig) -> None:
    """Raise UserError if mining cannot work, before anything is queued or computed."""
    if not name.strip():
        raise UserError("A correspondence set needs a name.")
    refuse_precision(encoder, config.precision)
    if dataset.image_count <= config.neighbors:
        advice = "Lower K (--neighbors) or add photos." if dataset.image_count > 1 else "Add photos that can be read."
        raise UserError(
            f"K = {config.neighbors} neighbours need at least {plural(config.neighbors + 1, 'photo')}. The dataset "
            f"'{dataset.name}' has {dataset.image_count}. {advice}"
        )
    if config.skip_duplicates and config.neighbor_search == "cells":
        raise UserError("Near-duplicates are found by comparing all photos. Use neighbor_search=exact to skip them.")
    _check_proposals(workspace, dataset, config)


def _check_proposals(workspace: Workspace, dataset: Dataset, config: MineConfig) -> None:
    if config.proposals == "annotations":
        if not dataset.annotation_count:
            raise UserError(f"The photos of '{dataset.name}' have no annotations. Ingest them with annotations.")
    elif config.proposals not in OWN_SOURCES:
        ids = [image.id for image in usable_images(workspace.store, dataset.id)]
        missing = len(missing_proposals(workspace.store, ids, config.method))
        if missing:
            raise UserError(
                f"{missing} of the {len(ids)} photos of '{dataset.name}' have no proposals '{config.proposals}'. "
                f"Import them with `orl import proposals FILE --dataset {shlex.quote(dataset.name)} "
                f"--name {shlex.quote(config.proposals)}`."
            )


def mine(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    config: MineConfig,
    *,
    run_id: int,
    workers: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    place: WorkPlace | None = None,
) -> CorrespondenceSet:
    """Mine a dataset into a new correspondence set. Continues an interrupted attempt of the same run.

    place: where photos are searched and embedded, by default here with ``workers`` processes for selective search, one
    per core. The result does not depend on the place, on interruptions or on the order in which photos are finished.
    """
    progress = progress or Progress()
    place = place or Here(workers)
    check(workspace, dataset, encoder, name, config)
    store = workspace.store
    mined = write.begin_set(store, name, dataset.id, encoder.id, config.model_dump(), run_id)
    photos = Photos.of(store, dataset.id)

    features = Features(workspace, encoder, device, config.precision)
    known = known_photos(workspace, dataset, progress)
    if write.images_with_neighbors(store, mined.id):  # by an earlier attempt: the photos of the set are settled
        images = list(read.set_images(store, mined.id))
        embed_rois(workspace, mined.id, features, images, photos, progress, place, settled=True)
    else:
        known = _let_in(workspace, mined.id, dataset, known, progress)
        images = present_or_stored(workspace, known, photos, progress)
        _drop_others(workspace, mined.id, images)
        images = search_and_embed(workspace, mined.id, features, images, photos, config, place, progress)
        if len(images) <= config.neighbors:
            raise UserError(
                f"Only {plural(len(images), 'photo')} of '{dataset.name}' can be read and are not kept out of mining, "
                f"too few for K = {config.neighbors}."
            )
        _find_neighbors(workspace, mined.id, features, images, config, progress)
    match_rois(workspace, mined.id, features, images, config, progress)
    return publish_set_measured(workspace, mined.id, dataset, config, progress)


def _let_in(
    workspace: Workspace, set_id: int, dataset: Dataset, images: list[Image], progress: Progress
) -> list[Image]:
    """Leave out the photos that people keep out of mining, note their number with the set, and log them."""
    out = set(kept_out(workspace.store, dataset.id).tolist())
    left_out = [image for image in images if image.id in out]
    write.note_kept_out(workspace.store, set_id, len(left_out))
    if left_out:
        names = ", ".join(image.path for image in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
        progress.log(
            f"Kept out of mining: {plural(len(left_out), 'photo')} that people tagged '{KEPT_OUT}': {names}{more}."
        )
    return [image for image in images if image.id not in out]


def _drop_others(workspace: Workspace, set_id: int, images: list[Image]) -> None:
    """Drop the RoIs of all other photos: an earlier attempt had them and this one has not."""
    write.drop_candidates(
        workspace.store, set_id, write.filtered_images(workspace.store, set_id) - {i.id for i in images}
    )


def publish_set_measured(
    workspace: Workspace, set_id: int, dataset: Dataset, config: MineConfig, progress: Progress
) -> CorrespondenceSet:
    """Measure the quality of a set whose rows are complete, and publish it."""
    progress.phase("Measuring quality", 1)
    measure_and_keep(workspace.store, set_id, dataset.id)
    progress.advance()
    published = write.publish_set(workspace.store, set_id)
    progress.log(
        f"Set '{published.name}': {published.image_count} photos, {published.candidate_count} RoIs, "
        f"{published.pair_count} pairs; {published.fallback_count} photos use the fall-back RoI ({config.fallback})."
    )
    if config.least_worth > -np.inf:
        progress.log(_left_by_worth(published, config, read.candidate_counts(workspace.store, set_id)))
    if left_out := (published.summary or {}).get("left_out"):
        progress.log(f"Left out of the set: {', '.join(f'{count} {state}' for state, count in left_out.items())}.")
    return published


def _left_by_worth(mined: CorrespondenceSet, config: MineConfig, counts: np.ndarray) -> str:
    """Tell what the minimum worth, which depends on the encoder, has left. counts: number of RoIs of each photo."""
    most = config.neighbors * sum(pair_count(config.pair_ratio, count) for count in counts.tolist())
    said = f"Minimum worth {config.min_worth:g}: {mined.pair_count:,} pairs, where N alone keeps {most:,}."
    if mined.pair_count < FEW_LEFT * most:
        return f"{said} These are few: this encoder may need a lower --min-worth."
    if mined.pair_count > MANY_LEFT * most:
        return f"{said} It leaves out hardly any: this encoder may need a higher --min-worth."
    return said


def search_and_embed(
    workspace: Workspace,
    set_id: int,
    features: Features,
    images: list[Image],
    photos: Photos,
    config: MineConfig,
    place: WorkPlace,
    progress: Progress,
) -> list[Image]:
    """Find the RoIs of photos, and compute the features of photos and RoIs. Returns the photos that could be read.

    An accelerator gets the photos in parts: while it embeds a part, processors search the next one.
    """

    def proposed(part: list[Image], told: Progress) -> list[Image]:
        return propose_missing(workspace, part, photos, config, place, told)

    def embedded(part: list[Image], told: Progress) -> list[Image]:
        kept = embed_images(features, part, photos, told, place)
        if config.needs_objectness:
            kept = map_attention(features, kept, photos, told, place)
        if config.maps_boxes:
            kept = map_boxes(features, kept, photos, told, place)
        filter_rois(workspace, set_id, features, kept, config, told)
        return embed_rois(workspace, set_id, features, kept, photos, told, place)

    overlap = place.overlaps(features) and config.searches
    count = len(images) // PART if overlap else 1
    if count <= 1:
        kept = embedded(proposed(images, progress), progress)
    else:
        kept = _in_parts(images, count, proposed, embedded, progress)
    _drop_others(workspace, set_id, kept)
    return kept


def _in_parts(images: list[Image], count: int, proposed: _Stage, embedded: _Stage, progress: Progress) -> list[Image]:
    """Do both stages with each part of the photos, the first with the next part meanwhile. Returns what is left."""
    progress.phase("Searching and embedding", len(images))
    bounds = np.linspace(0, len(images), count + 1).astype(int).tolist()
    parts = [images[first:last] for first, last in pairwise(bounds)]
    told, kept = Within(progress), list[Image]()
    with closing(one_ahead((part, proposed(part, told)) for part in parts)) as searched:
        try:
            for part, found in searched:
                kept += embedded(found, told)
                progress.advance(len(part))
        finally:
            told.abandon()
    return kept


def propose_missing(
    workspace: Workspace, images: list[Image], photos: Photos, config: MineConfig, place: WorkPlace, progress: Progress
) -> list[Image]:
    """Compute missing proposals if the settings use selective search. Returns the images that could be read."""
    if not config.searches:
        progress.log(f"Raw boxes: {config.raw}.")
        return images
    missing = set(missing_proposals(workspace.store, [i.id for i in images], config.method))
    todo = [i for i in images if i.id in missing]
    progress.phase("Running selective search", len(todo))
    lost = _propose(workspace, todo, photos, config, place, progress) if todo else {}
    progress.log(f"Proposals computed: {len(todo) - len(lost)}, reused: {len(images) - len(todo)}.")
    return leave_out(workspace, images, photos, lost, progress)


def _propose(
    workspace: Workspace, todo: list[Image], photos: Photos, config: MineConfig, place: WorkPlace, progress: Progress
) -> dict[int, Lost]:
    """Search photos and store their raw boxes. Returns those that could not be read."""
    lost: dict[int, Lost] = {}
    done: dict[int, np.ndarray] = {}
    try:
        all_found = place.search(searches(todo, photos, config), len(todo), progress)
        with timed(progress, proposals_metric(), len(todo)), closing(all_found):
            for image, found in zip(todo, all_found, strict=True):
                if isinstance(found, str):
                    lost[image.id] = lost_as(photos, image, found)
                else:
                    done[image.id] = found
                if len(done) == BLOCK:
                    keep_proposals(workspace.store, config.method, done)
                    done = {}
                progress.advance()
    finally:
        keep_proposals(workspace.store, config.method, done)
    return lost


def filter_rois(
    workspace: Workspace, set_id: int, features: Features, images: list[Image], config: MineConfig, progress: Progress
) -> None:
    """Write the candidates of a set."""
    done = write.filtered_images(workspace.store, set_id)
    todo = [i for i in images if i.id not in done]
    progress.phase("Filtering RoIs", len(todo))
    for start in range(0, len(todo), BLOCK):
        block = todo[start : start + BLOCK]
        raw = raw_boxes(workspace.store, block, config)
        keys, none = photo_keys(block), [None] * len(block)
        maps = features.attention.get(keys) if config.needs_objectness else none
        boxes = features.map_boxes.get(keys) if config.maps_boxes else none
        batch = []
        for image, attention, row in zip(block, maps, boxes, strict=True):
            own = with_map(raw[image.id], row, image)
            found = candidates(image, own, config, attention)
            kept, objectness = found.filtered, found.objectness if config.needs_objectness else None
            batch.append(write.CandidateRows(image.id, kept.boxes, len(own), kept.fallback, objectness))
        write.add_candidates(workspace.store, set_id, batch)
        progress.advance(len(block))


def _find_neighbors(
    workspace: Workspace, set_id: int, features: Features, images: list[Image], config: MineConfig, progress: Progress
) -> None:
    ids, rows = np.array([i.id for i in images]), features.images.lazily(photo_keys(images))
    standing = _standing(workspace, set_id, images, rows, config, progress) if config.skip_duplicates else None
    progress.phase("Finding neighbours", len(images))
    if config.neighbor_search == "cells":
        found = neighbors_in_cells(rows, ids, config.neighbors)
    else:
        found = nearest_neighbors(rows, ids, config.neighbors, standing=standing)
    write.add_neighbors(workspace.store, set_id, ids, found.ids, found.similarity)
    progress.advance(len(images))


def _standing(
    workspace: Workspace, set_id: int, images: list[Image], rows: Rows, config: MineConfig, progress: Progress
) -> np.ndarray:
    """Find near-duplicates, note their number with the set, and return what ``nearest_neighbors`` needs of them."""
    progress.phase("Finding near-duplicates", len(images))
    standing = standing_for(images, near_duplicate_groups(rows, config.duplicate_similarity))
    progress.advance(len(images))
    skipped = np.flatnonzero(standing != np.arange(len(images)))
    groups, kept = len(np.unique(standing[skipped])), len(images) - len(skipped)
    write.note_duplicates(workspace.store, set_id, groups, len(skipped))
    progress.log(
        f"Near-duplicates: {plural(groups, 'group')} of photos with a similarity of {config.duplicate_similarity:g} or "
        f"more. The largest photo of each stays; {plural(len(skipped), 'other photo')} will be nobody's neighbour."
    )
    if kept <= config.neighbors:
        raise UserError(
            f"Photos left without near-duplicates: {kept}, too few for K = {config.neighbors}. "
            "Lower K or raise duplicate_similarity."
        )
    return standing


def match_rois(
    workspace: Workspace, set_id: int, features: Features, images: list[Image], config: MineConfig, progress: Progress
) -> None:
    """Write the pairs of a set whose neighbours and candidates are complete."""
    done = write.matched_images(workspace.store, set_id)
    todo = [i.id for i in images if i.id not in done]
    progress.phase("Matching RoIs", len(todo))

    rois = read.set_rois(workspace.store, set_id)
    digest_of = dict(zip([i.id for i in images], photo_keys(images).tolist(), strict=True))
    size_of = {i.id: (i.width, i.height) for i in images}

    def known_of(image: int) -> Known:
        here = rois.of(image)
        vectors = features.rois.get(roi_keys(digest_of[image], rois.boxes[here]))
        return Known(rois.ids[here], describe(vectors, rois.boxes[here], size_of[image], rois.objectness[here], config))

    def queries() -> Iterator[_Query]:
        for block in batched(todo, MATCHED):
            neighbors = read.neighbor_ids_of(workspace.store, set_id, block)
            known = {image: known_of(image) for image in {*block, *(n for ids in neighbors.values() for n in ids)}}
            for image in block:
                yield image, known[image], [known[n] for n in neighbors[image]]

    def matched(query: _Query) -> write.MinedImage:
        image, own, neighbors = query
        pairs = []
        for rank, other in enumerate(neighbors, 1):
            best = match(own.rois, other.rois, config, nearest=rank == 1)
            ids = own.ids[best.query], other.ids[best.key]
            pairs.append(write.MinedPairs(rank, *ids, best.similarity, best.margin, best.cycle))
        return write.MinedImage(image, tuple(pairs))

    # A product of two photos' RoIs is too small to share between threads; whole photos are not.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in batched(map_ahead(pool, matched, queries(), 2 * MATCHED), MATCHED):
            write.add_pairs(workspace.store, set_id, batch)
            progress.advance(len(batch))
