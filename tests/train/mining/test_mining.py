"""Stage 2 against the method in plain loops, and that nothing is computed twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from orl_explorer.db.models import Image as ImageRow
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets import read
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.candidates import image_seed
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace
from tests.named import check, mine
from tests.train import plainly

pytestmark = pytest.mark.usefixtures("remembered")


def images_of(workspace: Workspace) -> list[ImageRow]:
    return list(usable_images(workspace.store, dataset_named(workspace.store, "demo").id))


def mined(workspace: Workspace, config: MineConfig, run: int, name: str = "set", **options: object) -> int:
    return mine(workspace, "demo", "starter", name, config, run_id=run, **{"workers": 1, **options}).id  # type: ignore[arg-type]


def test_a_mined_set_equals_the_method_in_plain_loops(
    ready: Workspace, tiny_mine: MineConfig, new_run: Callable
) -> None:
    set_id = mined(ready, tiny_mine, new_run(ready, "mine", "set"))
    assert len(plainly.assert_stored(ready, set_id, tiny_mine)) == 12


def test_onnx_runtime_finds_the_same_pairs_and_keeps_its_features_apart(
    ready: Workspace, tiny_mine: MineConfig, new_run: Callable
) -> None:
    by_torch = mined(ready, tiny_mine, new_run(ready, "mine", "set"))
    precise = tiny_mine.model_copy(update={"precision": "fp32-onnx"})
    by_onnx = mined(ready, precise, new_run(ready, "mine", "b"), "b", device="cuda")  # runs on the CPU all the same
    one, other = (
        [p for i in images_of(ready) for p in read.pairs_of(ready.store, s, i.id)] for s in (by_torch, by_onnx)
    )
    assert len(one) == 72
    assert [(p.neighbor_rank, p.query_box, p.key_box) for p in other] == [
        (p.neighbor_rank, p.query_box, p.key_box) for p in one
    ]
    np.testing.assert_allclose([p.similarity for p in other], [p.similarity for p in one], atol=1e-5)
    kept = ready.embeddings / "starter"
    assert (kept / "fp32-onnx" / "rois-2.vectors").stat().st_size == (kept / "rois-2.vectors").stat().st_size


def test_neighbours_in_nearby_cells_have_pairs_too(ready: Workspace, tiny_mine: MineConfig, new_run: Callable) -> None:
    config = tiny_mine.model_copy(update={"neighbor_search": "cells"})
    set_id = mined(ready, config, new_run(ready, "mine", "set"))
    found = [read.neighbors_of(ready.store, set_id, image.id) for image in images_of(ready)]
    assert [[n.rank for n in own] for own in found] == [[1, 2, 3]] * 12
    assert all(read.pairs_of(ready.store, set_id, image.id) for image in images_of(ready))


def test_other_k_and_n_compute_no_proposal_and_embed_nothing_and_smaller_boxes_only_the_new_ones(
    ready: Workspace, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    first = stop_after()
    set_1 = mined(ready, tiny_mine, new_run(ready, "mine", "set"), progress=first)
    assert "Proposals computed: 12, reused: 0." in first.lines
    assert "Photos embedded: 12, reused: 0." in first.lines

    again = stop_after()
    other = tiny_mine.model_copy(update={"neighbors": 5, "pair_ratio": 0.1})
    mined(ready, other, new_run(ready, "mine", "b"), "b", progress=again)
    known = read.set_by_id(ready.store, set_1)
    assert known is not None
    assert "Proposals computed: 0, reused: 12." in again.lines
    assert "Photos embedded: 0, reused: 12." in again.lines
    assert f"RoIs embedded: 0, reused: {known.candidate_count}." in again.lines

    smaller = stop_after()
    finer = tiny_mine.model_copy(update={"min_size": 20, "max_rois": 8})
    set_3 = mined(ready, finer, new_run(ready, "mine", "c"), "c", progress=smaller)
    ids = [i.id for i in images_of(ready)]
    before = {(i, *b) for i, r in read.rois_of(ready.store, set_1, ids).items() for b in r.boxes.tolist()}
    after = {(i, *b) for i, r in read.rois_of(ready.store, set_3, ids).items() for b in r.boxes.tolist()}
    new, shared = len(after - before), len(after & before)
    assert new > 0
    assert shared > 0
    assert f"RoIs embedded: {new}, reused: {shared}." in smaller.lines
    with ready.store.session() as session:  # a box is one row for all three sets
        assert session.scalar(text("SELECT COUNT(*) FROM roi")) == len(before | after)


def test_a_precision_whose_packages_are_missing_is_refused_before_anything_is_computed(
    ready: Workspace, tiny_mine: MineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="The precision fp32-onnx needs onnxruntime"):
        check(ready, "demo", "starter", "set", tiny_mine.model_copy(update={"precision": "fp32-onnx"}))


def test_too_few_photos_for_k_are_refused_with_a_sentence(ready: Workspace, tiny_mine: MineConfig) -> None:
    check(ready, "demo", "starter", "set", tiny_mine.model_copy(update={"neighbors": 11}))
    with pytest.raises(UserError, match=r"K = 12 neighbours need at least 13 photos. The dataset 'demo' has 12"):
        check(ready, "demo", "starter", "set", tiny_mine.model_copy(update={"neighbors": 12}))
    with pytest.raises(UserError, match="needs a name"):
        check(ready, "demo", "starter", " ", tiny_mine)


@pytest.fixture
def own(own_photos: Path, workspace: Workspace) -> Workspace:
    ingest(workspace, own_photos, name="demo")
    weights.add(workspace, "starter", "starter")
    return workspace


def test_a_photo_that_has_gone_or_broken_since_is_left_out_with_a_reason(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    (own_photos / "scene-003.jpg").unlink()
    (own_photos / "scene-004.jpg").write_bytes(b"no longer a photo")
    heard = stop_after()
    done = read.set_by_id(own.store, mined(own, tiny_mine, new_run(own, "mine", "set"), progress=heard))
    assert done is not None
    assert done.image_count == 10
    assert "Skipped scene-003.jpg: the file is not there any more." in heard.lines
    assert "Skipped scene-004.jpg: the file has changed since it was ingested." in heard.lines
    assert len(images_of(own)) == 10
    for image in images_of(own):
        assert {n.image.status for n in read.neighbors_of(own.store, done.id, image.id)} == {"ok"}


def test_when_too_many_photos_are_gone_the_mining_says_so(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable
) -> None:
    for path in sorted(own_photos.iterdir())[3:]:
        path.unlink()
    with pytest.raises(UserError, match=r"^9 of the 12 photos of 'demo' cannot be read in .*, such as scene-003.jpg: "):
        mined(own, tiny_mine, new_run(own, "mine", "set"))
    ingest(own, own_photos, name="demo")  # says that they are gone
    with pytest.raises(UserError, match=r"^K = 3 neighbours need at least 4 photos. The dataset 'demo' has 3"):
        mined(own, tiny_mine, new_run(own, "mine", "set"))


def test_an_image_that_keeps_no_box_gets_the_fall_back_and_is_counted(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)  # smaller than the smallest box
    Image.fromarray(noise).save(own_photos / "tiny.png")
    ingest(own, own_photos, name="demo")
    (tiny,) = [i.id for i in images_of(own) if i.path == "tiny.png"]
    boxes = {}
    for fallback in ("first", "image"):
        config = tiny_mine.model_copy(update={"fallback": fallback})
        set_id = mined(own, config, new_run(own, "mine", fallback), fallback)
        done = read.set_by_id(own.store, set_id)
        assert done is not None
        assert done.fallback_count == 1
        assert len(read.pairs_of(own.store, set_id, tiny)) == 3  # one with each neighbour
        boxes[fallback] = read.rois_of(own.store, set_id, [tiny])[tiny].boxes.tolist()
    raw = proposals_of(own.store, [tiny], tiny_mine.method)[tiny].tolist()
    assert boxes == {"first": raw[:1], "image": [[0, 0, 30, 24]]}


def test_no_pair_is_less_similar_than_the_setting(ready: Workspace, tiny_mine: MineConfig, new_run: Callable) -> None:
    config = tiny_mine.model_copy(update={"min_similarity": 0.5})
    set_id = mined(ready, config, new_run(ready, "mine", "set"))
    found = [p.similarity for i in images_of(ready) for p in read.pairs_of(ready.store, set_id, i.id)]
    done = read.set_by_id(ready.store, set_id)
    assert done is not None
    assert min(found) >= 0.5
    assert 0 < len(found) == done.pair_count


def test_the_seed_of_a_photo_is_a_function_of_its_path() -> None:
    assert image_seed("123456789") == 0xCBF43926  # the check value of CRC-32
    assert image_seed("a/b.jpg") != image_seed("a/c.jpg")
