"""Trials of settings on a sample give what mining stores, independently of earlier trials."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from threadpoolctl import threadpool_info, threadpool_limits

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Image
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl.boxes import iou
from orl_explorer.orl.matching import top_pairs
from orl_explorer.orl.objectness import sparseness
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining import propose, trial
from orl_explorer.train.mining.candidates import candidates, raw_boxes
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import AttentionMaps, Boxes, BoxFeatures, Features, MapBoxes
from orl_explorer.train.mining.quality import quality_of
from orl_explorer.train.mining.sample import Sample, draw_sample, drawn, sample_of, saved
from orl_explorer.train.mining.trial import Found, Trial
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import MINED, NewRun
from tests.named import mine

pytestmark = pytest.mark.usefixtures("remembered")

NAME = "demo-starter"
LARGE = MINED.model_copy(update={"min_size": 130, "max_iou": 0.6, "pair_ratio": 0.4, "min_similarity": 0.25})
OBJECTS = MINED.model_copy(
    update={"ranked_by": "objectness", "object_weight": 0.7, "max_rois": 5, "pair_ratio": 0.5, "fallback": "image"}
)
ON_MAPS = OBJECTS.model_copy(update={"proposals": "search+map"})


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(mined_workspace.path, tmp_path / "copy")
    return open_workspace(tmp_path / "copy")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A trial and its inputs."""

    trial: Trial
    vectors: BoxFeatures
    attention: AttentionMaps
    workspace: Workspace


def ready(workspace: Workspace, name: str, size: int = 12, seed: int = 0, most: int = 4) -> Ready:
    features = Features(workspace, encoder_named(workspace.store, "starter"))
    row = complete_set_named(workspace.store, name)
    photos = Photos.of(workspace.store, row.dataset_id)
    vectors, attention = BoxFeatures(features, photos), AttentionMaps(features, photos)
    sample = sample_of(workspace, row, features.images, drawn(np.arange(1, 13), size, seed), most)
    return Ready(
        Trial(workspace, sample, vectors, attention, MapBoxes(features, photos)), vectors, attention, workspace
    )


def equal(one: object, other: object) -> bool:
    """Whether two records of arrays are bitwise equal. NaN equals NaN."""
    each = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)  # type: ignore[call-overload]
    return all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") for a, b in each)


@pytest.mark.parametrize("config", [LARGE, ON_MAPS], ids=["thresholds", "objectness, and boxes on maps"])
def test_a_trial_finds_what_mining_with_its_settings_stores(
    mined: Workspace, new_run: NewRun, config: MineConfig
) -> None:
    mine(mined, "demo", "starter", "other", config, run_id=new_run(mined, "mine", "other"), workers=1)
    # Tried from the old set's point of view, as the page does, with nothing left to embed.
    for size, seed in ((12, 0), (5, 3)):
        tried = ready(mined, NAME, size, seed)
        found = tried.trial.find(config)
        assert found.missing == 0
        assert equal(found.mined, saved(mined, complete_set_named(mined.store, "other"), tried.trial.sample))
        if size == 12:
            kept = quality_of(mined, "other")
            assert found.measures == {name: kept[name] for name in found.measures}


