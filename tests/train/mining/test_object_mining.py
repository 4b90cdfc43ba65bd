"""Mining for objects stores the rows of plain loops over the definition, and computes each map once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Candidate, CorrespondenceSet
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets import read
from orl_explorer.orl.boxes import iou
from orl_explorer.orl.objectness import objectness
from orl_explorer.orl.pixels import crop_box, read_image, squeeze
from orl_explorer.train.mining.candidates import candidates
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import AttentionMaps, Features
from orl_explorer.train.mining.quality import quality_of
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun
from tests.named import mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")

CONFIG = MineConfig(
    neighbors=3,
    min_size=32,
    max_rois=3,
    proposal_scale=0.5,
    pair_ratio=0.7,
    ranked_by="objectness",
    object_weight=0.8,
    sparse_weight=1.5,
    fallback="image",
)


def mined_with(here: Workspace, new_run: NewRun, name: str, config: MineConfig, heard: StopAfter) -> CorrespondenceSet:
    return mine(here, "demo", "starter", name, config, run_id=new_run(here, "mine", name), workers=1, progress=heard)


def test_the_store_holds_what_the_definition_says(ready: Workspace, new_run: NewRun) -> None:
    heard = StopAfter()
    made = mined_with(ready, new_run, "objects", CONFIG, heard)
    assert "Attention maps: 12, reused: 0." in heard.lines
    dataset, encoder = (
        dataset_named(ready.store, "demo"),
        Features(ready, encoder_named(ready.store, "starter")).encoder,
    )
    images = list(usable_images(ready.store, dataset.id))
    raw = proposals_of(ready.store, [i.id for i in images], CONFIG.method)

    kept, scores, features = {}, {}, {}
    for image in images:
        photo = read_image(ready.path / dataset.root / image.path)
        attention = encoder.attention(squeeze(photo)[None])[0].reshape(9, 20, 20)
        score = objectness(raw[image.id], raw[image.id], attention, image.width, image.height)
        chosen: list[int] = []
        for i in sorted(range(len(score)), key=lambda i: (-score[i], i)):
            box = raw[image.id][i]
            fits = min(box[2:]) >= 32 and max(box[2:]) <= 3 * min(box[2:])
            if fits and all(iou(box, raw[image.id][j][None])[0] <= 0.5 for j in chosen) and len(chosen) < 3:
                chosen.append(i)
        kept[image.id], scores[image.id] = raw[image.id][chosen], score[chosen]
        features[image.id] = encoder.embed_rois(np.stack([crop_box(photo, box) for box in kept[image.id]]))

    stored = read.rois_of(ready.store, made.id, [i.id for i in images])
    for image in images:
        assert stored[image.id].boxes.tolist() == kept[image.id].tolist()
        np.testing.assert_allclose(stored[image.id].objectness, scores[image.id], atol=1e-5)
        found = read.pairs_of(ready.store, made.id, image.id)
        for near in read.neighbors_of(ready.store, made.id, image.id):
            other = near.image.id
            entries = []
            for q in range(len(kept[image.id])):
                for k in range(len(kept[other])):
                    cosine = float(features[image.id][q] @ features[other][k])
                    both = [*features[image.id][q].tolist(), *features[other][k].tolist()]
                    channels = sum(abs(value) for value in both)
                    sparse = (2 * 1280**0.5 - channels) / (1280**0.5 - 1)  # of both RoIs
                    worth = cosine + 0.8 * float(scores[image.id][q] + scores[other][k]) + 1.5 * sparse
                    entries.append((worth, cosine, tuple(kept[image.id][q].tolist()), tuple(kept[other][k].tolist())))
            entries.sort(key=lambda entry: -entry[0])
            expected = entries[: max(1, int(0.7 * len(kept[image.id])))]
            own = [pair for pair in found if pair.neighbor_rank == near.rank]
            assert [(p.query_box, p.key_box) for p in own] == [(q, k) for _, _, q, k in expected]
            assert [p.similarity for p in own] == pytest.approx([cosine for _, cosine, _, _ in expected], abs=1e-4)


def test_a_set_of_consistent_and_distinct_pairs_holds_no_others(ready: Workspace, new_run: NewRun) -> None:
    loose = CONFIG.model_copy(update={"max_iou": 0.9, "max_rois": 8})
    mined_with(ready, new_run, "all", loose, StopAfter())
    strict = loose.model_copy(update={"consistent_only": True, "distinct_iou": 0.5})
    mined_with(ready, new_run, "strict", strict, StopAfter())
    every, few = quality_of(ready, "all"), quality_of(ready, "strict")
    assert every["cycle"] < 1 and every["distinct_pairs_per_image"] < every["pairs_per_image"]
    assert few["cycle"] == 1
    assert few["distinct_pairs_per_image"] == few["pairs_per_image"] <= every["pairs_per_image"]


def test_maps_are_made_once_and_a_set_without_objectness_has_none(ready: Workspace, new_run: NewRun) -> None:
    heard = StopAfter()
    plain = CONFIG.model_copy(update={"ranked_by": "search", "object_weight": 0.0, "sparse_weight": 0.0})
    made = mined_with(ready, new_run, "plain", plain, heard)
    assert not any("Attention" in line for line in heard.lines)
    assert not (ready.embeddings / "starter" / "attention-and-looks-2.vectors").exists()
    with ready.store.session() as session:
        assert {c.objectness for c in session.query(Candidate).filter_by(set_id=made.id)} == {None}
    mined_with(ready, new_run, "objects", CONFIG, heard)
    mined_with(ready, new_run, "weighted", CONFIG.model_copy(update={"ranked_by": "search"}), heard)
    assert [line for line in heard.lines if "Attention" in line] == [
        "Attention maps: 12, reused: 0.",
        "Attention maps: 0, reused: 12.",
    ]
    weighted = read.complete_set_named(ready.store, "weighted").id
    ids = [i.id for i in usable_images(ready.store, dataset_named(ready.store, "demo").id)]
    boxes = [read.rois_of(ready.store, set_id, ids) for set_id in (made.id, weighted)]
    for image in ids:  # the same candidates: only the choice of pairs is another
        assert boxes[0][image].boxes.tolist() == boxes[1][image].boxes.tolist()
        assert np.ptp(boxes[1][image].objectness) > 0


def test_a_minimum_worth_that_does_not_fit_the_encoder_is_told(ready: Workspace, new_run: NewRun) -> None:
    heard = StopAfter()
    made = mined_with(ready, new_run, "worthless", CONFIG.model_copy(update={"min_worth": 100.0}), heard)
    assert made.pair_count == 0
    told = "Minimum worth 100: 0 pairs, where N alone keeps 72."
    assert f"{told} These are few: this encoder may need a lower --min-worth." in heard.lines


def test_a_sweep_over_objectness_is_what_mining_finds(ready: Workspace, new_run: NewRun) -> None:
    config = CONFIG.model_copy(update={"min_worth": 2.0, "cover_photo": True})
    heard = StopAfter()
    mined_with(ready, new_run, "objects", config, heard)
    told = "Minimum worth 2: 79 pairs, where N alone keeps 72."  # some cover the photo
    assert f"{told} It leaves out hardly any: this encoder may need a higher --min-worth." in heard.lines
    grid = {"ranked_by": ["search", "objectness"], "object_weight": [0, 0.8]}
    cells = sweep(ready, "demo", "starter", grid, base=config, sample=12)
    measured = quality_of(ready, "objects")
    same = ("pairs_per_image", "cycle", "similarity_p50", "roi_coverage", "area_coverage")
    assert {name: cells[3].measures[name] for name in same} == pytest.approx(
        {name: measured[name] for name in same}, abs=1e-5
    )
    assert cells[0].measures != cells[1].measures != cells[2].measures


def test_a_map_that_nobody_stored_is_made_on_demand(ready: Workspace) -> None:
    dataset = dataset_named(ready.store, "demo")
    some = list(usable_images(ready.store, dataset.id))[:2]
    features = Features(ready, encoder_named(ready.store, "starter"))
    maps = AttentionMaps(features, Photos.of(ready.store, dataset.id))
    assert maps.missing(some, MineConfig()) == 0
    assert maps.get(some, MineConfig()) == {some[0].id: None, some[1].id: None}
    assert maps.missing(some, CONFIG) == 2
    found = maps.get(some, CONFIG)
    assert maps.missing(some, CONFIG) == 0
    photo = read_image(ready.path / dataset.root / some[1].path)
    np.testing.assert_array_equal(found[some[1].id], features.encoder.attention(squeeze(photo)[None])[0])
    assert not (ready.embeddings / "starter" / "attention-and-looks-2.vectors").exists()


def test_a_flat_photo_is_its_own_candidate(ready: Workspace) -> None:
    image = next(iter(usable_images(ready.store, dataset_named(ready.store, "demo").id)))
    found = candidates(image, np.empty((0, 4), np.int16), CONFIG, np.full(9 * 400, 1 / 60, np.float32))
    assert found.filtered.boxes.tolist() == [[0, 0, image.width, image.height]]
    assert math.isclose(found.objectness[0], 0.05 - 0.6, abs_tol=1e-6)
