"""Evaluations in the store: one per run, listed newest first, with their values in order."""

from __future__ import annotations

import pytest

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Evaluation, Run
from orl_explorer.db.runs.evaluations import (
    evaluation_by_id,
    evaluation_of_run,
    evaluation_values,
    evaluations,
    keep_evaluation,
)
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.workspace import Workspace


@pytest.fixture
def store(workspace: Workspace) -> Store:
    opened = workspace.store
    for name in ("one", "two"):
        weights = {"weights_sha256": name, "weights_path": "x", "image_features": 8, "roi_features": 8}
        add_encoder(opened, Encoder(name=name, architecture="resnet18", kind="imported", supervised=False, **weights))
    return opened


def kept(store: Store, encoder: int, protocol: str, data: str, value: float) -> Evaluation:
    run = add_run(store, Run(kind="evaluate", name="x", params={})).id
    row = Evaluation(
        run_id=run, encoder_id=encoder, protocol=protocol, data=data, params={"seed": 0}, summary={"map": value}
    )
    return keep_evaluation(store, row, {"ap": {"zebra": 0.5, "ape": value}})


def test_values_come_back_in_the_order_in_which_they_were_kept(store: Store) -> None:
    row = kept(store, 1, "voc07-svm", "/voc", 0.25)
    assert [*evaluation_values(store, row.id)["ap"].items()] == [("zebra", 0.5), ("ape", 0.25)]


def test_evaluations_are_listed_with_their_encoders_newest_first(store: Store) -> None:
    for encoder, value in ((1, 0.1), (2, 0.2), (1, 0.3)):
        kept(store, encoder, "voc07-svm", "/voc", value)
    found = [(e.encoder.name, e.evaluation.summary["map"]) for e in evaluations(store)]
    assert found == [("one", 0.3), ("two", 0.2), ("one", 0.1)]


def test_a_run_that_finishes_again_replaces_what_it_had_found(store: Store) -> None:
    first = kept(store, 1, "voc07-svm", "/voc", 0.1)
    again = Evaluation(
        run_id=first.run_id, encoder_id=1, protocol="voc07-svm", data="/voc", params={}, summary={"map": 0.9}
    )
    keep_evaluation(store, again, {"ap": {"ape": 0.9}})
    [found] = evaluations(store)
    assert found.evaluation.summary == {"map": 0.9}
    assert evaluation_values(store, found.evaluation.id) == {"ap": {"ape": 0.9}}
    assert evaluation_of_run(store, first.run_id) is not None


def test_an_evaluation_that_is_not_there_is_a_sentence(store: Store) -> None:
    with pytest.raises(StoreError, match="There is no evaluation 7. See `orl evaluations`."):
        evaluation_by_id(store, 7)
    assert evaluation_of_run(store, 7) is None