def test_people_who_try_settings_at_once_leave_blas_its_threads(
    mined: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blas() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before, inside, product = blas(), list[list[int]](), trial.cosines

    def slow(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        time.sleep(0.01)
        inside.append(blas())
        return product(own, other)

    monkeypatch.setattr(trial, "cosines", slow)
    both = [ready(mined, NAME, size=3, seed=seed) for seed in (0, 1)]
    people = [threading.Thread(target=one.trial.find, args=(MINED,)) for one in both]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(inside) > 10
    assert all(seen == [1] * len(before) for seen in inside)
    assert blas() == before


def test_the_saved_set_on_a_sample_is_its_own_settings_tried(mined: Workspace) -> None:
    tried = ready(mined, NAME, size=7, seed=1)
    assert equal(tried.trial.find(MINED).mined, saved(mined, complete_set_named(mined.store, NAME), tried.trial.sample))


@pytest.fixture(scope="module")
def tried(mined_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """One trial for all examples, which keeps the state of earlier ones. Attention maps are in memory."""
    folder = tmp_path_factory.mktemp("tried") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    made = ready(open_workspace(folder), NAME, size=6, seed=2, most=6)
    made.attention.get(list(made.trial.sample.images.values()), OBJECTS)
    return made


VARIED = st.fixed_dictionaries(
    {
        "neighbors": st.integers(1, 6),
        "pair_ratio": st.sampled_from([0.05, 0.3, 1.0]),
        "min_size": st.sampled_from([60, 96, 140, 400]),
        "max_aspect": st.sampled_from([1.5, 3.0]),
        "max_iou": st.sampled_from([0.3, 0.5, 0.8]),
        "max_rois": st.sampled_from([3, 100]),
        "min_similarity": st.sampled_from([-1.0, 0.3, 0.6, 1.0]),
        "spread_after": st.sampled_from([2, 1000]),
        "spread_iou": st.sampled_from([0.2, 0.5]),
        "ranked_by": st.sampled_from(["search", "objectness"]),
        "scored_by": st.sampled_from(["contrast", "layout"]),
        "object_weight": st.sampled_from([0.0, 0.5]),
        "sparse_weight": st.sampled_from([0.0, 1.0]),
        "fallback": st.sampled_from(["first", "image"]),
        "min_worth": st.sampled_from([-10.0, -10.0, 0.7]),
        "cover_photo": st.booleans(),
        "consistent_only": st.booleans(),
        "distinct_iou": st.sampled_from([1.0, 1.0, 0.5]),
    }
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VARIED)
def test_what_was_tried_before_changes_nothing(tried: Ready, changes: dict) -> None:
    config = MINED.model_copy(update=changes)
    found = tried.trial.find(config)
    with threadpool_limits(1, user_api="blas"):  # as mining multiplies: sums split between threads differ in a bit
        plain = plainly(tried, config)
    assert equal(found.mined, plain.mined)
    assert (found.counts, found.rois, found.missing) == (plain.counts, plain.rois, plain.missing)
    assert np.array_equal(found.cut, plain.cut)
    assert found.measures == plain.measures


def cells_by_hand(image: Image, boxes: np.ndarray) -> np.ndarray:
    """Return which of 32 x 32 cells of a photo have their middle in each box, bool [B, 1024]."""
    middles = [((x + 0.5) / 32 * image.width, (y + 0.5) / 32 * image.height) for y in range(32) for x in range(32)]
    found = [[x <= mx < x + w and y <= my < y + h for mx, my in middles] for x, y, w, h in boxes.tolist()]
    return np.array(found, bool).reshape(len(boxes), 1024)


def plainly(tried: Ready, config: MineConfig) -> Found:
    """Compute the trial from the definitions: filter every photo and compute every product one after the other."""
    trial, sample, store = tried.trial, tried.trial.sample, tried.workspace.store
    ids = sorted({*sample.queries.tolist(), *sample.neighbors[:, : config.neighbors].ravel().tolist()})
    images = [sample.images[i] for i in ids]
    raw, maps = raw_boxes(store, images, config), tried.attention.get(images, config)
    own = {image.id: candidates(image, raw[image.id], config, maps[image.id]) for image in images}
    counts: dict[str, int] = {}
    for query in sample.queries.tolist():
        each = own[query].filtered.counts() | {"fallback": int(own[query].filtered.fallback)}
        counts = {name: counts.get(name, 0) + value for name, value in each.items()}
    boxes, vectors, scores, total = {}, {}, {}, 0
    for i, some in ((i, Boxes.of(found)) for i, found in own.items()):
        each = (np.arange(len(some.boxes)) == j for j in range(len(some.boxes)))
        there = np.array([tried.vectors.missing(some[one]) == 0 for one in each])
        total += len(there)
        known = some[there]
        boxes[i], scores[i], vectors[i] = known.boxes, known.objectness, tried.vectors.get(known)
    start = np.concatenate([[0], np.cumsum([len(boxes[i]) for i in ids])])
    columns: dict[str, list] = {name: [] for name in ("query", "key", "similarity", "margin", "cycle")}
    cut = [np.empty(0, np.float32)]
    for query, neighbors in zip(sample.queries.tolist(), sample.neighbors.tolist(), strict=True):
        for rank, neighbor in enumerate(neighbors[: config.neighbors], 1):
            if not len(boxes[query]) or not len(boxes[neighbor]):
                continue
            bonus = None
            if config.object_weight or config.sparse_weight:
                one, other = (
                    config.object_weight * scores[i] + config.sparse_weight * sparseness(vectors[i])
                    for i in (query, neighbor)
                )
                bonus = one[:, None] + other[None]
            both = [boxes[i] for i in (query, neighbor)]
            alike = [iou(own[:, None], own[None]) > config.distinct_iou for own in both]
            rules: dict[str, Any] = {"consistent_only": config.consistent_only, "alike": (alike[0], alike[1])}
            rules["min_worth"] = -np.inf if config.min_worth == -10 else config.min_worth
            if config.cover_photo and rank == 1:
                rules["cells"] = cells_by_hand(sample.images[query], boxes[query])
            two = vectors[query], vectors[neighbor], config.pair_ratio
            free = top_pairs(*two, -1.0, bonus, **rules)
            pairs = top_pairs(*two, config.min_similarity, bonus, **rules)
            cut.append(free.similarity[free.similarity < config.min_similarity])
            columns["query"].append(pairs.query + start[ids.index(query)])
            columns["key"].append(pairs.key + start[ids.index(neighbor)])
            for name in ("similarity", "margin", "cycle"):
                columns[name].append(getattr(pairs, name))
    whole = trial.find(config).mined
    flat = {name: np.concatenate([np.empty(0, getattr(whole, name).dtype), *parts]) for name, parts in columns.items()}
    flat["cycle"] = flat["cycle"].astype(np.float32)
    mined = dataclasses.replace(whole, start=start, boxes=np.concatenate([boxes[i] for i in ids]), **flat)
    missing = total - int(start[-1])
    return Found(mined, counts, total, missing, np.concatenate(cut), trial.measure(config.neighbors, mined))


def test_rois_without_a_feature_are_left_out_until_they_are_embedded(mined: Workspace) -> None:
    tried = ready(mined, NAME, size=3, seed=0)
    config = MINED.model_copy(update={"min_size": 60, "neighbors": 2})
    before = tried.trial.find(config)
    assert 0 < before.missing < before.rois
    assert len(before.mined.boxes) == before.rois - before.missing
    assert before.counts["kept"] > int(before.mined.mined[before.mined.image_of].sum())  # the counts know all of them
    unstored = tried.trial.unstored(config)
    for boxes in tried.trial.unembedded(config):
        tried.vectors.get(boxes)
    after = tried.trial.find(config)
    assert (after.missing, len(after.mined.boxes)) == (0, before.rois)
    assert tried.trial.unstored(config) == unstored > 0  # in memory is not on disk
    assert tried.trial.find(config) is after


def test_a_run_that_has_embedded_the_rest_is_noticed(mined: Workspace, new_run: NewRun) -> None:
    tried = ready(mined, NAME, size=3, seed=0)
    config = MINED.model_copy(update={"min_size": 80})
    assert tried.trial.find(config).missing > 0
    mine(mined, "demo", "starter", "small-boxes", config, run_id=new_run(mined, "mine", "small-boxes"), workers=1)
    found = tried.trial.find(config)
    assert found.missing == 0
    assert equal(found.mined, saved(mined, complete_set_named(mined.store, "small-boxes"), tried.trial.sample))


def test_neighbours_beyond_the_sets_own_are_those_of_the_whole_data_set(mined: Workspace) -> None:
    features = Features(mined, encoder_named(mined.store, "starter"))
    expected = draw_sample(mined, "demo", features, 9, 5, seed=4)
    row = complete_set_named(mined.store, NAME)
    found = sample_of(mined, row, features.images, drawn(np.arange(1, 13), 5, 4), 9)
    assert np.array_equal(found.queries, expected.queries)
    assert np.array_equal(found.neighbors, expected.neighbors)
    assert found.nearness == pytest.approx(expected.nearness, abs=1e-6)
    assert set(found.images) == set(expected.images)
    assert sample_of(mined, row, features.images, found.queries, 99).neighbors.shape == (5, 11)  # all others


def test_neighbours_beyond_those_of_another_search_are_the_nearest_others(mined: Workspace) -> None:
    features = Features(mined, encoder_named(mined.store, "starter"))
    (exact,) = draw_sample(mined, "demo", features, 6, 12, seed=0).neighbors[:1]
    row = complete_set_named(mined.store, NAME)
    with mined.store.session() as session:  # as if the set's search had missed the second nearest
        for rank, neighbor in zip((2, 3, 4), exact[2:5].tolist(), strict=True):
            change = "UPDATE neighbor SET neighbor_id = :neighbor WHERE set_id = :set AND image_id = 1 AND rank = :rank"
            session.execute(text(change), {"neighbor": neighbor, "set": row.id, "rank": rank})
    found = sample_of(mined, row, features.images, np.array([1], np.int64), 6).neighbors[0]
    assert found.tolist() == exact[[0, 2, 3, 4, 1, 5]].tolist()


def test_a_wider_sample_takes_the_place_of_a_narrow_one(mined: Workspace) -> None:
    tried, wide = ready(mined, NAME, size=4), ready(mined, NAME, size=4, most=8)
    config = MINED.model_copy(update={"neighbors": 8})
    tried.trial.find(MINED)
    tried.trial.sample = wide.trial.sample
    assert equal(tried.trial.find(config).mined, wide.trial.find(config).mined)
    assert isinstance(tried.trial.sample, Sample)


def test_settings_whose_raw_boxes_or_maps_are_not_there_are_told_apart(mined: Workspace) -> None:
    tried = ready(mined, NAME, size=3)
    assert tried.trial.proposed(MINED)
    smaller = MINED.model_copy(update={"proposal_scale": 0.7})
    assert not tried.trial.proposed(smaller)
    assert [image.id for image in tried.trial.unsearched(smaller)] == tried.trial.sample.ids(4).tolist()
    assert tried.trial.proposed(MINED.model_copy(update={"proposals": "annotations"}))
    assert tried.trial.unmapped(MINED) == []
    for config in (OBJECTS, ON_MAPS):
        narrow = config.model_copy(update={"neighbors": 1})
        assert [image.id for image in tried.trial.unmapped(narrow)] == tried.trial.sample.ids(1).tolist()
    alone = ON_MAPS.model_copy(update={"proposals": "map", "proposal_scale": 0.7})
    assert tried.trial.proposed(alone)  # whatever selective search has done
    for image in tried.trial.unmapped(alone):
        tried.trial.map(image, alone)
    assert tried.trial.unmapped(alone) == []
    assert not tried.trial.proposed(smaller.model_copy(update={"proposals": "search+map"}))


def test_raw_boxes_are_searched_as_mining_would(mined: Workspace, new_run: NewRun) -> None:
    tried = ready(mined, NAME, size=2)
    whole = MINED.model_copy(update={"proposal_scale": 1.0})
    tried.trial.search(whole, Progress())
    assert tried.trial.proposed(whole)
    found = tried.trial.find(whole, embed=True)
    mine(mined, "demo", "starter", "whole", whole, run_id=new_run(mined, "mine", "whole"), workers=1)
    assert equal(ready(mined, "whole", size=2).trial.find(whole).mined, found.mined)


def test_a_photo_that_cannot_be_read_is_named_by_the_search(mined: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = ready(mined, NAME, size=2)
    first = tried.trial.sample.images[int(tried.trial.sample.ids(4)[0])]
    monkeypatch.setattr(propose, "propose_photo", lambda job: "the file is empty")
    with pytest.raises(UserError, match=f"Cannot read {first.path}: the file is empty"):
        tried.trial.search(MINED.model_copy(update={"proposal_scale": 0.7}), Progress())


def test_imported_boxes_are_not_searched(mined: Workspace) -> None:
    with pytest.raises(UserError, match="have no proposals by imported:theirs"):
        ready(mined, NAME, size=2).trial.search(MINED.model_copy(update={"proposals": "theirs"}), Progress())
