"""The Train page: runs, comparisons of runs, and the lineage."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer.machine import Gpu, read_gpus, usage
from orl_explorer.app.pages.train import history, monitor
from orl_explorer.app.pages.train.curves import curves_payload
from orl_explorer.app.pages.train.probes import some_of
from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import Encoder, Run, now
from orl_explorer.db.people.notes import note_run, tag_run
from orl_explorer.db.runs.probes import Probe, keep_probes
from orl_explorer.db.runs.runs import add_metrics, add_run, find_run, update_run
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.provenance import add_to_attempt, begin_attempt
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, plain


def trained(here: Workspace, name: str, status: str = "done", **config: object) -> int:
    """A training run that is only a row, with three steps of numbers."""
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    settings = train_preset("orl", "small").model_dump() | {"batch_size": 4, "epochs": 3} | config
    params = {"correspondence": "demo-starter", "processes": 1, "config": settings}
    run = Run(kind="train", name=name, params=params, dataset_id=mined.dataset_id, correspondence_set_id=mined.id)
    run_id = add_run(here.store, run).id
    rows = [
        (step, metric, value / step)
        for step in (1, 2, 3)
        for metric, value in (("loss", 12.0), ("loss_inter", 4.0), ("learning_rate", 0.1), ("images_per_second", 9.0))
    ]
    add_metrics(here.store, run_id, rows)
    times = {"started_at": now() - timedelta(minutes=10), "ended_at": now(), "total": 9, "progress": 9}
    update_run(here.store, run_id, status=status, phase="Training", **times)
    return run_id


def test_a_server_that_only_shows_offers_no_form_and_no_action(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, failed = trained(here, "first"), trained(here, "second", "failed")
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("train", stage="3")
    assert "read-only" in at.info[0].value
    assert not at.number_input
    for run in (done, failed):
        at = show("train", run=str(run))
        assert not at.exception
        assert [b.label for b in at.button] == ["Compare", "Lineage"]
        assert at.metric[0].value == "4.000"
    assert not show("train", view="runs", compare=f"{done}-{failed}").exception
    assert not show("train", view="lineage").exception


def test_a_run_in_the_queue_knows_its_place(here: Workspace, show: Show) -> None:
    first = add_run(here.store, Run(kind="mine", name="a", params={}))
    second = add_run(here.store, Run(kind="train", name="b", params={"config": {}}))
    add_run(here.store, Run(kind="train", name="c", params={"config": {}}))
    other = add_run(here.store, Run(kind="train", name="d", params={"config": {}}, device="cuda:0"))
    update_run(here.store, first.id, status="running")
    (bar,) = show("train", run=str(second.id)).get("progress")
    assert bar.proto.text == "Queued behind 1 run on this device (cpu)"
    (bar,) = show("train", run=str(other.id)).get("progress")
    assert bar.proto.text == "Next in the queue"


def test_a_heart_that_stopped_is_told_and_the_run_may_be_killed_at_once(here: Workspace, show: Show) -> None:
    run = add_run(here.store, Run(kind="train", name="a", params={"config": {}}))
    update_run(here.store, run.id, status="stopping", heartbeat_at=now())
    at = show("train", run=str(run.id))
    (kill,) = [b for b in at.button if b.label == "Kill run"]
    assert kill.disabled  # it gets its time first
    assert re.search(r"If the run does not stop within (30|2\d) s", plain(at))
    update_run(here.store, run.id, heartbeat_at=now() - timedelta(seconds=45))
    at = show("train", run=str(run.id))
    assert re.fullmatch(r"No heartbeat for \d\d s.", at.warning[0].value)
    (kill,) = [b for b in at.button if b.label == "Kill run"]
    assert not kill.disabled
    kill.click().run()
    ended = find_run(here.store, run.id)
    assert ended is not None
    assert ended.status == "cancelled"
    assert "Resume run" in [b.label for b in at.button]


def test_a_collapse_is_a_warning(here: Workspace, show: Show) -> None:
    run = trained(here, "flat")
    add_metrics(here.store, run, [(step, "feature_spread", 0.01) for step in range(1, 51)])
    assert "the features have collapsed" in show("train", run=str(run)).warning[0].value
    add_metrics(here.store, run, [(51, "feature_spread", 0.5)])
    assert not show("train", run=str(run)).warning


def test_a_training_that_was_too_short_says_so(here: Workspace, show: Show) -> None:
    def told(**config: object) -> list[str]:
        run = trained(here, f"short {config}", **config)
        add_metrics(here.store, run, [(2, "weights_moved", 0.2), (3, "weights_moved", 0.034)])
        return [warning.value for warning in show("train", run=str(run)).warning]

    short = (
        "This training was too short: the weights of the backbone changed by 3.4% of their norm. Its encoder is little "
        "better than random weights. Train for more epochs, or start from a good encoder."
    )
    assert told() == [f"{short} SimCLR learns faster, and ORL can learn by its loss (base=simclr)."]
    assert told(base="simclr") == [short]
    assert told(method="byol") == [f"{short} SimCLR learns faster."]
    assert told(method="simclr") == [short]
    assert told(start_from="starter") == []  # to adapt an encoder is to change it little


def test_a_resumed_run_is_read_anew(here: Workspace, show: Show) -> None:
    run = trained(here, "again", "cancelled")
    drawn = component(show("train", run=str(run)))["panels"][0]["lines"][0]
    assert (drawn["x"], drawn["y"]) == ([1, 2, 3], [12, 6, 4])
    add_metrics(here.store, run, [(3, "loss", 5.0), (4, "loss", 3.0), (4, "loss_dense", 2.0), (4, "loss_labels", 1.0)])
    update_run(here.store, run, started_at=now())
    drawn, *parts = component(show("train", run=str(run)))["panels"][0]["lines"]
    assert (drawn["x"], drawn["y"]) == ([1, 2, 3, 4], [12, 6, 5, 3])
    assert [line["label"] for line in parts] == ["cells", "pseudo-labels", "inter-RoI"]


def test_runs_are_laid_over_one_another_with_what_sets_them_apart(here: Workspace, show: Show) -> None:
    slow, fast = trained(here, "slow"), trained(here, "fast", rate_per_256=0.8, epochs=4)
    at = show("train", view="runs", compare=f"{fast}-{slow}")
    assert not at.exception
    payload = component(at)
    assert [source["name"] for source in payload["runs"]] == ["fast", "slow"]
    looks = {(source["color"], source["dash"]) for source in payload["runs"]}
    assert len(looks) == 2
    assert [panel["title"] for panel in payload["panels"]] == [
        "Loss",
        "Loss, inter-RoI",
        "Learning rate",
        "Photos per second",
    ]
    assert [line["label"] for line in payload["panels"][0]["lines"]] == ["fast", "slow"]
    frame = at.dataframe[1].value
    assert frame.to_dict("list") == {
        "setting": ["epochs", "rate_per_256"],
        f"{fast} · fast": ["4", "0.8"],
        f"{slow} · slow": ["3", "0.2"],
    }


def test_twelve_runs_have_twelve_looks() -> None:
    many = [Run(id=n, name=f"run {n}", kind="train", params={"config": {}}, total=0) for n in range(1, 13)]
    sources = curves_payload(many, {run.id: {} for run in many})["runs"]
    assert len({(source["color"], source["dash"]) for source in sources}) == 12


def test_the_table_is_filtered_by_kind_and_status(here: Workspace, show: Show) -> None:
    trained(here, "good")
    trained(here, "bad", "failed")
    every = show("train", view="runs").dataframe[0].value
    assert every["makes"].tolist() == ["bad", "good", "demo-starter"]
    assert every["from"].tolist() == ["demo-starter", "demo-starter", "demo"]
    assert every["took"].tolist()[:2] == ["10 min", "10 min"]
    only = show("train", view="runs", kind="stage 3", status="failed").dataframe[0].value
    assert only["makes"].tolist() == ["bad"]


def test_the_url_names_the_runs_to_compare() -> None:
    there = [Run(id=n, name="", kind="train", params={}) for n in (5, 4, 3)]
    assert [run.id for run in history.compared_runs("3-5-3-99-x", there)] == [3, 5]
    assert history.compared_runs("", there) == []


def test_lineage_leads_from_an_encoder_through_set_and_run_to_an_encoder(here: Workspace, show: Show) -> None:
    run, starter, mined = (
        trained(here, "orl-1"),
        encoder_named(here.store, "starter"),
        find_set(here.store, "demo-starter"),
    )
    assert mined is not None
    made = add_encoder(
        here.store,
        Encoder(
            name="orl-1",
            architecture="resnet18",
            kind="stage3",
            supervised=True,
            weights_sha256="0" * 64,
            weights_path="x",
            image_features=512,
            roi_features=512,
            run_id=run,
        ),
    )
    aside = trained(here, "orl-2", "failed")
    drawn = component(show("train", view="lineage", run=str(run)))
    places = {node["name"]: (node["layer"], node["lit"], node["focus"]) for node in drawn["nodes"]}
    assert places == {
        f"encoder-{starter.id}": (0, True, False),
        f"run-{mined.run_id}": (1, True, False),
        f"set-{mined.id}": (2, True, False),
        f"run-{run}": (3, True, True),
        f"run-{aside}": (3, False, False),
        f"encoder-{made.id}": (4, True, False),
    }
    assert [f"set-{mined.id}", f"run-{run}"] in drawn["edges"]
    assert not next(node for node in drawn["nodes"] if node["name"] == f"run-{aside}")["solid"]


def test_a_crowded_lineage_shows_what_belongs_to_the_focus(here: Workspace, show: Show) -> None:
    ids = [trained(here, f"orl-{n}") for n in range(50)]
    drawn = component(show("train", view="lineage", run=str(ids[7])))
    assert [node["name"] for node in drawn["nodes"] if node["kind"] == "run"] == ["run-1", f"run-{ids[7]}"]
    whole = component(show("train", view="lineage", run=str(ids[7]), whole="true"))
    assert len(whole["nodes"]) == 53


def test_probes_are_sent_for_every_checkpoint_beside_the_pairs_of_the_set(here: Workspace, show: Show) -> None:
    import numpy as np

    from orl_explorer.db.sets.read import pair_rows

    run, mined = trained(here, "probed"), find_set(here.store, "demo-starter")
    assert mined is not None
    stored = [row for row in pair_rows(here.store, mined.id, [3])[3] if row.neighbor_rank == 1]
    neighbor, best, last = stored[0].neighbor_id, stored[0], stored[-1]
    for step, row, value in ((3, last, 0.25), (6, best, 0.5)):
        ids = np.array([row.query_roi_id]), np.array([row.key_roi_id])
        keep_probes(here.store, run, step, [Probe(3, neighbor, *ids, np.array([value], np.float32))])
    drawn = component(show("train", run=str(run), show="probes", at="3"))
    assert drawn["checkpoints"] == [{"step": 3, "epoch": 1.0}, {"step": 6, "epoch": 2.0}]
    assert (drawn["own"], drawn["step"]) == ("demo-starter", 3)
    (couple,) = drawn["couples"]
    assert (couple["query"]["id"], couple["neighbor"]["id"]) == (3, neighbor)
    assert [match["q"] for match in couple["own"]] == [list(row.query_box) for row in stored]
    assert couple["found"] == [
        [{"q": list(row.query_box), "k": list(row.key_box), "similarity": value}]
        for row, value in ((last, 0.25), (best, 0.5))
    ]


def test_of_many_checkpoints_the_first_and_the_last_are_kept() -> None:
    assert some_of([1, 2, 3], 3) == [1, 2, 3]
    assert some_of(list(range(10)), 4) == [0, 3, 6, 9]


def test_an_ended_mining_leads_to_training_on_its_set(here: Workspace, show: Show) -> None:
    at = show("train", run="1")
    assert "The set demo-starter is ready" in plain(at).replace("**", "")
    (train,) = [b for b in at.button if b.label == "Train on set"]
    train.click().run()
    assert not at.exception
    assert at.query_params["view"] == "launch"
    assert "On the set demo-starter" in plain(at).replace("**", "")


@pytest.mark.parametrize("run", ["99", "x", "999999999999999999"])
def test_an_unknown_run_is_a_sentence_or_the_newest(here: Workspace, show: Show, run: str) -> None:
    at = show("train", run=run)
    assert not at.exception
    assert "demo-starter" in plain(at)


def test_what_gpus_tell_is_read_and_what_they_keep_is_passed_over() -> None:
    assert read_gpus("37, 1024, 8192\n[N/A], 1, 2\n\n0, 0, 4096\n") == [
        Gpu(0.37, 2**30, 2**33),
        Gpu(0.0, 0, 2**32),
    ]


def test_a_process_has_memory_and_a_gone_one_nothing() -> None:
    import os

    first = usage(os.getpid(), None)
    assert first is not None
    assert first.cpu is None
    assert first.memory > 10_000_000
    again = usage(os.getpid(), first)
    assert again is not None
    assert again.cpu is not None
    assert usage(None, None) is None
    assert usage(2**22 + 1, None) is None


def test_a_run_shows_the_command_that_repeats_it_and_where_it_ran(here: Workspace, show: Show) -> None:
    at = show("train", run="1", show="origin")
    assert not at.exception
    assert at.code[0].value.startswith("orl mine --dataset demo --encoder starter --name demo-starter --preset paper")
    starter = encoder_named(here.store, "starter")
    run_id = trained(here, "documented")
    update_run(here.store, run_id, encoder_id=starter.id)
    run = find_run(here.store, run_id)
    assert run is not None
    begin_attempt(here, run)
    add_to_attempt(here.run_folder(run_id), {"trained_on": {"pairs_sha256": "ab" * 32}}, {"device": "cpu"})
    at = show("train", run=str(run_id), show="origin")
    text = "\n".join(markdown.value for markdown in at.markdown)
    assert f"Encoder `starter`: architecture `{starter.architecture}`, weights `{starter.weights_sha256[:12]}`" in text
    assert "Dataset `demo`: revision 2, photos 12" in text
    assert "Pairs at the start: `abababababab`" in text
    facts = dict(at.dataframe[-1].value.itertuples(index=False))
    assert facts["device"] == "cpu"
    assert facts["process"] == str(os.getpid())
    assert facts["torch"] == torch.__version__.split("+")[0]


def test_the_time_left_is_told_while_steps_are_counted_and_not_while_photos_are(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, str]] = []
    column = SimpleNamespace(metric=lambda *shown: drawn.append(shown))
    monkeypatch.setattr("orl_explorer.app.pages.train.monitor.st.columns", lambda count: [column] * count)
    run = find_run(here.store, trained(here, "first", "running"))
    assert run is not None
    run.progress = 3
    thinned = SimpleNamespace(step=np.array([3]), mean=np.array([4.0]))
    for phase, told in (("Training", ["6 s"]), ("Embedding photos", [])):
        run.phase = phase
        drawn.clear()
        monitor._numbers(here, run, {"images_per_second": thinned})  # type: ignore[dict-item]
        assert ("Photos/s", "4.0") in drawn
        assert [value for label, value in drawn if label == "Time left"] == told


def test_a_note_is_text_whatever_markdown_would_make_of_it(here: Workspace, show: Show) -> None:
    run = trained(here, "first")
    note_run(here.store, run, "Loss\n===\n\trate\t0.1")
    assert "Loss  \n\\=\\=\\=  \nrate    0\\.1" in [markdown.value for markdown in show("train", run=str(run)).markdown]


def test_epochs_are_told_while_steps_are_counted_and_not_while_files_are(here: Workspace) -> None:
    run = find_run(here.store, trained(here, "first", "running"))
    assert run is not None
    for phase, steps in (("Training", 3), ("Reading files", None)):
        run.phase = phase
        assert curves_payload([run], {run.id: {}})["runs"][0]["per_epoch"] == steps


def test_people_note_and_tag_runs_and_find_them_by_tag(here: Workspace, show: Show) -> None:
    first, second = trained(here, "first"), trained(here, "second")
    at = show("train", run=str(first))
    at.text_area[0].set_value("Worse than *BYOL*").run()
    at.multiselect[0].set_value(["paper", "again"]).run()
    kept = find_run(here.store, first)
    assert kept is not None
    assert (kept.note, kept.tags) == ("Worse than *BYOL*", ["again", "paper"])
    assert any(r"Worse than \*BYOL\*" in markdown.value for markdown in at.markdown)
    tag_run(here.store, first, ["again", "by bob", "paper"])  # while Ann has the page open
    at.text_area[0].set_value("Worse than *BYOL*\nby 2 %").run()
    kept = find_run(here.store, first)
    assert kept is not None
    assert (kept.note, kept.tags) == ("Worse than *BYOL*\nby 2 %", ["again", "by bob", "paper"])
    assert any("Worse than \\*BYOL\\*  \nby 2 %" in markdown.value for markdown in at.markdown)
    note_run(here.store, first, "Worse than *BYOL*")
    tag_run(here.store, second, ["kept"])
    table = show("train", view="runs", run_tag="paper").dataframe[0].value
    assert table["makes"].tolist() == ["first"]
    assert table["note"].tolist() == ["Worse than *BYOL*"]


def test_any_number_of_runs_is_compared_by_what_differs(here: Workspace, show: Show) -> None:
    many = [trained(here, f"run-{n}", seed=n) for n in range(14)]
    at = show("train", view="runs", compare="-".join(map(str, many)))
    table = at.dataframe[1].value
    assert table["setting"].tolist() == ["seed"]
    assert table.iloc[0].tolist()[1:] == [str(n) for n in range(14)]
    assert any("first 12 of 14 runs" in caption.value for caption in at.caption)


def test_the_bell_of_every_page_hears_of_runs_that_end(here: Workspace) -> None:
    run = trained(here, "slow", "running")
    at = AppTest.from_string("from orl_explorer.app.pages.shell import run_badge\nrun_badge()\n").run()
    assert component(at) == {"live": 1, "ended": []}
    update_run(here.store, run, status="failed")
    assert component(at.run()) == {"live": 0, "ended": [{"id": run, "said": f"Run {run}, slow: failed"}]}


def test_the_encoder_of_a_checkpoint_can_be_used_before_the_end(here: Workspace, show: Show) -> None:
    run = trained(here, "early", "failed")
    labels = [b.label for b in show("train", run=str(run)).button]
    assert "Resume run" in labels
    assert "Use encoder now" not in labels
    folder = here.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint-000000002.pt").write_bytes(b"torn")
    at = show("train", run=str(run))
    next(b for b in at.button if b.label == "Use encoder now").click().run()
    assert not at.exception
    assert "has no checkpoint that can be read" in at.toast[0].value
