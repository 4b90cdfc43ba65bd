"""Mining among the boxes of the encoder's own map: what is stored, computed once, and found on demand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, SetImage
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets import read
from orl_explorer.orl.boxes import filter_boxes
from orl_explorer.orl.map_boxes import in_pixels
from orl_explorer.orl.pixels import read_image, squeeze
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, MapBoxes
from orl_explorer.train.mining.quality import quality_of
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Stopped
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun
from tests.named import mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")

BOTH = MineConfig(neighbors=3, min_size=32, max_rois=6, proposal_scale=0.5, pair_ratio=0.5, proposals="search+map")
ALONE = BOTH.model_copy(update={"proposals": "map"})


def mined_with(
    here: Workspace, new_run: NewRun, name: str, config: MineConfig, heard: StopAfter | None = None
) -> CorrespondenceSet:
    run = new_run(here, "mine", name)
    return mine(here, "demo", "starter", name, config, run_id=run, workers=1, progress=heard or StopAfter())


def raw_counts(here: Workspace, set_id: int) -> dict[int, int]:
    with here.store.session() as session:
        return {row.image_id: row.raw_count for row in session.query(SetImage).filter_by(set_id=set_id)}


def test_the_rois_are_those_of_the_map_before_those_of_selective_search(ready: Workspace, new_run: NewRun) -> None:
    heard = StopAfter()
    both, alone = mined_with(ready, new_run, "both", BOTH, heard), mined_with(ready, new_run, "alone", ALONE, heard)
    assert [line for line in heard.lines if "Boxes on maps" in line] == [
        "Boxes on maps: 12, reused: 0.",
        "Boxes on maps: 0, reused: 12.",
    ]
    assert "Raw boxes: map." in heard.lines
    dataset = dataset_named(ready.store, "demo")
    images = list(usable_images(ready.store, dataset.id))
    network = Features(ready, encoder_named(ready.store, "starter")).encoder
    ids = [image.id for image in images]
    searched = proposals_of(ready.store, ids, "selective-search-fast@0.5")
    stored = [read.rois_of(ready.store, mined.id, ids) for mined in (both, alone)]
    counted = [raw_counts(ready, mined.id) for mined in (both, alone)]
    for image in images:
        photo = read_image(ready.path / dataset.root / image.path)
        on_map = in_pixels(network.map_boxes(squeeze(photo)[None])[0], image.width, image.height).tolist()
        every = on_map + [box for box in searched[image.id].tolist() if box not in on_map]
        for raw, rois, counts in zip((every, on_map), stored, counted, strict=True):
            kept = filter_boxes(np.array(raw), BOTH.rules, image.width, image.height).boxes
            assert rois[image.id].boxes.tolist() == kept.tolist()
            assert counts[image.id] == len(raw)
    assert proposals_of(ready.store, ids, "map") == {}  # they belong to the encoder, not to the dataset


def test_an_interrupted_run_goes_on_where_it_was(ready: Workspace, new_run: NewRun) -> None:
    stopped, run = StopAfter(5), new_run(ready, "mine", "set")
    with pytest.raises(Stopped):
        mine(ready, "demo", "starter", "set", ALONE, run_id=run, workers=1, progress=stopped)
    assert stopped.phases[-1] == "Finding boxes on maps"
    stored = Features(ready, encoder_named(ready.store, "starter")).map_boxes.rows
    heard = StopAfter()
    found = mine(ready, "demo", "starter", "set", ALONE, run_id=run, workers=1, progress=heard)
    assert f"Boxes on maps: {12 - stored}, reused: {stored}." in heard.lines
    mined_with(ready, new_run, "plain", ALONE)
    assert found.candidate_count == read.complete_set_named(ready.store, "plain").candidate_count
    assert quality_of(ready, "set") == quality_of(ready, "plain")


def test_a_sweep_over_sources_is_what_mining_finds(ready: Workspace, new_run: NewRun) -> None:
    objects = {"ranked_by": "objectness", "scored_by": "layout", "fallback": "image"}
    config = BOTH.model_copy(update=objects)
    mined_with(ready, new_run, "objects", config)
    cells = sweep(ready, "demo", "starter", {"proposals": ["search", "map", "search+map"]}, base=config, sample=12)
    measured = quality_of(ready, "objects")
    names = "rois_per_image", "cycle", "similarity_p50", "roi_coverage"
    assert [cells[2].measures[name] for name in names] == pytest.approx([measured[name] for name in names], abs=1e-5)
    assert len({tuple(cell.measures[name] for name in names) for cell in cells}) == 3


def test_boxes_that_nobody_stored_are_found_on_demand(ready: Workspace) -> None:
    dataset = dataset_named(ready.store, "demo")
    some = list(usable_images(ready.store, dataset.id))[:2]
    features = Features(ready, encoder_named(ready.store, "starter"))
    boxes = MapBoxes(features, Photos.of(ready.store, dataset.id))
    assert boxes.get(some, MineConfig()) == {some[0].id: None, some[1].id: None}
    assert [boxes.missing(some, config) for config in (MineConfig(), ALONE, BOTH)] == [0, 2, 2]
    found = boxes.get(some, ALONE)
    assert boxes.missing(some, BOTH) == 0
    photo = read_image(ready.path / dataset.root / some[1].path)
    np.testing.assert_array_equal(found[some[1].id], features.encoder.map_boxes(squeeze(photo)[None])[0])
    assert not (ready.embeddings / "starter" / "map-boxes-2.vectors").exists()


def test_an_export_for_the_reference_holds_the_boxes_of_the_map(
    ready: Workspace, new_run: NewRun, tmp_path: Path
) -> None:
    mined = mined_with(ready, new_run, "both", BOTH)
    export(ready, "both", "reference", tmp_path / "out")
    [file] = (tmp_path / "out").glob("*_selective_search_proposal.json")
    exported = json.loads(file.read_text())["bbox"]
    assert sorted(map(len, exported)) == sorted(raw_counts(ready, mined.id).values())
