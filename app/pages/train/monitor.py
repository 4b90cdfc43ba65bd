"""One run, live: progress, metrics, curves, resources, log, and buttons to stop, kill and resume it."""

from __future__ import annotations

import platform
import time
from datetime import timedelta

import streamlit as st

from orl_explorer.app.explorer import machine
from orl_explorer.app.explorer.charts import Thinned, duration
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.pace import told_of_run
from orl_explorer.app.pages.shell import attempt, escape, share_done, status_line
from orl_explorer.app.pages.train import afterwards, curves, notes, origin, placed, probes
from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import ENDED, LIVE, LOCAL, find_run, metrics, runs, waits_for_worker
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.job import settings_of
from orl_explorer.train.jobs.kinds import makes, run_described, subject_of, trains
from orl_explorer.train.jobs.launcher import silence
from orl_explorer.train.progress import TRAINING
from orl_explorer.train.training.alarms import COLLAPSE, too_short
from orl_explorer.train.workspace import Workspace

SILENT = timedelta(seconds=20)  # without a heartbeat, which comes every second, before a warning
LOG_BYTES = 6000  # shown of a log, from its end
DETAILS = {"curves": "Curves", "probes": "Probe pairs", "settings": "Settings", "origin": "Origin"}


def panel(opened: Workspace) -> None:
    """Draw the run in the URL, else the newest."""
    run = asked_run(opened)
    if run is None:
        st.info("No runs yet. Launch one to see its curves here.", icon=":material/show_chart:")
        afterwards.launch_button()
        return
    live = run.status in LIVE
    st.fragment(_live, run_every=2.0 if live else None)(opened, run.id, live)
    afterwards.offer_next(opened, run)


def asked_run(opened: Workspace) -> Run | None:
    """Return the run in the URL, else the newest training run, else the newest run."""
    asked = shell.as_id(st.query_params.get("run", ""))
    if asked is not None:
        found = find_run(opened.store, asked)
        if found is not None:
            return found
        st.warning(f"There is no run {asked}. This is the newest run.")
    every = runs(opened.store)
    return next((run for run in every if trains(run)), every[0] if every else None)


def took(run: Run) -> float | None:
    """Return the seconds that a run has worked, None before it starts."""
    if run.started_at is None:
        return None
    return max(0.0, ((run.ended_at or now()) - run.started_at).total_seconds())


def _live(opened: Workspace, run_id: int, was_live: bool) -> None:
    run = find_run(opened.store, run_id)
    if run is None:
        return
    if st.session_state.pop("leave", False) or was_live != (run.status in LIVE):
        st.rerun()  # redraw the whole page, with or without a periodic refresh
    _heading(opened, run)
    found = curves.numbers(opened, run)
    _progress(opened, run)
    _numbers(opened, run, found)
    if curves.has_collapsed(opened, run, found.get("feature_spread")):
        st.warning(COLLAPSE, icon=":material/warning:")
    if run.status == "done" and "weights_moved" in found:
        said = too_short(run.params["config"], float(found["weights_moved"].mean[-1]))
        if said:
            st.warning(said, icon=":material/hourglass_disabled:")
    if run.error:
        code = f" (exit code {run.exit_code})" if run.exit_code is not None else ""
        st.error(escape(run.error) + code, icon=":material/error:")
    if not shell.read_only():
        _actions(opened, run)
    _details(opened, run, found)


def _heading(opened: Workspace, run: Run) -> None:
    with_encoder = f" with **{escape(run.params['encoder'])}**" if run.params.get("encoder") else ""
    title, links = st.columns([3, 2], vertical_alignment="center")
    title.subheader(f"Run {run.id} · {escape(run.name)}", anchor=False)
    with links.container(horizontal=True, horizontal_alignment="right"):
        if not shell.read_only():
            notes.notes_input(opened, run)
        for view, label, icon in (("runs", "Compare", "stacked_line_chart"), ("lineage", "Lineage", "account_tree")):
            st.button(label, icon=f":material/{icon}:", on_click=_look_at, args=(view, run.id), type="tertiary")
    st.markdown(
        f"{status_line(run)} {run_described(run)} · on **{escape(subject_of(run))}**{with_encoder}"
        f"{placed.where_it_works(run)}"
    )
    notes.shown_notes(run)


