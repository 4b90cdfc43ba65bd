"""The second round: mining with the settings of a set, by an encoder that learned from its pairs."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from orl_explorer.app.pages import launching, shell
from orl_explorer.app.pages.train import curves
from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run, SetImage
from orl_explorer.db.runs.runs import add_metrics, add_run, find_run, runs, update_run
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain
from tests.shell import orl, refused


@pytest.fixture
def adapted(here: Workspace) -> Encoder:
    """An encoder that is adapted to the demo's set, as rows alone."""
    mined, starter = complete_set_named(here.store, "demo-starter"), encoder_named(here.store, "starter")
    ids = {"dataset_id": mined.dataset_id, "correspondence_set_id": mined.id}
    run = add_run(here.store, Run(kind="adapt", name="adapted", params={"config": {}}, **ids))
    update_run(here.store, run.id, status="done")
    same = ("architecture", "weights_path", "image_features", "roi_features", "supervised")
    copied = {name: getattr(starter, name) for name in same}
    return add_encoder(
        here.store, Encoder(name="adapted", kind="adapted", weights_sha256="0" * 64, run_id=run.id, **copied)
    )


def mined_by(here: Workspace, encoder: Encoder, name: str) -> CorrespondenceSet:
    """A complete set by an encoder and its run, as rows alone."""
    first = complete_set_named(here.store, "demo-starter")
    ids = {"dataset_id": first.dataset_id, "encoder_id": encoder.id}
    run = add_run(here.store, Run(kind="mine", name=name, params={"config": {}}, **ids))
    update_run(here.store, run.id, status="done")
    with here.store.session() as session:
        made = CorrespondenceSet(name=name, params=first.params, status="complete", run_id=run.id, **ids)
        session.add(made)
    return complete_set_named(here.store, name)


def with_every_page(at: AppTest) -> AppTest:
    """The page again, in an explorer that has the pages it leads to."""
    at.session_state["pages"] = dict.fromkeys(("attention", "compare", "explore", "tune"))
    return at.run()


def labels(at: AppTest) -> list[str]:
    return [button.label.replace("\\", "") for button in at.button]


def test_the_command_takes_the_settings_of_a_set_and_changes_to_them(here: Workspace) -> None:
    common = ("--dataset", "demo", "--encoder", "starter", "--like", "demo-starter", "--workspace", here.path)
    done = orl("mine", *common, "--name", "x", "--queue-only")
    assert done.returncode == 0, done.stderr
    own = MineConfig.of(complete_set_named(here.store, "demo-starter"))
    assert own.proposal_scale == 0.5  # unlike the presets
    assert MineConfig(**runs(here.store)[0].params["config"]) == own
    done = orl("mine", *common, "--name", "y", "--queue-only", "--neighbors", "3", "--set", "min_size=64")
    assert done.returncode == 0, done.stderr
    assert MineConfig(**runs(here.store)[0].params["config"]) == own.model_copy(update={"neighbors": 3, "min_size": 64})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--like", "demo-starter", "--preset", "paper"),
            "--preset and --like both say which settings to start from. Give one of them.",
        ),
        (("--like", "none"), "There is no correspondence set 'none'. Known sets: demo-starter."),
    ],
)
def test_what_cannot_be_taken_as_settings_is_refused(here: Workspace, words: tuple[str, ...], sentence: str) -> None:
    named = ("--dataset", "demo", "--encoder", "starter", "--name", "x", "--workspace", here.path)
    assert refused("mine", *named, *words) == sentence
    assert [run.name for run in runs(here.store)] == ["demo-starter"]


def offered(at: AppTest) -> dict[str, object]:
    """What the form of mining is filled with."""
    first, scale = (box for box in at.segmented_control if box.label in ("Settings", "Selective search on photos of"))
    neighbors = next(box for box in at.number_input if box.label == "K · neighbours")
    return {"settings": (first.options, first.value), "scale": scale.value, "neighbors": neighbors.value}


