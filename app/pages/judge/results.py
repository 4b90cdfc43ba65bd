"""What the verdicts say of a set: the share of wrong pairs, a threshold, people's agreement, and disagreements."""

from __future__ import annotations

from html import escape as html
from pathlib import PurePosixPath

import numpy as np
import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.forms import choice_in_url, free_name
from orl_explorer.app.pages.matches.page import pair_query
from orl_explorer.app.pages.pager import pager
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.pages.tune import regenerate
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.people.judged import JudgedPair, judged_pairs
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.runs.runs import find_run
from orl_explorer.db.sets.pairs import ListedPair, matches_at
from orl_explorer.orl.measure.judged import Share, Threshold
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.judging import FEW, TARGET, PairSample, VerdictSummary, verdict_summary
from orl_explorer.train.mining.orders import PairOrders
from orl_explorer.train.settings import with_settings
from orl_explorer.train.words import plural

OF = {"sample": "this sample", "set": "the whole set"}
PER_PAGE = 10  # disagreements
ROWS = 20  # of the table of agreement


def show_results(
    place: Place, dataset: Dataset, mined: CorrespondenceSet, found: PairOrders, sample: PairSample, keys: np.ndarray
) -> None:
    """Draw the results of the verdicts on a sample, or on all pairs of the set."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="judge-results"):
        of = choice_in_url("Verdicts on", "of", OF)
        about = "A threshold is proposed at or above which at least this share of the judged pairs are good."
        target = st.number_input(
            "Target, % good", 50, 100, round(100 * TARGET), 1, key="target", bind="query-params", width=140, help=about
        )
    among = keys.tolist() if of == "sample" else None
    said = verdict_summary(place.workspace, mined, found, float(target) / 100, among)
    if not said.pairs:
        st.info("Nobody has judged a pair of these yet.", icon=":material/info:")
        return
    _counts(said, len(keys) if of == "sample" else None)
    _wrong(said, sample if of == "sample" else None, len(keys))
    regenerate.progress(place, mined)
    _threshold(place, dataset, mined, said, float(target))
    _agreement(said)
    _disagreements(place, mined, said.divided)


def _counts(said: VerdictSummary, drawn: int | None) -> None:
    of = f" of {drawn:,}" if drawn is not None else ""
    people = len(said.people)
    facts = [f"**{said.pairs:,}{of} pairs judged** by {'1 person' if people == 1 else f'{people:,} people'}"]
    if left := said.pairs - said.wrong.total - said.interesting:
        facts.append(f"{left:,} left out: as many people say good as wrong")
    if said.interesting:
        facts.append(f"{said.interesting:,} left out: only *interesting*")
    st.markdown(" · ".join(facts))
    if said.few:
        st.warning(
            f"Only {plural(said.wrong.total, 'pair')} found good or wrong. With fewer than {FEW}, the numbers below "
            "are hardly more than guesses.",
            icon=":material/warning:",
        )


def in_percent(share: Share) -> str:
    """Return a share with its interval, as "10.0 % (95 % interval: 4.6 to 20.2 %)"."""
    low, high = (f"{100 * end:.1f}" for end in share.interval)
    return f"{100 * share.value:.1f} % (95 % interval: {low} to {high} %)"


def _wrong(said: VerdictSummary, sample: PairSample | None, drawn: int) -> None:
    st.subheader("Wrong pairs", anchor=False)
    if not said.wrong.total:
        st.markdown("No pair was found good or wrong yet.")
        return
    st.markdown(f"**{in_percent(said.wrong)}**: {said.wrong.count:,} of {plural(said.wrong.total, 'judged pair')}.")
    st.caption(estimates(sample, said.pairs < drawn))


def estimates(sample: PairSample | None, unfinished: bool) -> str:
    """Say what the share of wrong pairs is an estimate of, if of anything. sample: None if it is no sample's."""
    if sample is None:
        return (
            "This is not an estimate for the set: people have chosen which pairs they judged. Judge a random sample "
            "and look at the verdicts on it."
        )
    if not sample.is_random:
        return "This is not an estimate for the set: the order chose special pairs. Only a random sample gives one."
    what = (
        f"pairs of the set with the category {shell.escape(sample.category)}" if sample.category else "pairs of the set"
    )
    said = f"An unbiased estimate for all {what}, since these were drawn at random (Wilson’s interval)."
    if unfinished:
        said += " Pairs without a verdict are taken to be like the others. So judge hard ones too, and in this order."
    return said


