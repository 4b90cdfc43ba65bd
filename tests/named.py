"""Stages and runs by name for tests: turns names into rows, as the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Evaluation, Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.evaluate import run as measured
from orl_explorer.train.evaluate.protocols import EvaluateConfig
from orl_explorer.train.interchange import imports
from orl_explorer.train.jobs.kinds import Evaluate, MakeMap, Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.mining import maps
from orl_explorer.train.mining import mine as mining
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.workspace import Workspace


def rows(workspace: Workspace, dataset: str, encoder: str) -> tuple[Dataset, Encoder]:
    return dataset_named(workspace.store, dataset), encoder_named(workspace.store, encoder)


def check(workspace: Workspace, dataset: str, encoder: str, name: str, config: MineConfig) -> None:
    mining.check(workspace, *rows(workspace, dataset, encoder), name, config)


def mine(
    workspace: Workspace, dataset: str, encoder: str, name: str, config: MineConfig, **how: Any
) -> CorrespondenceSet:
    return mining.mine(workspace, *rows(workspace, dataset, encoder), name, config, **how)


def pretrain(workspace: Workspace, dataset: str, name: str, config: TrainConfig, **how: Any) -> Encoder | None:
    from orl_explorer.train.training import stages

    return stages.pretrain(workspace, dataset_named(workspace.store, dataset), name, config, **how)


def train(workspace: Workspace, mined: str, name: str, config: ORLConfig, **how: Any) -> Encoder | None:
    from orl_explorer.train.training import stages

    return stages.train(workspace, complete_set_named(workspace.store, mined), name, config, **how)


def evaluate(workspace: Workspace, encoder: str, data: str, config: EvaluateConfig, **how: Any) -> Evaluation:
    return measured.evaluate(workspace, encoder_named(workspace.store, encoder), data, config, **how)


def photos_map(workspace: Workspace, dataset: str, encoder: str) -> maps.MapOf:
    return maps.MapOf(*rows(workspace, dataset, encoder))


def rois_map(workspace: Workspace, mined: str, selection: int | None = None) -> maps.MapOf:
    return maps.rois_map(workspace, complete_set_named(workspace.store, mined), selection)


def import_proposals(
    workspace: Workspace, file: Path, dataset: str, name: str, **how: Any
) -> imports.ImportedProposals:
    return imports.import_proposals(workspace, file, dataset_named(workspace.store, dataset), name, **how)


def import_correspondences(workspace: Workspace, file: Path, dataset: str, encoder: str, name: str, **how: Any) -> Run:
    return imports.import_correspondences(workspace, file, *rows(workspace, dataset, encoder), name, **how)


def import_neighbors(
    workspace: Workspace, file: Path, dataset: str, encoder: str, name: str, config: MineConfig, **how: Any
) -> Run:
    return imports.import_neighbors(workspace, file, *rows(workspace, dataset, encoder), name, config, **how)


def pretraining(
    workspace: Workspace, dataset: str, config: TrainConfig, name: str = "", processes: int = 1
) -> Pretrain:
    whose = dataset_named(workspace.store, dataset).id
    return Pretrain(name=name, dataset_id=whose, config=config, processes=processes)


def mining_of(
    workspace: Workspace, dataset: str, encoder: str, config: MineConfig, name: str = "", workers: int | None = None
) -> Mine:
    whose, by = rows(workspace, dataset, encoder)
    return Mine(name=name, dataset_id=whose.id, encoder_id=by.id, config=config, workers=workers)


def training(workspace: Workspace, mined: str, config: ORLConfig, name: str = "") -> Train:
    found = complete_set_named(workspace.store, mined)
    return Train(name=name, correspondence_set_id=found.id, config=config)


def evaluation(workspace: Workspace, encoder: str, data: str, config: EvaluateConfig) -> Evaluate:
    return Evaluate.on(workspace, encoder_named(workspace.store, encoder), data, config)


def launch_pretrain(workspace: Workspace, dataset: str, config: TrainConfig, name: str = "", processes: int = 1) -> Run:
    return launch(workspace, pretraining(workspace, dataset, config, name, processes))


def launch_mine(
    workspace: Workspace, dataset: str, encoder: str, name: str, config: MineConfig, workers: int | None = None
) -> Run:
    return launch(workspace, mining_of(workspace, dataset, encoder, config, name, workers))


def launch_train(workspace: Workspace, mined: str, config: ORLConfig, name: str = "") -> Run:
    return launch(workspace, training(workspace, mined, config, name))


def launch_evaluate(workspace: Workspace, encoder: str, data: str, config: EvaluateConfig) -> Run:
    return launch(workspace, evaluation(workspace, encoder, data, config))


def launch_map(workspace: Workspace, shown: maps.MapOf) -> Run:
    return launch(workspace, MakeMap.showing(shown))
