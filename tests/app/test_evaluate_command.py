"""``orl evaluate`` and ``orl evaluations``: from the shell to the store and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.models import Evaluation
from orl_explorer.db.runs.evaluations import evaluations
from orl_explorer.train.evaluate.compared import columns
from orl_explorer.train.workspace import Workspace, open_workspace
from tests import shell
from tests.shell import Done

pytestmark = pytest.mark.slow


def orl(workspace: Path, *words: str | Path) -> Done:
    return shell.orl(*words, "--workspace", workspace)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four dark and four bright photos to learn from, and two of each to tell apart."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name, level in (("dark", 60), ("bright", 190)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = rng.normal(level, 25, (64, 64, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(noise).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the starter."""
    from orl_explorer.train.encoders import weights

    made = open_workspace(tmp_path_factory.mktemp("evaluated") / "workspace")
    weights.add(made, "starter", "starter")
    return made


@pytest.fixture(scope="module")
def done(place: Workspace, classes: Path) -> Done:
    """Run ``orl evaluate knn`` to its end in its own process."""
    return orl(
        place.path, "evaluate", "knn", "--encoder", "starter", "--data", classes, "--set", "ks=1,3", "--set", "k=3"
    )


def test_an_evaluation_is_a_run_that_ends_in_a_table(place: Workspace, classes: Path, done: Done) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Run 1 is done: evaluate made 'starter-knn'." in done.stdout
    assert "starter by knn" in done.stdout
    [found] = evaluations(place.store)
    assert found.evaluation.summary["accuracy"] == 1.0
    assert found.evaluation.data == str(classes)
    assert found.evaluation.run_id == 1
    log = (place.run_folder(1) / "log.txt").read_text()
    assert "Embedding train photos (8)." in log
    assert log.rstrip().endswith("accuracy: 1.0000.")


def test_evaluations_are_listed_compared_and_shown(place: Workspace, classes: Path, done: Done) -> None:
    assert "accuracy 100.0" in orl(place.path, "evaluations").stdout
    table = orl(place.path, "evaluations", "table").stdout
    assert f"knn · {classes.name} · ks 1,3 · k 3: accuracy" in table  # other settings than the preset's
    assert "100.0" in table
    [listed] = json.loads(orl(place.path, "evaluations", "--json").stdout)
    assert (listed["encoder"], listed["protocol"], listed["run"]) == ("starter", "knn", 1)
    shown = json.loads(orl(place.path, "evaluations", "show", "1", "--json").stdout)
    assert shown["values"]["accuracy"] == {"1": 1.0, "3": 1.0}
    assert shown["params"]["ks"] == [1, 3]
    assert shown["summary"]["chance"] == 0.5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["detect", "--encoder", "starter", "--data", "."], "'detect' is not one of 'voc07-svm',"),
        (["knn", "--encoder", "nobody", "--data", "."], "There is no encoder 'nobody'. Known encoders: starter."),
        (["knn", "--encoder", "starter", "--data", "/nowhere"], "There is no folder /nowhere. Expected: a folder with"),
        (
            ["linear", "--encoder", "starter", "--data", ".", "--preset", "tiny"],
            "There is no preset 'tiny'. Known presets: imagenet, places205, inat18, small.",
        ),
        (
            ["voc07-svm", "--encoder", "starter", "--data", ".", "--set", "split=val"],
            "There is no setting 'split'. Did you mean",
        ),
        (
            ["linear", "--encoder", "starter", "--data", ".", "--set", "views=all"],
            "Invalid value for views: all. Use colour, crop or centre.",
        ),
        (["correspondence", "--encoder", "starter", "--data", "none"], "There is no dataset 'none'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(place: Workspace, words: list[str], sentence: str) -> None:
    refused = orl(place.path, "evaluate", *words)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout
    assert sentence in " ".join(refused.stderr.split())


def test_an_evaluation_that_is_not_there_is_refused(place: Workspace) -> None:
    refused = orl(place.path, "evaluations", "show", "99")
    assert refused.returncode == 2
    assert "There is no evaluation 99. See `orl evaluations`." in refused.stderr


def test_evaluations_with_other_settings_stand_in_other_columns(place: Workspace, done: Done) -> None:
    [first] = evaluations(place.store)

    def changed(encoder: int, **params: object) -> object:
        row = first.evaluation
        values = row.params | params
        other = Evaluation(
            id=7, run_id=7, encoder_id=encoder, protocol="knn", data=row.data, params=values, summary={"accuracy": 0.4}
        )
        return type(first)(other, first.encoder)

    both = columns([changed(2), first])  # type: ignore[list-item]
    assert [len(column.found) for column in both] == [2]
    assert [e.evaluation.summary["accuracy"] for e in both[0].found] == [1.0, 0.4]  # best first
    several = columns([changed(1, k=5), first])  # type: ignore[list-item]
    assert {column.label.rpartition(" · ")[2] for column in several} == {"k 3", "k 5"}
    [usual] = columns([changed(1, k=20, ks=[1, 5, 20, 100, 200], temperature=0.07)])  # type: ignore[list-item]
    assert usual.label == f"knn · {Path(first.evaluation.data).name}"
    before = changed(2)  # of a version without the setting
    del before.evaluation.params["crop_size"]  # type: ignore[attr-defined]
    assert len(columns([before, first])) == 1  # type: ignore[list-item]
    newest = columns([changed(1), first])  # type: ignore[list-item]
    assert [e.evaluation.summary["accuracy"] for e in newest[0].found] == [0.4]
