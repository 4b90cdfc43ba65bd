"""The command that starts a run again, with the same input and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import protocol_named
from orl_explorer.train.jobs.kinds import Evaluate, MakeMap, Mine, job_of
from orl_explorer.train.jobs.trainings import Adapt, Pretrain, Train, Training
from orl_explorer.train.mining.config import MINE_PRESETS
from orl_explorer.train.settings import Settings
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.presets import PRESETS


def command_of(run: Run) -> list[str]:
    """Return the words of the command, such as ``["orl", "train", "--correspondence", …]``.

    Settings are those that differ from the nearest preset. Empty for an import, whose file the workspace does not know,
    and for a run of another version.
    """
    try:
        job = job_of(run)
    except UserError:
        return []
    names = run.params
    match job:
        case Pretrain():
            asked = ["pretrain", "--dataset", names["dataset"], "--method", job.config.method, "--name", job.name]
            return ["orl", *asked, *_settings(job.config, PRESETS[job.config.method]), *_work(job)]
        case Train():
            asked = ["train", "--correspondence", names["correspondence"], "--name", job.name]
            return ["orl", *asked, *_settings(job.config, PRESETS["orl"]), *_work(job)]
        case Adapt():
            asked = [
                "adapt",
                "--correspondence",
                names["correspondence"],
                "--encoder",
                names["encoder"],
                "--name",
                job.name,
            ]
            return ["orl", *asked, *_changes(job.config, AdaptConfig())]
        case Mine(imported=None):
            asked = ["mine", "--dataset", names["dataset"], "--encoder", names["encoder"], "--name", job.name]
            workers = [] if job.workers is None else ["--workers", str(job.workers)]
            return ["orl", *asked, *_settings(job.config, MINE_PRESETS), *workers]
        case Evaluate():
            protocol = job.config.protocol
            asked = ["evaluate", protocol, "--encoder", names["encoder"], "--data", names.get("dataset", job.data)]
            return ["orl", *asked, *_settings(job.config, protocol_named(protocol).presets)]
        case MakeMap():
            shown = (
                ["--rois-of", job.set] if job.set else ["--dataset", names["dataset"], "--encoder", names["encoder"]]
            )
            return ["orl", "map", *shown]
    return []


def _settings(config: Settings, presets: Mapping[str, Settings]) -> list[str]:
    """Return ``--preset`` and ``--set`` for some settings, by the preset from which fewest differ."""

    name = min(presets, key=lambda each: len(_changes(config, presets[each])))
    return ["--preset", name, *_changes(config, presets[name])]


def _changes(config: Settings, preset: Settings) -> list[str]:
    """Return ``--set`` for each setting that differs from a preset."""
    changed = [f"{name}={_text(value)}" for name, value in config if value != getattr(preset, name)]
    return [word for change in changed for word in ("--set", change)]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value)


def _work(job: Training) -> list[str]:
    processes = [] if job.processes == 1 else ["--processes", str(job.processes)]
    return processes + (["--log", job.log_to] if job.log_to else [])
