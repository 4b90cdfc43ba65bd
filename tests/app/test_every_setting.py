"""Each setting is declared once: checks of all fields, and of help texts, ranges and URL parameters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from orl_explorer.app.cli import app, stages
from orl_explorer.app.cli.settings import of_training
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.pages import forms
from orl_explorer.app.pages.tune.grid import OFFERED
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MINE_PRESETS, RAW, MineConfig
from orl_explorer.train.settings import as_text, choices, control, slider
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import words
from tests.conftest import MINED

NAMES = list(MineConfig.model_fields)
# What links, scripts and people rely on; a new setting needs no entry. By name: its flag, its parameter of addresses,
# its label, and its slider with its format.
SLID: dict[str, tuple[str, str, str, tuple[float, float, float], str]] = {
    "neighbors": ("--neighbors", "k", "K · neighbours", (1, 30, 1), "%d"),
    "pair_ratio": ("--pair-ratio", "n", "N · pairs per neighbour, share of RoIs", (0.01, 1.0, 0.01), "%.2f"),
    "min_size": ("--min-size", "size", "Min size, px", (16, 256, 4), "%d"),
    "max_aspect": ("--max-aspect", "aspect", "Max aspect", (1.0, 6.0, 0.1), "%.1f"),
    "max_iou": ("--max-iou", "iou", "Max IoU", (0.1, 0.95, 0.05), "%.2f"),
    "max_rois": ("--max-rois", "rois", "Max RoIs", (1, 100, 1), "%d"),
    "spread_after": ("--spread-after", "spread", "Spread RoIs after", (1, 1000, 1), "%d"),
    "spread_iou": ("--spread-iou", "spreadiou", "Spread RoIs, max IoU", (0.1, 0.95, 0.05), "%.2f"),
    "min_similarity": ("--min-similarity", "sim", "Min similarity", (-1.0, 1.0, 0.01), "%.2f"),
    "object_weight": ("--object-weight", "obj", "Objectness in pairs", (0.0, 3.0, 0.05), "%.2f"),
    "sparse_weight": ("--sparse-weight", "sparse", "Sparseness in pairs", (0.0, 3.0, 0.05), "%.2f"),
    "duplicate_similarity": (
        "--duplicate-similarity",
        "same",
        "Near-duplicates, min similarity",
        (0.5, 1.0, 0.01),
        "%.2f",
    ),
    "min_worth": ("--min-worth", "worth", "Min worth of a pair", (-10.0, 3.0, 0.05), "%.2f"),
    "distinct_iou": ("--distinct-iou", "distinct", "Distinct pairs, max IoU", (0.3, 1.0, 0.05), "%.2f"),
}
# The same of what is picked: flag, parameter, label, and its choices in words.
PICKED: dict[str, tuple[str, str, str, list[str]]] = {
    "cover_photo": ("--cover-photo", "cover", "Cover the photo", ["no", "yes"]),
    "consistent_only": ("--consistent-only", "consistent", "Consistent pairs only", ["no", "yes"]),
    "ranked_by": ("--ranked-by", "ranked", "Order of raw boxes", ["search order", "likely objects"]),
    "scored_by": ("--scored-by", "scored", "Objectness by", ["contrast", "contrast and layout"]),
    "fallback": ("--fallback", "fall", "Photo without RoIs gets", ["first raw box", "whole photo"]),
    "proposals": ("--proposals", "props", "Raw boxes", ["search", "map", "both", "annotated"]),
    "proposal_scale": ("--proposal-scale", "scale", "Selective search on photos of", ["full size", "× 0.5"]),
    "segment_size": (
        "--segment-size",
        "first",
        "First regions of selective search, px",
        ["from 100 px", "from 25 px"],
    ),
    "precision": ("--precision", "prec", "Precision of forward passes", ["fp32", "fp32-onnx", "bf16"]),
    "neighbor_search": ("--neighbor-search", "near", "Search of neighbours", ["exact", "nearby cells"]),
    "skip_duplicates": ("--skip-duplicates", "skip", "Skip near-duplicates", ["no", "yes"]),
}
GRIDS: dict[str, tuple[float | str, ...]] = {
    "neighbors": (3, 5, 10, 20),
    "pair_ratio": (0.05, 0.1, 0.2, 0.5),
    "min_size": (48, 64, 96, 128),
    "max_aspect": (1.5, 2, 3, 4),
    "max_iou": (0.3, 0.5, 0.65, 0.75),
    "max_rois": (10, 25, 50, 100),
    "spread_after": (8, 16, 1000),
    "spread_iou": (0.3, 0.5, 0.65),
    "min_similarity": (-1, 0.3, 0.5, 0.7),
    "object_weight": (0, 0.25, 0.5, 1),
    "sparse_weight": (0, 0.25, 0.5, 1),
    "min_worth": (-10, 0.5, 0.7, 0.9),
    "cover_photo": (False, True),
    "consistent_only": (False, True),
    "distinct_iou": (0.3, 0.5, 0.75, 1),
    "ranked_by": ("search", "objectness"),
    "scored_by": ("contrast", "layout"),
}


def another(name: str) -> float | str:
    """Return a value that differs from that of the set of these tests."""
    own = getattr(MINED, name)
    if name == "proposals":
        return "annotations"
    few = choices(MineConfig, name) or slider(MineConfig, name)[:2]
    return next(value for value in few if value != own)


@pytest.fixture
def mined_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run ``orl mine`` with further arguments and return the settings that it would use."""

    def run(*more: str) -> MineConfig:
        launched: list[MineConfig] = []
        monkeypatch.setattr(stages, "unite", lambda store, names: SimpleNamespace(id=1))
        monkeypatch.setattr(stages, "encoder_named", lambda store, name: SimpleNamespace(id=2, kind="starter"))
        monkeypatch.setattr(stages, "follow_run", lambda *_: None)
        monkeypatch.setattr(stages, "launch", lambda workspace, job, placed: launched.append(job.config))
        asked = ["mine", "--dataset", "d", "--encoder", "e", "--name", "s", "--workspace", str(tmp_path / "w")]
        app([*asked, *more], standalone_mode=False)
        return launched[0]

    return run


