"""What imported vectors can and cannot do without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import orl_explorer
from orl_explorer.db.encoders import encoders
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.interchange.import_vectors import import_vectors
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.shell import refused
from tests.train.interchange.vectors import box_file, bring, paths, photo_file

MINE = ("mine", "--dataset", "demo", "--encoder", "clip", "--name", "s", "--neighbors", "3")
OBJECTNESS = (
    "Objectness needs attention maps, which 'clip' cannot compute: it is imported vectors without a network. Keep the "
    "search order of raw boxes (ranked_by=search) and give objectness no weight in pairs (object_weight=0)."
)
NETWORK = "'clip' is imported vectors without a network, which "


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("export-encoder", "clip", "--out", "e.pt"), f"{NETWORK}an export needs. Use an encoder with weights."),
        (
            ("evaluate", "knn", "--encoder", "clip", "--data", "."),
            f"{NETWORK}the evaluation knn needs. Use an encoder with weights.",
        ),
        (
            ("evaluate", "correspondence", "--encoder", "clip", "--data", "demo"),
            "Only the boxes that were imported with 'clip' have a vector. Use proposals=clip.",
        ),
        (
            ("pretrain", "--dataset", "demo", "--preset", "small", "--set", "start_from=clip", "--set", "batch_size=4"),
            f"{NETWORK}start_from needs. Use an encoder with weights.",
        ),
        (
            ("embed", "--dataset", "demo", "--encoder", "clip", "--part", "1/2", "--out", "e.part"),
            f"{NETWORK}`orl embed --part` needs. Use an encoder with weights.",
        ),
        (
            (*MINE, "--preset", "object"),
            OBJECTNESS,
        ),
        (
            (*MINE, "--precision", "bf16"),
            "Invalid value for precision: bf16. 'clip' is imported vectors, which are used as they are. Use fp32.",
        ),
        (
            (*MINE, "--proposals", "annotations"),
            "Only the boxes that were imported with 'clip' have a vector. Use proposals=clip.",
        ),
        (
            (*MINE, "--min-size", "200", "--fallback", "image"),
            "12 photos would get the whole photo as RoI, such as scene-000.jpg, of which 'clip' has no vector. Use "
            "fallback=first, or import that vector.",
        ),
        (
            ("sweep", "--dataset", "demo", "--encoder", "clip", "--grid", "ranked_by=objectness"),
            OBJECTNESS,
        ),
        (
            ("attention", "a.jpg", "--encoder", "clip", "--out", "a.png"),
            "'clip' is imported vectors without a network, so nothing new can be computed with it. Import the "
            "vectors that are missing with `orl import features`, or use an encoder with weights.",
        ),
    ],
    ids=lambda case: "-".join(dict.fromkeys([case[0], case[-1]])) if isinstance(case, tuple) else "",
)
def test_what_needs_a_network_says_so_and_what_to_do(
    imported: Workspace, words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(dataset_named(imported.store, "demo").root) / "scene-000.jpg", "a.jpg")
    assert refused(*words, "--workspace", imported.path) == sentence


@pytest.fixture(scope="module")
def with_vectors(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace with the small scenes and imported vectors 'clip', to copy."""
    folder = tmp_path_factory.mktemp("vectors")
    made = open_workspace(folder / "workspace")
    ingest(made, small_scenes, name="demo")
    bring(made, photo_file(folder, paths(made)), box_file(folder, paths(made)))
    made.store.close()
    return made.path


@pytest.fixture
def imported(with_vectors: Path, tmp_path: Path) -> Workspace:
    return open_workspace(shutil.copytree(with_vectors, tmp_path / "imported"))


def test_a_sweep_uses_the_vectors(imported: Workspace) -> None:
    place = orl_explorer.open_workspace(imported.path, bars=False)
    found = place.sweep("demo", "clip", {"neighbors": [2, 3]}, min_size=8)
    assert found["pairs_per_image"].tolist() == [2.0, 3.0]
    assert [row.name for row in encoders(imported.store)] == ["clip"]


def test_a_dataset_without_readable_photos(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.jpg").write_bytes(b"no photo")
    ingest(workspace, tmp_path / "empty", name="demo")
    whose: Dataset = dataset_named(workspace.store, "demo")
    with pytest.raises(UserError, match="^The dataset 'demo' has no readable photo.$"):
        import_vectors(workspace, [photo_file(tmp_path, ["a.jpg"])], whose, "clip")
