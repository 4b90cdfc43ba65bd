"""The form of a new training run: its data, its settings and its expected cost."""

from __future__ import annotations

import shutil

import streamlit as st

from orl_explorer.app.explorer import machine
from orl_explorer.app.explorer.charts import duration
from orl_explorer.app.pages import forms, launching, shell, start
from orl_explorer.app.pages.forms import Choice
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.pages.train import adapting, evaluation, placed
from orl_explorer.db.encoders import encoders_with_weights
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.db.runs.runs import LOCAL
from orl_explorer.orl.architectures import ARCHITECTURES
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.jobs.trackers import TITLES, TRACKERS, TrackerName, installed
from orl_explorer.train.jobs.trainings import Pretrain, Train, Training, most_processes
from orl_explorer.train.settings import control, with_settings
from orl_explorer.train.training.alarms import too_few
from orl_explorer.train.training.config import GROUPS, OWN, TrainConfig, refuse_uneven
from orl_explorer.train.training.cost import Cost, estimate
from orl_explorer.train.training.methods import BASES, ORLConfig
from orl_explorer.train.training.presets import PRESET_HELP, PRESETS, STAGE_1
from orl_explorer.train.training.start_from import refuse_unfit, refuse_wider, settled, start_encoder
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

STAGES = {"3": "Stage 3 · objects", "1": "Stage 1 · photos", "adapt": "Adaptation", "evaluate": "Evaluation"}
METHODS = {name: PRESETS[name]["paper"].title for name in STAGE_1}
LONG = 2 * 86_400  # seconds; a longer run on a machine without a GPU needs a confirmation


def launch_form(place: Place) -> None:
    """Draw the form."""
    assert place.dataset is not None
    if shell.read_only():
        st.info("This server is read-only. It starts no runs.", icon=":material/visibility:")
        return
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        text = (
            "Train on a correspondence set (stage 3) or on whole photos (stage 1), or adapt a good encoder to a set. "
            "Stage 2 is on the Explore page."
        )
        stage = forms.choice_in_url("Stage", "stage", STAGES, help=text)
        mined = place.mined if stage in ("3", "adapt") else None
        method, over = "orl", "byol"
        if stage == "1":
            text = "The paper uses BYOL for stage 1. The other methods are baselines."
            method = forms.choice_in_url("Method", "method", METHODS, help=text)
        if stage in ("1", "3"):
            text = " ".join(f"{name}: {text}." for name, text in PRESET_HELP.items())
            preset = forms.choice_in_url("Preset", "preset", {name: name for name in PRESET_HELP}, help=text)
        if stage == "3" and mined is not None:
            text = "The method that the three branches learn by, with its constants. The paper uses BYOL."
            over = forms.choice_in_url("Base", "base", {name: METHODS[name] for name in BASES}, help=text)
    if stage == "evaluate":
        evaluation.evaluation_form(place.workspace)
    elif stage in ("3", "adapt") and mined is None:
        st.info("No correspondence set yet. This needs one to learn from.", icon=":material/info:")
        start.unmined(place, place.dataset)
    elif stage == "adapt" and mined is not None:
        adapting.adapting_form(place.workspace, mined)
    else:
        base, key = PRESETS[method][preset], f"{method}-{preset}"
        if over != "byol":
            base, key = with_settings(base, {"base": over}), f"{key}-{over}"
        _training(place.workspace, place.dataset, mined, base, key)


def _training(
    opened: Workspace, dataset: Dataset, mined: CorrespondenceSet | None, base: TrainConfig, key: str
) -> None:
    """Draw the form of stage 3 on a set, or of stage 1 on the photos. base: the settings that it starts from."""
    photos = mined.image_count if mined else dataset.image_count
    subject = f"the set **{shell.escape(mined.name)}**" if mined else "the photos"
    st.caption(f"On {subject} of **{shell.escape(dataset.name)}**: {plural(photos, 'photo')}.")
    known = encoders_with_weights(opened.store)
    base = _with_starter(base, known)
    inputs, summary = st.columns([2.6, 1], gap="large")
    with inputs, st.container(key="launch-inputs"):
        values = _settings(base, key, [row.name for row in known])
        processes = int(values.pop("processes"))  # type: ignore[call-overload]
        forms.show_changes(base, values, key)
        config, wrong = forms.validated(base, values)
        if config is not None:
            config, wrong = _settled(opened, config, mined, processes)
        for sentence in wrong:
            st.error(shell.escape(sentence))
    with summary, st.container(border=True, key="launch-summary"):
        if config is None:
            st.caption("Correct the settings to see the expected cost.")
            return
        cost = estimate(opened.store, config, photos)
        _tell(opened, cost, photos, config)
        name = st.text_input("Name of the new encoder", placeholder="automatic", key=f"name-{base.method}")
        where = placed.placement_fields(opened, base.method, shared=True)
        log_to = _tracker(base.method)
        pressed = st.button(
            "Launch run",
            type="primary",
            icon=":material/rocket_launch:",
            width="stretch",
            key="launch",
            disabled=where is None,
        )
        if not pressed or where is None:
            return
        job = (opened, dataset, mined, config, name.strip(), processes, log_to, where)
        if not wrong and cost.seconds > LONG and where.on == LOCAL and not machine.has_gpu():
            _sure(cost, job)
        else:
            _launch(*job)