def _look_at(view: str, run_id: int) -> None:
    st.query_params["view"], st.query_params["run"] = view, str(run_id)
    if view == "runs":
        st.query_params["compare"] = str(run_id)
    st.session_state["leave"] = True


def _progress(opened: Workspace, run: Run) -> None:
    if run.status == "queued":
        st.progress(0.0, text=placed.place_in_queue(opened, run))
        if waits_for_worker(run):
            placed.show_worker_line(opened, run)
    elif run.total or run.status in LIVE:
        st.progress(share_done(run), text=told_of_run(run))
    begun = run.launcher == LOCAL or run.pid is not None
    if run.status in LIVE and begun and silence(run) > SILENT:
        st.warning(f"No heartbeat for {silence(run).total_seconds():.0f} s.", icon=":material/heart_broken:")


def _numbers(opened: Workspace, run: Run, found: dict[str, Thinned]) -> None:
    last = max((int(series.step[-1]) for series in found.values()), default=0)
    newest = {name: value for _, name, value in metrics(opened.store, run.id, last - 1, ("loss", "learning_rate"))}
    shown: list[tuple[str, str]] = []
    if "loss" in newest:
        shown.append(("Loss", f"{newest['loss']:.3f}"))
    if "learning_rate" in newest:
        shown.append(("Learning rate", f"{newest['learning_rate']:.2e}"))
    if "images_per_second" in found:
        rate = _recent(found["images_per_second"])
        shown.append(("Photos/s", f"{rate:.1f}"))
        if run.status == "running" and run.phase == TRAINING and run.progress:
            left = (run.total - run.progress) * run.params["config"]["batch_size"] / rate
            shown.append(("Time left", duration(left)))
    if "knn_accuracy" in found:
        chance = f" (chance {found['knn_chance'].mean[-1]:.0%})" if "knn_chance" in found else ""
        shown.append((f"k-NN{chance}", f"{found['knn_accuracy'].mean[-1]:.1%}"))
    if (seconds := took(run)) is not None:
        shown.append(("Duration" if run.status in ENDED else "Elapsed", duration(seconds)))
    if run.status in ("running", "stopping"):
        shown += _used(run)
    for column, (label, value) in zip(st.columns(max(1, len(shown))), shown, strict=False):
        column.metric(label, value)


def _recent(speed: Thinned) -> float:
    values = speed.mean[-20:]
    return len(values) / float((1 / values).sum())  # harmonic mean: each step has the same number of photos


def _used(run: Run) -> list[tuple[str, str]]:
    """Return the CPU and memory use of a run's processes on this machine, and that of the GPUs."""
    if run.host != platform.node():
        return []
    key = f"usage-{run.id}"
    seen = machine.usage(run.pid, st.session_state.get(key)) if launcher.is_alive(run) else None
    st.session_state[key] = seen
    shown = []
    if seen is not None:
        if seen.cpu is not None:
            shown.append(("CPU cores", f"{seen.cpu:.1f}"))
        shown.append(("Memory", f"{seen.memory / 1e9:.1f} GB"))
    for number, gpu in enumerate(machine.gpus()):
        shown.append((f"GPU {number}", f"{gpu.busy:.0%}, {gpu.used / 1e9:.1f} of {gpu.total / 1e9:.0f} GB"))
    return shown


# Stop, kill, resume --------------------------------------------------------------------------------------


