"""A cell of a sweep has the measures of a set mined with its settings, and nothing is written."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.db.sets.whole import annotated_objects, whole_set
from orl_explorer.orl.measure.quality import with_labels, without_labels
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.quality import as_mined, as_objects, quality_of
from orl_explorer.train.mining.sweep import Cell, save_cells, sweep
from orl_explorer.train.tables import no_formula
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import MINED, NewRun
from tests.named import mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(mined_workspace.path, tmp_path / "copy")
    return open_workspace(tmp_path / "copy")


def rows(workspace: Workspace) -> list[int]:
    with workspace.store.session() as session:
        return [session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in ("roi", "pair")]


def test_a_cell_has_the_quality_of_the_set_that_mining_makes(mined: Workspace, new_run: NewRun) -> None:
    before = rows(mined)
    heard = StopAfter()
    grid = {"neighbors": ["2", "4"], "min_size": [130, 96]}
    cells = sweep(mined, "demo", "starter", grid, base=MINED, sample=50, progress=heard)
    assert rows(mined) == before
    assert [cell.settings for cell in cells] == [
        {"neighbors": 2, "min_size": 130},
        {"neighbors": 2, "min_size": 96},
        {"neighbors": 4, "min_size": 130},
        {"neighbors": 4, "min_size": 96},
    ]
    assert cells[3].measures == pytest.approx(without_total(quality_of(mined, "demo-starter")), abs=1e-5)

    config = MINED.model_copy(update={"neighbors": 2, "min_size": 130})
    mine(mined, "demo", "starter", "large-boxes", config, run_id=new_run(mined, "mine", "large-boxes"), progress=heard)
    assert cells[0].measures == pytest.approx(without_total(quality_of(mined, "large-boxes")), abs=1e-5)
    swept, made = (int(line.split(":")[1].split(",")[0].rstrip(".")) for line in heard.lines if "RoIs embedded" in line)
    assert swept == made > 0  # each once, although two cells look at it


def without_total(measures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in measures.items() if name != "annotated_objects"}


def test_a_sample_judges_some_queries_with_neighbours_from_all_photos(mined: Workspace) -> None:
    cells = sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED, sample=5, seed=1)
    assert cells == sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED, sample=5, seed=1)
    whole = whole_set(mined.store, complete_set_named(mined.store, "demo-starter").id)
    every, ids = as_mined(whole), whole.images[:, 0]
    queries = np.sort(np.random.default_rng(1).choice(len(ids), 5, replace=False))
    asked = np.isin(every.image_of[every.query], queries)
    asked &= whole.pairs[:, 1] <= 3
    arrays = ("query", "key", "similarity", "margin", "cycle")
    expected = dataclasses.replace(
        every,
        queries=queries,
        neighbors=every.neighbors[queries, :3],
        nearness=every.nearness[queries, :3],
        **{name: getattr(every, name)[asked] for name in arrays},
    )
    slow = without_labels(expected)
    slow |= with_labels(expected, as_objects(annotated_objects(mined.store, ids.tolist()), ids))
    for name in (
        "pairs_per_image",
        "rois_per_image",
        "cycle",
        "similarity_p50",
        "area_coverage",
        "recall",
        "same_class",
    ):
        assert cells[0].measures[name] == pytest.approx(slow[name], abs=1e-5), name


def test_queries_may_be_a_named_split(mined: Workspace) -> None:
    names = ["scene-003.jpg", "scene-007", "images/scene-010.jpg", "no-such-photo"]
    heard = StopAfter()
    cells = sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED, only=names, progress=heard)
    assert "Names of queries that match no photo of 'demo': 1, such as no-such-photo." in heard.lines
    assert cells == sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED, only=names[:3])
    assert cells != sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED)
    set_id = complete_set_named(mined.store, "demo-starter").id
    with mined.store.session() as session:
        query = text(
            "SELECT count(*) FROM pair JOIN image ON image.id = pair.image_id WHERE set_id = :set "
            "AND neighbor_rank <= 3 AND path IN "
            "('images/scene-003.jpg', 'images/scene-007.jpg', 'images/scene-010.jpg')"
        )
        pairs = session.execute(query, {"set": set_id}).scalar_one()
    assert cells[0].measures["pairs_per_image"] == pairs / 3
    with pytest.raises(UserError, match=r"^None of the 1 names of queries matches a photo of 'demo'\.$"):
        sweep(mined, "demo", "starter", {"neighbors": [3]}, base=MINED, only=["no-such-photo"])


def test_without_annotations_nothing_is_said_of_objects(mined: Workspace) -> None:
    with mined.store.session() as session:
        session.execute(text("UPDATE dataset SET annotation_count = 0"))
    (cell,) = sweep(mined, "demo", "starter", {"pair_ratio": [0.2]}, base=MINED, sample=2)
    assert "cycle" in cell.measures
    assert "same_class" not in cell.measures


def test_of_photos_without_annotations_nothing_is_said_beside_annotated_ones(mined: Workspace) -> None:
    with mined.store.session() as session:
        session.execute(text("DELETE FROM annotation"))  # the dataset still counts those of other photos
    (cell,) = sweep(mined, "demo", "starter", {"pair_ratio": [0.2]}, base=MINED, sample=2)
    assert "same_class" not in cell.measures


def test_one_cell_for_every_combination_and_each_as_if_alone(mined: Workspace) -> None:
    grid = {"neighbors": [1, 3], "pair_ratio": [0.1, 0.3], "min_similarity": [-1, 0.5]}
    cells = sweep(mined, "demo", "starter", grid, base=MINED, sample=4)
    assert len(cells) == 8
    (alone,) = sweep(
        mined, "demo", "starter", {"neighbors": [1]}, base=MINED.model_copy(update={"pair_ratio": 0.3}), sample=4
    )
    assert cells[2].settings == {"neighbors": 1, "pair_ratio": 0.3, "min_similarity": -1}
    assert cells[2].measures == alone.measures


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"neighbours": [3]}, "There is no setting 'neighbours'. Did you mean 'neighbors'?"),
        ({"min_size": ["tall"]}, "Invalid value for min_size: tall."),
        ({"neighbors": [12]}, "K = 12 neighbours need at least 13 photos. 'demo' has 12."),
        ({"precision": ["fp32", "bf16"]}, "A sweep uses stored features of one precision"),
        ({"proposals": ["theirs"]}, "Some photos of 'demo' have no proposals by imported:theirs. Mine"),
    ],
)
def test_what_cannot_be_swept_is_said_in_a_sentence(mined: Workspace, grid: dict, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        sweep(mined, "demo", "starter", grid, base=MINED)
    assert str(refusal.value).startswith(sentence)


def test_raw_boxes_that_are_not_stored_are_searched(mined: Workspace) -> None:
    [cell] = sweep(mined, "demo", "starter", {"proposal_scale": [0.4]}, base=MINED, sample=2)
    assert cell.measures["pairs_per_image"] > 0
    ids = [image.id for image in usable_images(mined.store, dataset_named(mined.store, "demo").id)]
    assert missing_proposals(mined.store, ids, "selective-search-fast@0.4") == ids  # nothing is stored


def test_photos_that_were_never_embedded_want_a_mining_first(mined: Workspace, small_scenes: Path) -> None:
    ingest(mined, small_scenes, name="other")
    with pytest.raises(UserError, match=r"^12 of the 12 photos of 'other' have no features .* Mine the dataset"):
        sweep(mined, "other", "starter", {"neighbors": [2]}, base=MINED)


def test_cells_are_saved_as_a_table_and_as_json(mined: Workspace, tmp_path: Path) -> None:
    cells = sweep(mined, "demo", "starter", {"neighbors": [2, 4]}, base=MINED, sample=4)
    save_cells(cells, tmp_path / "cells.csv")
    save_cells(cells, tmp_path / "cells.json")
    with (tmp_path / "cells.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["neighbors"] for row in table] == ["2", "4"]
    assert float(table[1]["cycle"]) == cells[1].measures["cycle"]
    loaded = json.loads((tmp_path / "cells.json").read_text())
    assert loaded == [{**cell.settings, **cell.measures} for cell in cells]


def test_a_saved_table_holds_no_formula(tmp_path: Path) -> None:
    """Names of sets and encoders reach the table of `orl sweep-train`. Numbers stay numbers, also negative ones."""
    settings: dict[str, float | str] = {"encoder": '=HYPERLINK("http://elsewhere")', "min_similarity": "-0.5", "x": -1}
    save_cells([Cell(settings, {"cycle": 0.25, "margin": -0.125})], tmp_path / "cells.csv")
    assert (tmp_path / "cells.csv").read_text() == (
        'encoder,min_similarity,x,cycle,margin\n"\'=HYPERLINK(""http://elsewhere"")",-0.5,-1,0.25,-0.125\n'
    )


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-1+cmd|' /C calc'!A1", "'-1+cmd|' /C calc'!A1"),
        ("+1", "+1"),
        ("-2.5e-3", "-2.5e-3"),
        ("\tname", "'\tname"),
        ("a=b", "a=b"),
    ],
)
def test_a_text_that_a_spreadsheet_would_compute_is_marked(cell: str, written: str) -> None:
    assert no_formula(cell) == written