def test_a_training_that_shows_few_photos_says_so_before_it_begins(here: Workspace) -> None:
    short = ("train", "--correspondence", "demo-starter", "--preset", "small", "--set", "batch_size=5", "--queue-only")
    done = orl(*short, "--workspace", here.path)
    assert done.returncode == 0, done.stderr
    assert "Probably too short: its epochs show 1,000 photos in all." in done.stderr  # 100 epochs of two batches
    done = orl(*short, "--preset", "adapt", "--start-from", "starter", "--workspace", here.path)
    assert (done.returncode, "too short" in done.stderr) == (0, False)


def test_a_batch_needs_as_many_photos_with_pairs(here: Workspace) -> None:
    with here.store.session() as session:
        session.execute(update(SetImage).where(SetImage.image_id > 3).values(pair_count=0))
    refusal = refused(
        *("train", "--correspondence", "demo-starter", "--preset", "small", "--set", "batch_size=4"),
        *("--workspace", here.path),
    )
    assert refusal == (
        "A batch of 4 photos is too large: the set 'demo-starter' has 3 with pairs. Use --set batch_size=2."
    )
    assert [run.name for run in runs(here.store)] == ["demo-starter"]


def test_an_adapted_encoder_leads_to_mining_with_the_settings_of_its_set(
    here: Workspace, adapted: Encoder, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = with_every_page(show("train", run=str(adapted.run_id)))
    assert "The encoder adapted is ready. Mine pairs with it or evaluate it." in plain(at).replace("**", "")
    assert [label for label in labels(at) if "attention" in label] == []  # the maps are those of the starter
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    watched = plain(with_every_page(show("train", run=str(adapted.run_id)))).replace("**", "")
    assert "The encoder adapted is ready. " in watched
    assert "Mine pairs" not in watched  # there is no button for it
    monkeypatch.delenv("ORL_READ_ONLY")
    at.button("mine-with").click().run()
    assert not at.exception
    assert next(box for box in at.selectbox if box.label == "Encoder").value == (
        "adapted (efficientnet_lite0, supervised)"
    )
    assert offered(at) == {
        "settings": (["as demo\\-starter", "paper", "object"], "like"),
        "scale": 0.5,
        "neighbors": 4,
    }


def test_the_lineage_leads_there_too(here: Workspace, adapted: Encoder, show: Show) -> None:
    at = with_every_page(show("train", view="lineage", node=f"encoder-{adapted.id}"))
    at.button("mine-with").click().run()
    assert not at.exception
    assert offered(at)["settings"] == (["as demo\\-starter", "paper", "object"], "like")


def test_the_loss_of_an_adaptation_is_drawn_over_its_steps(here: Workspace, adapted: Encoder, show: Show) -> None:
    assert adapted.run_id is not None
    assert "No curves were recorded." in plain(show("train", run=str(adapted.run_id)))
    add_metrics(here.store, adapted.run_id, [(1, "loss", 3.5), (2, "loss", 2.25)])
    at = show("train", run=str(adapted.run_id))
    assert [(number.label, number.value) for number in at.metric if number.label == "Loss"] == [("Loss", "2.250")]
    run = find_run(here.store, adapted.run_id)
    assert run is not None
    drawn = curves.curves_payload([run], {run.id: curves.numbers(here, run)})
    assert [(panel["name"], panel["lines"][0]["x"], panel["lines"][0]["y"]) for panel in drawn["panels"]] == [
        ("loss", [1, 2], [3.5, 2.25])
    ]
    assert drawn["runs"][0]["per_epoch"] is None


def test_a_set_is_mined_as_the_selected_one_unless_a_preset_is_chosen(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Mine] = []

    def launch(workspace: Workspace, job: Mine, placed: None) -> Run:
        job.check(workspace)
        launched.append(job)
        return add_run(workspace.store, Run(kind="mine", name=job.name, params={}, dataset_id=job.dataset_id))

    monkeypatch.setattr(launching, "launch", launch)
    own = MineConfig.of(complete_set_named(here.store, "demo-starter"))
    for name, choice, config in (
        ("same", "like", own),
        ("preset", "object", MINE_PRESETS["object"].model_copy(update={"proposal_scale": 0.5, "neighbors": 4})),
    ):
        at = show("explore")
        next(box for box in at.text_input if box.label == "Name of the new set").set_value(name)
        next(box for box in at.segmented_control if box.label == "Settings").set_value(choice)
        next(b for b in at.button if b.label == "Mine set").click().run()
        assert not at.exception
        assert (launched[-1].name, launched[-1].config) == (name, config)


def test_a_set_with_another_scale_than_the_usual_ones_offers_its_own(here: Workspace, show: Show) -> None:
    mined = complete_set_named(here.store, "demo-starter")
    with here.store.session() as session:
        params = mined.params | {"proposal_scale": 0.25}
        session.execute(update(CorrespondenceSet).where(CorrespondenceSet.id == mined.id).values(params=params))
    at = show("explore")
    assert not at.exception
    scale = next(box for box in at.segmented_control if box.label == "Selective search on photos of")
    assert (scale.options, scale.value) == (["full size (paper)", "half size (5 × faster)", "0.25 × its size"], 0.25)


def test_a_set_of_the_second_round_is_compared_with_the_first(
    here: Workspace, adapted: Encoder, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(shell, "open_page", lambda name, **query: opened.append((name, query)))
    second = mined_by(here, adapted, "second")
    at = with_every_page(show("train", run=str(second.run_id)))
    assert "The set second is ready" in plain(at).replace("**", "")
    at.session_state["a"] = "an earlier choice"
    at.button("to-compare").click().run()
    assert not at.exception
    assert opened[0] == ("compare", {"a": "demo-starter", "b": "second"})
    assert "a" not in at.session_state
    first = complete_set_named(here.store, "demo-starter")
    assert "Compare with demo-starter" not in labels(with_every_page(show("train", run=str(first.run_id))))
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).where(CorrespondenceSet.id == first.id).values(status="deleted"))
    at = with_every_page(show("train", run=str(second.run_id)))
    assert not at.exception
    assert "Compare with demo-starter" not in labels(at)


