"""Adding the encoder of a training before its end: of its newest checkpoint, or of an epoch that it kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.orl.reading import Choices
from orl_explorer.train.encoders.state_dicts import checkpoint_weights
from orl_explorer.train.encoders.weights import AS_IT_IS, Weights, add, default_name, keep_weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.checkpoints import load_checkpoint
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import read_config
from orl_explorer.train.training.milestones import kept_epochs, learned_weights, milestone
from orl_explorer.train.training.stages import started_method
from orl_explorer.train.training.start_from import saw_labels
from orl_explorer.train.words import whole_number
from orl_explorer.train.workspace import Workspace, as_file_name

RUN = "run:"  # begins a source that is a run


def add_any(
    workspace: Workspace,
    source: str,
    name: str = "",
    architecture: str = "",
    tell: Callable[[str], object] = lambda _: None,
    part: str = "",
    choices: Choices = AS_IT_IS,
    seen: str = "",
) -> Encoder:
    """Add an encoder as ``weights.add`` does, or that of a run: ``run:ID`` or ``run:ID@EPOCH``.

    name: by default one that is made from the source.
    """
    if not source.startswith(RUN):
        own = name or default_name(source) + ("-seen" if seen else "")
        return add(workspace, source, own, architecture, tell, part, choices, seen)
    if architecture or part or seen or choices != AS_IT_IS:
        raise UserError(f"The encoder of a run is read as the run does. Give {source} without further options.")
    run_text, _, epoch = source.removeprefix(RUN).partition("@")
    run_id, at = whole_number(run_text), whole_number(epoch)
    if run_id is None or (epoch and at is None):
        raise UserError(f"'{source}' is not a run. Write run:ID, or run:ID@EPOCH for an epoch that it kept.")
    return add_of_run(workspace, run_id, at, name)


def add_of_run(workspace: Workspace, run_id: int, epoch: int | None = None, name: str = "") -> Encoder:
    """Add the encoder of a run's newest checkpoint, or of an epoch that it kept, from 1. Raises UserError, StoreError.

    name: by default the run's with the epoch.
    """
    run = run_by_id(workspace.store, run_id)
    if run.kind not in ("pretrain", "train"):
        raise UserError(f"Run {run_id} ({run.kind}) trains no encoder.")
    config = read_config(run.params["config"])
    if epoch is None:
        learned, reached = _of_checkpoint(workspace, run, config)
    else:
        learned, reached = _of_epoch(workspace.run_folder(run_id), run_id, epoch), f"{epoch}"
    own = name or as_file_name(f"{run.name}-epoch-{reached}")
    kind = "stage1" if run.kind == "pretrain" else "stage3"
    return keep_weights(workspace, learned, own, kind, f"run {run_id}, epoch {reached} of {config.epochs}", run_id)


def _of_epoch(folder: Path, run_id: int, epoch: int) -> Weights:
    file = milestone(folder, epoch)
    if not file.is_file():
        kept = kept_epochs(folder)
        there = f"It kept those of {', '.join(map(str, kept))}." if kept else "It kept none: keep_every was 0."
        raise UserError(f"Run {run_id} has no encoder of epoch {epoch}. {there}")
    return checkpoint_weights(file)


def _of_checkpoint(workspace: Workspace, run: Run, config: TrainConfig) -> tuple[Weights, str]:
    """Return the weights of the newest checkpoint, and the epoch that it has reached."""
    saved = load_checkpoint(workspace.run_folder(run.id), Progress())
    if saved is None:
        every = f"It writes one every {config.checkpoint_every} epochs, and when it is stopped."
        raise UserError(f"Run {run.id} has no checkpoint that can be read. {every}")
    method = started_method(workspace, config, Progress())
    try:
        method.load_state_dict(saved["method"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"The checkpoint of run {run.id} was written by another version of the project.") from error
    mined = set_by_id(workspace.store, run.correspondence_set_id) if run.correspondence_set_id else None
    reached = saved["step"] * config.epochs / run.total if run.total else 0
    return learned_weights(method, saw_labels(workspace, config.start_from, mined)), f"{reached:g}"
