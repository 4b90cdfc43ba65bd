"""The rows of ``train.experiments.reproduce``: what is trained, in which order, from which encoders and pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orl_explorer.db.encoders import encoder_named, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.experiments.subject import ReproduceSubject
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import preset_named, with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.cost import operations_per_image
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import PRESETS, STAGE_1, train_preset
from orl_explorer.train.workspace import Workspace

SCALE = 0.5  # of photos for selective search, which makes it five times as fast
LEAST = 48  # pixels of a side of an annotated box that counts as a RoI


@dataclass(frozen=True)
class ORLRow:
    """ORL as one of ``METHODS``. base: the method it learns by, whose encoder mines its pairs. weights: lambda 1 to 3.

    again: whether it is trained on pairs that the first round's encoder found.
    """

    title: str
    base: str = "byol"
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    again: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is ORL as in the paper, but for its base."""
        return self.weights == (1.0, 1.0, 1.0) and not self.again


WEIGHTS = ("image_weight", "intra_weight", "inter_weight")
FIRST, SECOND = "orl", "orl-again"
ORL_ROWS = {
    FIRST: ORLRow("ORL"),
    "orl-inter": ORLRow("ORL, inter-RoI only", weights=(1.0, 0.0, 1.0)),  # Table 5a
    "orl-intra": ORLRow("ORL, intra-RoI only", weights=(1.0, 1.0, 0.0)),
    SECOND: ORLRow("ORL, second round", again=True),
    "orl-simclr": ORLRow("ORL over SimCLR", "simclr"),
    "orl-moco": ORLRow("ORL over MoCo v2", "moco"),
}
METHODS = (*STAGE_1, *ORL_ROWS)
DEFAULT = ("byol", "orl")
RANDOM, SEEN = "random", "random-seen"
CHOSEN = {"epochs": "--epochs", "seed": "--seed and --seeds"} | dict.fromkeys(("base", *WEIGHTS), "--methods")
ANNOTATED = "annotations"  # mining as in the paper, with annotated boxes as RoIs: what perfect RoIs would give
AS_LONG = "-as-long"  # ends the name of a base that is trained for as many operations as ORL


@dataclass(frozen=True)
class OtherPairs:
    """Further pairs to train ORL on.

    encoder: what mines them. The name of a method of stage 1 stands for the encoders that this call trains with it.
    mining: a preset, or ``ANNOTATED``.
    """

    encoder: str
    mining: str

    @property
    def by(self) -> str:
        """Who finds the pairs, and how, in the title of their row."""
        return f"pairs by {PRESETS[self.encoder]['paper'].title if self.own else self.encoder}, {self.mining}"

    @property
    def own(self) -> bool:
        """Whether this call trains the encoder."""
        return self.encoder in STAGE_1


@dataclass(frozen=True)
class ReproduceAsked:
    """What to train. methods: of ``METHODS``. epochs: of each training, by default those of BYOL's preset.

    preset: of the trainings. changes: to it, of every method that has the setting. mining: preset of mining.
    mine_changes: to it. pairs: further pairs to train all three branches of ORL on, one row each. seeds: of trainings.
    """

    methods: Sequence[str] = DEFAULT
    epochs: int | None = None
    preset: str = "small"
    changes: Mapping[str, Any] = field(default_factory=dict)
    mining: str = "paper"
    mine_changes: Mapping[str, Any] = field(default_factory=dict)
    pairs: Sequence[OtherPairs] = ()
    seeds: Sequence[int] = (0, 1, 2)


@dataclass(frozen=True)
class Planned:
    """A row of the table to be. make: trains its encoder with a seed. config: of its training, if it has one."""

    method: str
    title: str
    make: Callable[[int], Encoder]
    config: TrainConfig | None = None
    against: Mapping[str, str] = field(default_factory=dict)