def test_the_picker_of_sets_keeps_its_set_in_the_browser_when_a_newer_one_becomes_the_default(
    here: Workspace, adapted: Encoder, show: Show
) -> None:
    at = show("matches")
    mined_by(here, adapted, "newer")
    at.run()
    picker = at.selectbox("set")
    assert picker.options == ["newer", "demo-starter"]
    assert (picker.value, picker.proto.set_value, picker.proto.raw_value) == ("demo-starter", True, "demo-starter")
    at.run()
    assert (at.selectbox("set").value, at.selectbox("set").proto.set_value) == ("demo-starter", False)


def test_the_pickers_of_a_comparison_do_too_but_for_a_set_that_is_gone(
    here: Workspace, adapted: Encoder, show: Show
) -> None:
    second = mined_by(here, adapted, "second")
    at = show("compare", set="demo-starter", a="demo-starter", b="second")
    mined_by(here, adapted, "third")
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).where(CorrespondenceSet.id == second.id).values(status="deleted"))
    at.run()
    assert not at.exception
    a, b = at.selectbox("a"), at.selectbox("b")
    assert (a.options, a.value, b.value) == (["third", "demo-starter"], "demo-starter", "third")
    mined_by(here, adapted, "fourth")
    at.run()
    b = at.selectbox("b")
    assert (b.value, b.proto.set_value, b.proto.raw_value) == ("third", True, "third")


def test_an_adapted_encoder_counts_as_trained(here: Workspace, adapted: Encoder, show: Show) -> None:
    assert adapted.kind == "adapted"
    assert " · 1 set · 1 trained encoder" in plain(show("matches"))