def _actions(opened: Workspace, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.status in ("queued", "running"):
            # Streamlit's own header has a "Stop", which stops the page's script.
            st.button("Stop run", icon=":material/stop_circle:", on_click=_stop, args=(opened, run.id))
            begun = run.launcher == LOCAL or run.pid is not None
            st.caption("Stops after the current step and keeps the progress." if begun else "The run has not begun.")
        elif run.status == "stopping":
            wait = patience(run, time.monotonic())
            st.button(
                "Kill run",
                icon=":material/dangerous:",
                on_click=attempt,
                args=(launcher.kill, opened, run.id),
                disabled=wait > 0,
            )
            st.caption(
                f"Stopping. If the run does not stop within {wait:.0f} s, you can kill it."
                if wait > 0
                else "The run does not stop. You can kill it; saved progress is kept."
            )
        elif run.status != "done":
            st.button("Resume run", icon=":material/resume:", on_click=attempt, args=(launcher.resume, opened, run.id))
            st.caption("Continues from the saved progress.")
        _use_now(opened, run)


def _use_now(opened: Workspace, run: Run) -> None:
    """Draw a button that adds the encoder of the newest checkpoint, if there is one."""
    if not trains(run) or run.status == "done" or not any(opened.run_folder(run.id).glob("checkpoint-*.pt")):
        return
    text = "Adds the encoder of the newest checkpoint, to mine with it or to measure it. The run is not touched."
    st.button("Use encoder now", icon=":material/output:", help=text, on_click=_add_now, args=(opened, run.id))


def _add_now(opened: Workspace, run_id: int) -> None:
    """Callback: add the encoder, and say its name."""
    from orl_explorer.train.training.early import add_of_run

    def add() -> None:
        row = add_of_run(opened, run_id)
        st.toast(f"Added the encoder {escape(row.name)}.", icon=":material/check:", duration="long")

    attempt(add)


def patience(run: Run, clock: float) -> float:
    """Return the seconds until a stopping run may be killed; 0 if its heartbeat has stopped."""
    since = st.session_state.setdefault(f"stopping-{run.id}", clock)
    return 0.0 if silence(run) > SILENT else max(0.0, launcher.GRACE - (clock - since))


def _stop(opened: Workspace, run_id: int) -> None:
    st.session_state[f"stopping-{run_id}"] = time.monotonic()
    attempt(launcher.request_stop, opened, run_id)


# Details -------------------------------------------------------------------------------------------------


def _details(opened: Workspace, run: Run, found: dict[str, Thinned]) -> None:
    tabs = [name for name in DETAILS if _has(run, name)]
    asked = st.query_params.get("show", "")
    shown = asked if asked in tabs else tabs[0]
    st.session_state[f"show-{run.id}"] = shown
    st.segmented_control(
        "Details",
        tabs,
        format_func=DETAILS.__getitem__,
        required=True,
        key=f"show-{run.id}",
        label_visibility="collapsed",
        on_change=_show,
        args=(run.id,),
    )
    match shown:
        case "curves":
            if found:
                curves.draw_curves(opened, [run], key=f"curves-{run.id}")
            else:
                st.caption(
                    "No curves were recorded."
                    if run.status == "done"
                    else "No curves yet. They begin with the first step."
                )
        case "probes":
            probes.panel(opened, run)
        case "settings":
            rows = settings_of(run)
            st.dataframe(
                {"setting": list(rows), "value": [str(value) for value in rows.values()]},
                hide_index=True,
                width=620,
                alt=f"Settings of run {run.id}",
            )
        case "origin":
            origin.panel(opened, run)
    _log(opened, run)


def _has(run: Run, detail: str) -> bool:
    match detail:
        case "curves":
            return makes(run) == "encoder"
        case "probes":
            return trains(run)
    return True


def _show(run_id: int) -> None:
    st.query_params["show"] = st.session_state[f"show-{run_id}"]


def _log(opened: Workspace, run: Run) -> None:
    st.caption(f"Log ({escape(run.log_path)})")
    with st.container(height=240, autoscroll=True, border=False):
        st.code(launcher.read_log(opened, run, LOG_BYTES) or "No log yet.", language=None, wrap_lines=True)
