"""The page Judge: its sample and its verdicts, results, the set that it makes; and `orl verdicts`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import orl_explorer as orl
from orl_explorer.app.cli import app
from orl_explorer.app.pages.judge.page import _judge, keep_verdicts, places_around
from orl_explorer.app.pages.judge.results import estimates, in_percent, proposal
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.people.verdicts import judge_pair, verdicts_on
from orl_explorer.db.sets.manage import delete_set
from orl_explorer.db.sets.pairs import ListedPair, matches_at
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl.measure.judged import Share, Threshold
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.mining.judging import PairSample, sample_keys
from orl_explorer.train.mining.orders import make_matches
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words


def demo_set(here: Workspace) -> CorrespondenceSet:
    return complete_set_named(here.store, "demo-starter")


def sample_of(here: Workspace, **asked: object) -> list[ListedPair]:
    mined = demo_set(here)
    keys = sample_keys(here, mined, make_matches(here, mined), PairSample(**asked))  # type: ignore[arg-type]
    return matches_at(here.store, mined.id, keys)


def judge(here: Workspace, pair: ListedPair, verdict: str | None, author: str) -> None:
    judge_pair(here.store, pair.query_roi_id, pair.key_roi_id, verdict, author)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def ann(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("page", "results"):
        monkeypatch.setattr(f"orl_explorer.app.pages.judge.{module}.author", lambda: "ann", raising=False)


def test_the_sample_is_that_of_the_address_and_judged_pairs_are_passed_over(here: Workspace, show: Show) -> None:
    pairs = sample_of(here, count=20, seed=7)
    for pair, verdict in zip(pairs, ("good", "wrong", "interesting"), strict=False):
        judge(here, pair, verdict, "ann")
    judge(here, pairs[3], "wrong", "bob")  # Ann does not see it
    sent = component(show("judge", pairs="20", draw="7"))
    assert (sent["verdicts"], sent["start"], sent["can_judge"]) == ("gxi" + 17 * ".", 3, True)
    assert {pair["at"]: pair["id"] for pair in sent["pairs"]} == {at: f"1-{pairs[at].key}" for at in range(12)}
    first = sent["pairs"][3]
    assert first["query"]["box"] == list(pairs[3].query_box)
    assert first["key"]["name"] == pairs[3].neighbor.path
    assert "similarity" not in first
    again = component(show("judge", pairs="20", draw="7", again="true"))
    assert (again["start"], again["sample"], again["again"]) == (0, sent["sample"], True)
    other = component(show("judge", pairs="5", order="smallest margin"))
    assert [pair["id"] for pair in other["pairs"]] == [f"1-{p.key}" for p in sample_of(here, draw="margin", count=5)]
    near = component(show("judge", pairs="4", order="around a similarity", around="0.6"))
    assert len(near["pairs"]) == 4


@pytest.mark.parametrize("value", ["", "-1", "1e9", "x", "99999999999999999999"])
def test_senseless_addresses_do_no_harm(here: Workspace, show: Show, value: str) -> None:
    at = show("judge", order=value, pairs=value, draw=value, around=value, again=value, show=value, **{"class": value})
    assert not at.exception
    assert not show("judge", show="results", of=value, target=value, split=value).exception


def test_a_set_that_is_deleted_meanwhile_gives_way_to_another(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (pair,) = sample_of(here, count=1)
    monkeypatch.setattr("orl_explorer.app.pages.judge.page.st.rerun", lambda: 1 / 0)
    place = Place(here, None, demo_set(here))
    delete_set(here.store, 1, "ann")
    with pytest.raises(ZeroDivisionError):
        _judge(place, place.mined, PairSample(), np.array([pair.key]), False)  # type: ignore[arg-type]


def test_places_around_hold_the_next_that_are_not_judged() -> None:
    assert places_around("g.gggggggg..", 1, again=False) == [0, 1, 2, 3, 4, 10, 11]
    assert places_around("g" * 20, 10, again=False) == [7, 8, 9, 10, 11, 12, 13]
    assert places_around("." * 20, 0, again=False) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert places_around("..gg", 3, again=False) == [0, 1, 2, 3]  # those that were skipped are next


def test_verdicts_are_kept_by_set_and_key_and_nonsense_is_ignored(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, other = sample_of(here, count=3)
    rois = [(pair.query_roi_id, pair.key_roi_id) for pair in (first, second, other)]
    for _ in range(2):
        said = {f"1-{first.key}": "good", f"1-{second.key}": "nonsense", "x": "wrong", "1-x": "wrong"}
        keep_verdicts({**said, f"2-{other.key}": "wrong", str(second.key): "wrong"})  # of another set, and of none
        assert verdicts_on(here.store, rois, "ann") == {rois[0]: "good"}
    keep_verdicts({f"1-{first.key}": None})
    keep_verdicts(["nonsense"])
    assert verdicts_on(here.store, rois, "ann") == {}


def test_a_read_only_server_shows_pairs_and_results_without_judging(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pair in sample_of(here, count=200, seed=1)[:4]:
        judge(here, pair, "good" if pair.similarity > 0.6 else "wrong", "ann")
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("judge")
    assert not component(at)["can_judge"]
    assert "you can look at the pairs, but not judge them" in words(at)
    assert not [b for b in show("judge", show="results", target="50").button if b.label.startswith("Make the set")]


def test_results_count_estimate_warn_and_list_disagreements(here: Workspace, show: Show) -> None:
    assert "Nobody has judged a pair of these yet." in words(show("judge", show="results"))
    pairs = sample_of(here, count=200, seed=1)
    for at, pair in enumerate(pairs[:10]):
        judge(here, pair, "wrong" if at < 3 else "good", "ann")
        judge(here, pair, "wrong" if at in (1, 2, 4) else "good", "bob")
    said = words(at := show("judge", show="results"))
    assert not at.exception
    assert "pairs judged** by 2 people · 2 left out: as many people say good as wrong" in said
    assert "Only 8 pairs found good or wrong. With fewer than 50" in said
    assert "**25.0 % (95 % interval: 7.1 to 59.1 %)**: 2 of 8 judged pairs." in said
    assert "An unbiased estimate for all pairs of the set" in said
    table = at.dataframe[0].value
    assert table.iloc[0].tolist() == ["ann and bob", 10, "80%", "0.52", "−0.07 to 1.00", "few pairs"]
    assert "2 disagreements" in said
    html = " ".join(element.proto.body for element in at.get("html"))
    assert html.count('class="disagreement"') == 2
    assert html.count("<bdi>ann</bdi>: wrong") == html.count("<bdi>bob</bdi>: wrong") == 1
    whole = words(show("judge", show="results", of="set"))
    assert "**10 pairs judged**" in whole and "This is not an estimate for the set" in whole


def test_what_a_share_says_depends_on_how_the_pairs_were_drawn() -> None:
    assert estimates(PairSample(), False).startswith("An unbiased estimate for all pairs of the set, since")
    assert "judge hard ones too" in estimates(PairSample(), True)
    assert "with the category dog" in estimates(PairSample(category="dog"), False)
    for sample in (PairSample("margin"), PairSample("near"), None):
        assert estimates(sample, False).startswith("This is not an estimate for the set")


def test_a_proposal_in_words() -> None:
    assert in_percent(Share(108, 120)) == "90.0 % (95 % interval: 83.3 to 94.2 %)"
    assert proposal(Threshold(0.71, Share(108, 120)), Share(62, 100)) == (
        "At cosine ≥ **0.71**, **90.0 % (95 % interval: 83.3 to 94.2 %)** of 120 judged pairs are good, and **62.0 %** "
        "of the set’s pairs stay: 62 of 100."
    )


def test_one_click_mines_the_set_with_the_threshold(
    here: Workspace, show: Show, runs_in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs of the new set are those of the old one at or above the threshold."""
    mined = demo_set(here)
    pairs = sample_of(here, count=200, seed=1)
    middle = sorted(pair.similarity for pair in pairs)[50:150]
    gap, least = max((above - below, above) for below, above in pairwise(middle))
    assert gap > 0.001  # thresholds have three digits
    for pair in pairs:
        judge(here, pair, "good" if pair.similarity >= least else "wrong", "ann")
    jobs: list[Mine] = []

    def note(_: Workspace, job: Mine) -> SimpleNamespace:
        jobs.append(job)
        return SimpleNamespace(id=99, name=job.name)

    monkeypatch.setattr("orl_explorer.app.pages.judge.results.launch", note)  # a page's thread takes no signals
    at = show("judge", show="results", target="100")
    (make,) = [b for b in at.button if b.label.startswith("Make the set with cosine ≥ 0.")]
    make.click().run()
    assert not at.exception
    assert at.query_params["mining"] == "99"
    (job,) = jobs
    made = complete_set_named(here.store, launch(here, job).name)
    threshold = float(made.params["min_similarity"])
    assert made.params == mined.params | {"min_similarity": threshold}
    assert least - 0.001 < threshold <= least
    every = make_matches(here, mined).similarity
    assert made.pair_count == int((every >= np.float32(threshold)).sum())
    assert f"stay: {made.pair_count:,} of {mined.pair_count:,}." in words(at)