def _with_starter(base: TrainConfig, known: list[Encoder]) -> TrainConfig:
    """Return a preset that adapts an encoder with the starter as its start, if the workspace has it."""
    starter = next((row.name for row in known if row.kind == "starter"), "")
    return base if base.backbone else base.model_copy(update={"start_from": starter})


def _settings(base: TrainConfig, key: str, known: list[str]) -> dict[str, object]:
    """Draw the inputs of all fields and of ``processes``: frequently changed ones first, the others in groups."""
    choices = {
        # Or one of timm's.
        "backbone": Choice({"": "that of the encoder"} | {name: name for name in ARCHITECTURES}, free=True),
        "start_from": Choice({"": "random weights"} | {name: name for name in known}),
    }
    headed: dict[str, list[str]] = {group: [] for group in ("", *GROUPS)}
    hidden = {"method", "base", *(base.unused if isinstance(base, ORLConfig) else ())}  # chosen above, or unused
    for name in type(base).model_fields:
        if name not in hidden:
            headed[control(type(base), name).group].append(name)
    values = forms.fill(base, headed.pop(""), key, choices, columns=4)
    with st.expander("All settings"):
        for title, names in headed.items():
            if names:
                st.markdown(f"**{f'Only {base.title}' if title == OWN else title}**")
                values |= forms.fill(base, names, key, choices, columns=4)
        values["processes"] = st.number_input(
            "Training processes",
            1,
            most_processes(),
            1,
            key=f"processes-{key}",
            help="Use one process per GPU. On a CPU, use 1: it uses all cores.",
            persist_state="session",
        )
    return values


def _tracker(key: str) -> TrackerName | None:
    """Draw the choice of a tracker, if one is installed."""
    there = [name for name in TRACKERS if installed(name)]
    if not there:
        return None
    return st.selectbox(
        "Send curves also to",
        [None, *there],
        format_func=lambda name: TITLES[name] if name else "no tracker",
        key=f"log-{key}",
        help="A dead server never stops a run. What is missing can be sent later with `orl runs send`.",
        persist_state="session",
    )


def _settled(
    opened: Workspace, config: TrainConfig, mined: CorrespondenceSet | None, processes: int
) -> tuple[TrainConfig | None, list[str]]:
    """Return the settings with the backbone that they mean, and why they cannot work here, as far as it is known.

    None if they mean none.
    """
    try:
        config = settled(opened.store, config)
    except UserError as mistake:
        return None, [str(mistake)]
    wrong = []
    try:
        refuse_uneven(config, processes)
        refuse_unfit(config)
        if config.start_from:
            start_encoder(opened, config.start_from, config.backbone)
        if mined is not None and isinstance(config, ORLConfig):
            refuse_wider(mined, config)
    except UserError as mistake:
        wrong.append(str(mistake))
    return config, wrong


def _tell(opened: Workspace, cost: Cost, photos: int, config: TrainConfig) -> None:
    if not cost.steps:
        st.markdown(f":red[The batch size is larger than the dataset.] The dataset has {plural(photos, 'photo')}.")
        return
    source = "at the speed of the last run" if cost.measured else "a rough estimate: no earlier run was measured"
    st.markdown(
        f"**{plural(cost.steps, 'step')}**, {photos // config.batch_size:,} per epoch  \n"
        f"about **{duration(cost.seconds)}** ({source})"
    )
    if said := too_few(config.start_from, cost.steps * config.batch_size):
        st.warning(said, icon=":material/hourglass_bottom:")
    free = shutil.disk_usage(opened.path).free
    needed = 3 * cost.checkpoint_bytes  # two are kept while the next is written
    scarce = " :red[Not enough disk space.]" if needed > free else ""
    st.caption(
        f"Two checkpoints of {cost.checkpoint_bytes / 1e6:,.0f} MB are kept. Free disk space: "
        f"{free / 1e9:,.1f} GB.{scarce}"
    )


_Asked = tuple[Workspace, Dataset, CorrespondenceSet | None, TrainConfig, str, int, TrackerName | None, Placement]


@st.dialog("Start a long run?")
def _sure(cost: Cost, job: _Asked) -> None:
    st.markdown(
        f"This machine has no GPU. {cost.steps:,} steps would take about **{duration(cost.seconds)}**, and other runs "
        "would wait until the end. Fewer epochs or smaller views take less."
    )
    if st.button("Launch long run", type="primary", key="launch-long"):
        _launch(*job)


def _launch(
    opened: Workspace,
    dataset: Dataset,
    mined: CorrespondenceSet | None,
    config: TrainConfig,
    name: str,
    processes: int,
    log_to: TrackerName | None,
    where: Placement,
) -> None:
    def job() -> Training:
        common = {"name": name, "config": config, "processes": processes, "log_to": log_to}
        if isinstance(config, ORLConfig) and mined is not None:
            return Train(correspondence_set_id=mined.id, **common)
        return Pretrain(dataset_id=dataset.id, **common)

    run = launching.started(opened, job, where)
    if run is not None:
        shell.show_run(run)