def test_an_encoder_to_start_from_brings_its_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = of_training("orl", "adapt", None, "starter")
    assert (named.start_from, named.backbone) == ("starter", "")
    assert of_training("orl", "adapt", ["start_from=starter"]) == named
    assert of_training("byol", "paper", None, "starter").backbone == ""
    assert of_training("byol", "paper", ["backbone=resnet18"], "starter").backbone == "resnet18"
    assert of_training("byol", "paper", ["start_from="]).backbone == "resnet50"
    with pytest.raises(UserError, match="start_from is given twice, by --start-from and by --set. Give it once"):
        of_training("byol", "paper", ["start_from=a"], "b")
    launched: list[TrainConfig] = []
    monkeypatch.setattr(stages, "unite", lambda store, names: SimpleNamespace(id=1, image_count=100))
    monkeypatch.setattr(stages, "complete_set_named", lambda store, name: SimpleNamespace(id=2, image_count=100))
    monkeypatch.setattr(stages, "follow_run", lambda *_: None)
    monkeypatch.setattr(stages, "launch", lambda workspace, job, placed: launched.append(job.config))
    asked = ["--preset", "adapt", "--start-from", "starter", "--workspace", str(tmp_path / "w")]
    app(["pretrain", "--dataset", "d", *asked], standalone_mode=False)
    app(["train", "--correspondence", "s", *asked], standalone_mode=False)
    assert launched == [of_training(method, "adapt", None, "starter") for method in ("byol", "orl")]


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_explained_and_named(name: str) -> None:
    shown = control(MineConfig, name)
    assert MineConfig.model_fields[name].description
    assert shown.label and shown.term and shown.url
    assert [other for other in NAMES if control(MineConfig, other).url == shown.url] == [name]
    assert [other for other in NAMES if control(MineConfig, other).term == shown.term] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_given_by_its_flag_or_by_set_but_not_by_both(mined_with: Any, name: str) -> None:
    value = another(name)
    flag, assignment = [f"--{name.replace('_', '-')}", as_text(value)], ["--set", f"{name}={as_text(value)}"]
    if value is True:
        flag.pop()
    assert mined_with(*flag) == mined_with(*assignment) == MineConfig(**{name: value})
    with pytest.raises(UserError) as refused:
        mined_with(*flag, *assignment)
    assert str(refused.value) == f"{name} is given twice, by {flag[0]} and by --set. Give it once."