def test_orl_verdicts_prints_and_hands_over_the_same_numbers(here: Workspace) -> None:
    def said(*more: str) -> str:
        done = CliRunner().invoke(app, ["verdicts", "demo-starter", "--workspace", str(here.path), *more])
        assert done.exit_code == 0
        return done.output

    assert "Nobody has judged a pair of these yet." in " ".join(said().split())
    for at, pair in enumerate(sample_of(here, count=10, seed=3)):
        judge(here, pair, "wrong" if at == 0 else "good", "ann")
        judge(here, pair, "wrong" if at < 2 else "good", "bob")
    text = " ".join(said("--random", "10", "--seed", "3").split())
    assert "10 judged pairs of a random sample of 10, 20 verdicts." in text
    assert "Wrong: 1 of 9, 11.1 % (95 % interval 2.0 to 43.5 %). This is an unbiased estimate." in text
    assert "ann, bob │ 10 │ 90%" in text
    assert "This is not an estimate for the set: use --random." in " ".join(said().split())
    found = json.loads(said("--json", "--target", "0.5"))
    assert (found["judged_pairs"], found["verdicts_by_person"], found["divided_pairs"]) == (
        10,
        {"ann": 10, "bob": 10},
        1,
    )
    assert found["wrong"] == {
        "count": 1,
        "of": 9,
        "share": 1 / 9,
        "interval": pytest.approx([0.0199, 0.4350], abs=1e-3),
    }
    assert found["agreement"][0]["kappa"] == pytest.approx(0.6154, abs=1e-4)
    assert found["threshold"]["good"]["of"] == 9
    assert found == orl.open_workspace(here.path, bars=False).verdicts("demo-starter", 0.5)


def test_a_senseless_target_or_sample_is_refused(here: Workspace, tmp_path: Path) -> None:
    opened = orl.open_workspace(here.path, bars=False)
    with pytest.raises(orl.UserError, match=r"^Invalid value for target: 0. Use more than 0 and at most 1.$"):
        opened.verdicts("demo-starter", 0)
    with pytest.raises(orl.UserError, match=r"^Invalid size of a random sample: 1001. Use 1 to 1000.$"):
        opened.verdicts("demo-starter", random=1001)
    with pytest.raises(orl.UserError, match=r"^Invalid value for seed: -1. Use at least 0.$"):
        opened.verdicts("demo-starter", random=5, seed=-1)