class Plan:
    """The rows of a table, and how the encoder of each is made with a seed."""

    def __init__(self, workspace: Workspace, asked: ReproduceAsked, progress: Progress) -> None:
        """Raises UserError if a method, preset, setting or encoder is unknown."""
        self.workspace, self.asked, self.progress = workspace, asked, progress
        unknown = [name for name in asked.methods if name not in METHODS]
        if unknown:
            raise UserError(f"There is no method '{unknown[0]}'. Known methods: {', '.join(METHODS)}.")
        if not asked.seeds:
            raise UserError("Give one seed or more.")
        orl = [ORL_ROWS[name] for name in asked.methods if name in ORL_ROWS]
        whole = [name for name in asked.methods if name in ORL_ROWS and ORL_ROWS[name].whole]
        self.of_pairs = (whole or [FIRST]) if asked.pairs else []
        bases = dict.fromkeys(row.base for row in [*orl, *(ORL_ROWS[name] for name in self.of_pairs)])
        needed = {*bases, *asked.methods, *(each.encoder for each in asked.pairs)}
        self.stage_1 = [name for name in STAGE_1 if name in needed]
        self.epochs = asked.epochs or train_preset("byol", asked.preset).epochs
        configs: dict[str, TrainConfig] = {name: train_preset(name, asked.preset) for name in self.stage_1}
        configs |= {
            f"orl over {base}": with_settings(train_preset("orl", asked.preset), {"base": base}) for base in bases
        }
        self.configs = _changed(configs, {"knn_every": 0} | dict(asked.changes))
        if any(config.start_from or not config.backbone for config in self.configs.values()):
            raise UserError("This trains from random weights. Leave start_from and the preset adapt out.")
        self.side = next(iter(self.configs.values())).image_size
        self.minings = {name: self._mining(name) for name in (asked.mining, *(each.mining for each in asked.pairs))}
        for each in asked.pairs:
            if not each.own:
                encoder_named(workspace.store, each.encoder)

    def rows(self, subject: ReproduceSubject) -> list[Planned]:
        """Return the rows, each after those whose encoders it needs."""
        self.dataset = subject.dataset
        rows = [
            Planned(RANDOM, "random weights", lambda seed: self._random(seed, None)),
            Planned(SEEN, "random weights, photos seen", lambda seed: self._random(seed, subject.dataset)),
        ]
        for method in self.stage_1:
            config = self._lasting(method)
            rows.append(Planned(method, config.title, self._stage_1(method), config, {SEEN: "architecture"}))
        chosen = [(name, row) for name, row in ORL_ROWS.items() if name in self.asked.methods]
        longer_bases = [row.base for _, row in chosen if row.whole]
        for base in longer_bases:
            longer = self._as_long(base)
            title = f"{longer.title}, as many operations as ORL"
            rows.append(Planned(base + AS_LONG, title, self._stage_1(base, longer), longer, {SEEN: "architecture"}))
        for name, row in chosen:
            against = _against(row.base, row.whole)
            rows.append(Planned(name, row.title, self._orl(name, row), self._of(row), against))
        for name in self.of_pairs:
            row = ORL_ROWS[name]
            against = _against(row.base, row.base in longer_bases)
            for each in self.asked.pairs:
                title = f"{row.title}, {each.by}"
                rows.append(Planned(title, title, self._of_pairs(name, each), self._of(row), against))
        return rows

    def _mining(self, name: str) -> MineConfig:
        annotated = {"proposals": "annotations", "min_size": LEAST} if name == ANNOTATED else {}
        preset = preset_named(MINE_PRESETS, "paper" if annotated else name)
        return with_settings(preset, {"proposal_scale": SCALE} | annotated | dict(self.asked.mine_changes))

    def _lasting(self, name: str, epochs: int | None = None, seed: int = 0) -> TrainConfig:
        return with_settings(self.configs[name], {"epochs": epochs or self.epochs, "seed": seed})

    def _as_long(self, base: str) -> TrainConfig:
        """Return the settings of a base for the epochs that cost as many operations as ORL over it."""
        more = operations_per_image(self.configs[f"orl over {base}"]) / operations_per_image(self.configs[base])
        return self._lasting(base, round(more * self.epochs))

    def _of(self, row: ORLRow, seed: int = 0) -> ORLConfig:
        lambdas = dict(zip(WEIGHTS, row.weights, strict=True))
        config = with_settings(self._lasting(f"orl over {row.base}", seed=seed), lambdas)
        assert isinstance(config, ORLConfig)
        return config

    def _random(self, seed: int, seen: Dataset | None) -> Encoder:
        backbone = next(iter(self.configs.values())).backbone
        parts = [RANDOM, backbone.replace(":", "-")] + ([f"seed-{seed}"] if seed else [])
        if seen is not None:  # photos may change between two calls, and the statistics with them
            parts += [seen.name, f"r{seen.revision}"]
        name = "-".join(parts)
        found = find_encoder(self.workspace.store, name)
        if found is None:
            from orl_explorer.train.encoders.weights import add

            found = add(self.workspace, f"random:{backbone}@{seed}", name, seen=seen.name if seen else "")
        return found

    def _stage_1(self, method: str, config: TrainConfig | None = None) -> Callable[[int], Encoder]:
        def make(seed: int) -> Encoder:
            own = with_settings(config or self._lasting(method), {"seed": seed})
            job = Pretrain(name=_name(method, own), dataset_id=self.dataset.id, config=own)
            return once.trained(self.workspace, job, self.progress)

        return make

    def _mined(self, encoder: Encoder, preset: str) -> CorrespondenceSet:
        ids = {"dataset_id": self.dataset.id, "encoder_id": encoder.id}
        job = Mine(name=f"{encoder.name}-{preset}", config=self.minings[preset], **ids)
        return once.mined(self.workspace, job, self.progress)

    def _on(self, mined: CorrespondenceSet, name: str, config: ORLConfig) -> Encoder:
        job = Train(name=_name(name, config), correspondence_set_id=mined.id, config=config)
        return once.trained(self.workspace, job, self.progress)

    def _orl(self, name: str, row: ORLRow) -> Callable[[int], Encoder]:
        def make(seed: int) -> Encoder:
            by = self._orl(FIRST, ORL_ROWS[FIRST])(seed) if row.again else self._stage_1(row.base)(seed)
            return self._on(self._mined(by, self.asked.mining), name, self._of(row, seed))

        return make

    def _of_pairs(self, name: str, pairs: OtherPairs) -> Callable[[int], Encoder]:
        def make(seed: int) -> Encoder:
            by = self._stage_1(pairs.encoder)(seed) if pairs.own else encoder_named(self.workspace.store, pairs.encoder)
            mined = self._mined(by, pairs.mining)
            return self._on(mined, f"{name}-of-{mined.name}", self._of(ORL_ROWS[name], seed))

        return make


def _against(base: str, longer: bool) -> dict[str, str]:
    """Return what an ORL is compared with, and what is equal. longer: whether its base is also trained for longer."""
    return {base: "photos seen"} | ({base + AS_LONG: "operations"} if longer else {})


def _name(method: str, config: TrainConfig) -> str:
    return f"{method}-{config.epochs}" + (f"-seed-{config.seed}" if config.seed else "")


def _changed(configs: Mapping[str, TrainConfig], changes: Mapping[str, Any]) -> dict[str, TrainConfig]:
    """Return the settings of each method with the changes that it knows. Raises UserError for one that none knows."""

    def known(config: TrainConfig) -> set[str]:
        return set(type(config).model_fields) - set(config.unused if isinstance(config, ORLConfig) else ())

    for name in changes:
        if name in CHOSEN:
            raise UserError(f"{name} cannot be set here. Use {CHOSEN[name]}.")
        if all(name not in known(config) for config in configs.values()):
            with_settings(list(configs.values())[-1], {name: changes[name]})  # says what is wrong
    return {
        method: with_settings(config, {k: v for k, v in changes.items() if k in known(config)})
        for method, config in configs.items()
    }