def test_flags_and_set_change_a_preset(mined_with: Any) -> None:
    assert mined_with() == MineConfig()
    found = mined_with("--preset", "object", "--max-rois", "7", "--set", "neighbors=3", "--set", "fallback=first")
    assert found == MINE_PRESETS["object"].model_copy(
        update={"max_rois": 7, "neighbors": 3, "fallback": "first"},
    )


def test_the_flags_addresses_and_ranges_are_these() -> None:
    assert {*SLID} | {*PICKED} <= {*NAMES}
    help_text = CliRunner().invoke(app, ["mine", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for name, (flag, *_) in (SLID | PICKED).items():
        assert flag in help_text, name
    assert "K: number of nearest neighbours of each photo. [1 to 100; paper: 10]" in help_text
    assert "[more than 0 and at most 1; paper: 0.1]" in help_text
    for name, (_, url, label, steps, form) in SLID.items():
        assert (forms.URL[name], control(MineConfig, name).label, slider(MineConfig, name)) == (url, label, steps)
        assert forms.decimals(steps[2]) == form
        assert [type(part) for part in slider(MineConfig, name)] == [type(part) for part in steps]
    for name, (_, url, label, _) in PICKED.items():
        assert (forms.URL[name], control(MineConfig, name).label) == (url, label)
    offered = {name: shown.grid for name, shown in OFFERED.items()}
    assert offered == offered | GRIDS


def drawn(at: AppTest) -> dict[str, Any]:
    """Return the controls in the sidebar by their URL parameter."""
    found = {}
    for element in [*at.sidebar.slider, *at.sidebar.get("button_group")]:
        parts = str(element.key).removeprefix("tune-").split("-")
        if len(parts) == 2 and parts[1].isdecimal():
            found[parts[0]] = element
    return found


@pytest.mark.parametrize("page", ["pair", "tune"])
def test_a_page_draws_every_setting_of_its_groups(here: Workspace, show: Show, page: str) -> None:
    at = show(page)
    assert not at.exception
    expected = {name for name in NAMES if page == "tune" or control(MineConfig, name).group != RAW}
    found = drawn(at)
    assert {*found} == {forms.URL[name] for name in expected}
    for name in expected:
        assert found[forms.URL[name]].help == MineConfig.model_fields[name].description
    for name in expected & {*SLID}:
        slid, (_, _, label, (least, most, step), form) = found[forms.URL[name]], SLID[name]
        most = 11 if name == "neighbors" else most  # of 12 photos
        shown = (slid.label, slid.min, slid.max, slid.step, slid.proto.format)
        assert shown == (label, least, most, step, form)
    for name in expected & {*PICKED}:
        picked, (_, _, label, options) = found[forms.URL[name]], PICKED[name]
        assert (picked.label, list(picked.options)) == (label, options)


@pytest.mark.parametrize("page", ["pair", "tune"])
def test_an_address_sets_every_setting_and_the_page_says_what_differs(here: Workspace, show: Show, page: str) -> None:
    names = [name for name in NAMES if control(MineConfig, name).group != RAW and name != "ranked_by"]
    values = {name: another(name) for name in names} | {"neighbors": 2, "object_weight": 0.0, "max_rois": 3}
    at = show(page, **{forms.URL[name]: as_text(value) for name, value in values.items()})
    assert not at.exception
    said = words(at).replace("\\", "")
    for name, value in values.items():
        if value != getattr(MINED, name):
            assert f"{control(MineConfig, name).term} {as_text(value)} ({as_text(getattr(MINED, name))})" in said, name


def test_a_new_set_is_named_by_what_differs_from_the_paper(here: Workspace) -> None:
    store = workspace().store
    subject = PreviewSubject(
        workspace(),
        complete_set_named(store, "demo-starter"),
        dataset_named(store, "demo"),
        encoder_named(store, "starter"),
    )
    config = MineConfig(neighbors=3, max_iou=0.75, ranked_by="objectness", proposal_scale=0.5)
    assert forms.free_name(subject, config) == "demo-starter-k3-iou0.75-objectness-scale0.5"
    assert forms.free_name(subject, MineConfig()) == "demo-starter-2"


def test_a_caption_says_all_that_is_always_in_sight() -> None:
    expected = [
        *("K 10", "N 0.1", "min size 96", "max aspect 3", "max IoU 0.5", "max RoIs 100", "min similarity -1"),
        *("objectness in pairs 0", "sparseness in pairs 0", "consistent pairs only no", "max IoU of pairs 1"),
        *("ranked by search", "fallback first"),
    ]
    said = forms.settings_described(MineConfig()).split(", ")
    assert [words for words in said if words in expected] == expected
    assert len(said) == sum(control(MineConfig, name).group != RAW for name in NAMES)


MINE = ["mine", "--dataset", "d", "--encoder", "e", "--name", "s"]
SWEEP_TRAIN = ["sweep-train", "--grid", "seed=0", "--data", "d", "--correspondence", "s"]


@pytest.mark.parametrize(
    ("asked", "option", "known"),
    [
        ([*MINE, "--preset", "x"], "--preset", "'paper', 'object'"),
        ([*MINE, "--fallback", "x"], "--fallback", "'first', 'image'"),
        ([*MINE, "--ranked-by", "x"], "--ranked-by", "'search', 'objectness'"),
        ([*MINE, "--precision", "x"], "--precision", "'fp32', 'fp32-onnx', 'bf16'"),
        (["sweep", "--dataset", "d", "--encoder", "e", "--grid", "k=1", "--preset", "x"], "--preset", "'paper', 'obj"),
        (["pretrain", "--dataset", "d", "--method", "x"], "--method", "'byol', 'multicrop', 'simclr', 'moco'"),
        (["pretrain", "--dataset", "d", "--method", "orl"], "--method", "'byol', 'multicrop', 'simclr', 'moco'"),
        (["pretrain", "--dataset", "d", "--preset", "x"], "--preset", "'small', 'medium', 'paper', 'adapt'"),
        (["train", "--correspondence", "s", "--preset", "x"], "--preset", "'small', 'medium', 'paper', 'adapt'"),
        (["evaluate", "x", "--encoder", "e", "--data", "d"], "PROTOCOL", "'voc07-svm', 'voc07-lowshot', 'linear',"),
        ([*SWEEP_TRAIN, "--protocol", "x"], "--protocol", "'voc07-svm', 'voc07-lowshot', 'linear',"),
        ([*SWEEP_TRAIN, "--preset", "x"], "--preset", "'small', 'medium', 'paper', 'adapt'"),
        ([*SWEEP_TRAIN, "--mine-preset", "x"], "--mine-preset", "'paper', 'object'"),
        (["reproduce", ".", "--epochs", "1", "--mining", "x"], "--mining", "'paper', 'object'"),
        (["export", "s", "--out", "o", "--format", "xml"], "--format", "'reference', 'parquet', 'csv', 'coco',"),
        (["export-encoder", "e", "--out", "o", "--format", "x"], "--format", "'torchvision', 'timm', 'detectron2',"),
        (["ingest", ".", "--layout", "x"], "--layout", "'auto', 'folder', 'coco', 'voc'"),
        (["attention", "p.jpg", "--encoder", "e", "--out", "o.png", "--map", "x"], "--map", "'activation', 'cosine'"),
    ],
)
def test_an_unknown_choice_is_answered_with_the_known_ones(
    tmp_path: Path, asked: list[str], option: str, known: str
) -> None:
    done = CliRunner().invoke(app, [*asked, "--workspace", str(tmp_path / "w")], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert f"Invalid value for '{option}'" in said
    assert f"is not one of {known}" in said
    assert not (tmp_path / "w").exists()


def test_a_grid_takes_the_values_of_its_fields_and_refuses_what_set_says_too(tmp_path: Path) -> None:
    asked = ["sweep", "--dataset", "d", "--encoder", "e", "--workspace", str(tmp_path)]
    with pytest.raises(UserError, match=r"^neighbors is given twice, by --grid and by --set\. Give it once\.$"):
        app([*asked, "--grid", "neighbors", "--set", "neighbors=3"], standalone_mode=False)
    with pytest.raises(UserError, match=r"^'precision' is not a setting. Write it as key=value\.$"):
        app([*asked, "--grid", "precision"], standalone_mode=False)