def _threshold(place: Place, dataset: Dataset, mined: CorrespondenceSet, said: VerdictSummary, target: float) -> None:
    st.subheader("Threshold", anchor=False)
    found, stays = said.threshold, said.stays
    if found is None or stays is None:
        st.markdown(f"At no cosine are {target:g} % of the judged pairs at or above it good.")
        return
    st.markdown(proposal(found, stays))
    if stays.count == stays.total:
        st.caption("All pairs of the set are at or above it, so no other set is needed.")
        return
    if found.good.total < FEW:
        st.warning(
            f"Only {plural(found.good.total, 'judged pair')} at or above it. Judge {FEW} or more before you use it.",
            icon=":material/warning:",
        )
    st.caption("It was chosen by these verdicts, so its share is a little too good: check it on another random sample.")
    config = with_settings(MineConfig.of(mined), {"min_similarity": found.least})
    if config.object_weight or config.sparse_weight or config.cover_photo:
        st.caption(
            "This set chooses pairs by more than their similarity. In a new set, other pairs at or above the threshold "
            "take the places that become free, so it has more pairs than stay."
        )
    if out := len(kept_out(place.workspace.store, dataset.id)):
        st.caption(f"A new set leaves out {plural(out, 'photo')} that people keep out of mining.")
    run = None if mined.run_id is None else find_run(place.workspace.store, mined.run_id)
    if run is not None and run.params.get("imported"):
        st.caption(
            "The pairs of this set were imported, not mined here: no set with a threshold can be mined from them."
        )
    elif not shell.read_only():
        subject = PreviewSubject(
            place.workspace, mined, dataset, encoder_by_id(place.workspace.store, mined.encoder_id)
        )
        st.button(
            f"Make the set with cosine ≥ {found.least:g}",
            key="make-set",
            type="primary",
            icon=":material/play_arrow:",
            help="Start a run that mines the dataset again with this minimum similarity and the set's other settings. "
            "RoIs and features that are stored are used again.",
            on_click=make_set,
            args=(subject, config),
        )


def proposal(found: Threshold, stays: Share) -> str:
    """Say what a threshold keeps, as "At cosine ≥ 0.71, 90 % of 120 judged pairs are good …"."""
    above = plural(found.good.total, "judged pair")
    return (
        f"At cosine ≥ **{found.least:g}**, **{in_percent(found.good)}** of {above} are good, and "
        f"**{100 * stays.value:.1f} %** of the set’s pairs stay: {stays.count:,} of {stays.total:,}."
    )


def make_set(subject: PreviewSubject, config: MineConfig) -> None:
    """Callback: start a run that mines with these settings, and show its progress."""
    if shell.read_only():
        return
    ids = {"dataset_id": subject.dataset.id, "encoder_id": subject.encoder.id}

    def start() -> None:
        run = launch(subject.workspace, Mine(name=free_name(subject, config), config=config, **ids))
        st.query_params[regenerate.RUN] = str(run.id)
        st.session_state["regenerated"] = run.name

    shell.attempt(start)


def _agreement(said: VerdictSummary) -> None:
    st.subheader("Agreement", anchor=False)
    if not said.agreements:
        st.markdown("Agreement needs two people who judge the same pairs. Give others the address of this page.")
        return
    rows = said.agreements[:ROWS]
    limits = [("", "") if each.found.interval is None else each.found.interval for each in rows]
    st.dataframe(
        {
            "people": [f"{each.first} and {each.second}" for each in rows],
            "pairs": [each.found.pairs for each in rows],
            "agreed": [f"{each.found.agreed / each.found.pairs:.0%}" for each in rows],
            "Cohen’s κ": [
                "undefined" if (k := each.found.kappa) is None else f"{k:.2f}".replace("-", "−") for each in rows
            ],
            "95 % interval": [
                f"{low:.2f} to {high:.2f}".replace("-", "−") if low != "" else "" for low, high in limits
            ],
            "note": ["few pairs" if each.found.pairs < FEW else "" for each in rows],
        },
        hide_index=True,
        key="agreement",
    )
    st.caption(
        "κ is 1 if two people always agree, and 0 if they agree as often as by chance. It compares good with wrong; "
        "*interesting* is left out. With more than two people, there is one for each two. It is undefined if both gave "
        "only one kind of verdict."
    )


def _disagreements(place: Place, mined: CorrespondenceSet, keys: np.ndarray) -> None:
    if not len(keys):
        return
    st.subheader(plural(len(keys), "disagreement"), anchor=False)
    shown = st.container()
    first = (pager(len(keys), PER_PAGE, "split", mined.id) - 1) * PER_PAGE
    some = keys[first : first + PER_PAGE]
    said = {pair.key: pair for pair in judged_pairs(place.workspace.store, mined.id, some.tolist())}
    with shown:
        for match in matches_at(place.workspace.store, mined.id, some):
            with st.container(horizontal=True, vertical_alignment="center", key=f"split-{match.key}"):
                st.html(disagreement_html(match, said[match.key]))
                if shell.has_page("pair") and st.button(
                    "Open pair", key=f"open-{match.key}", icon=":material/compare:"
                ):
                    shell.open_page("pair", **pair_query(place.workspace.store, mined.id, match))


def disagreement_html(match: ListedPair, said: JudgedPair) -> str:
    """Return the crops of a pair and what each person said, as HTML."""
    urls, sides = picture_urls(), ((match.query, match.query_box), (match.neighbor, match.key_box))
    pictures = "".join(
        f'<img src="{urls.crop(image.id, box)}" alt="RoI of {html(PurePosixPath(image.path).name)}" loading="lazy">'
        for image, box in sides
    )
    who = "".join(f"<li><bdi>{html(name)}</bdi>: {verdict}</li>" for name, verdict in said.verdicts.items())
    return f'<div class="disagreement">{pictures}<ul>{who}</ul><span>cosine {match.similarity:.3f}</span></div>'
