"""Settings: the paper's constants, and the errors for invalid values."""

from __future__ import annotations

import pytest

from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.settings import (
    Settings,
    choices,
    control,
    differences,
    limits_in_words,
    parse_grid,
    parse_settings,
    preset_named,
    setting,
    slider,
    with_settings,
)
from orl_explorer.train.training.config import GROUPS, refuse_uneven
from orl_explorer.train.training.methods import PECULIAR, BYOLConfig, MLSConfig, ORLConfig, read_config
from orl_explorer.train.training.presets import PRESETS, smaller_batch, train_preset


def test_the_paper_preset_of_mining() -> None:
    assert MINE_PRESETS["paper"].model_dump() == {
        "neighbors": 10,
        "pair_ratio": 0.1,
        "min_size": 96,
        "max_aspect": 3.0,
        "max_iou": 0.5,
        "max_rois": 100,
        "min_similarity": -1.0,
        "proposals": "search",
        "proposal_scale": 1.0,
        "segment_size": 100,
        "fallback": "first",
        "spread_after": 1000,
        "spread_iou": 0.5,
        "scored_by": "contrast",
        "ranked_by": "search",
        "object_weight": 0.0,
        "sparse_weight": 0.0,
        "min_worth": -10.0,
        "cover_photo": False,
        "consistent_only": False,
        "distinct_iou": 1.0,
        "precision": "fp32",
        "neighbor_search": "exact",
        "skip_duplicates": False,
        "duplicate_similarity": 0.9,
    }


def test_the_object_preset_of_mining_is_the_papers_but_for_what_seeks_objects() -> None:
    changed = {"ranked_by": "objectness", "scored_by": "layout", "object_weight": 0.2, "sparse_weight": 0.5}
    changed |= {"min_size": 48, "max_rois": 36, "max_iou": 0.75, "spread_after": 16, "pair_ratio": 0.7}
    changed |= {"fallback": "image", "min_worth": 0.8, "cover_photo": True}
    assert MINE_PRESETS["object"].model_dump() == MINE_PRESETS["paper"].model_dump() | changed
    assert [MINE_PRESETS[name].needs_objectness for name in ("paper", "object")] == [False, True]


COMMON = {
    "backbone": "resnet50",
    "start_from": "",
    "freeze": 0,
    "layer_decay": 1.0,
    "head_rate": 1.0,
    "batch_norms": "learn",
    "epochs": 800,
    "batch_size": 512,
    "accumulate": 1,
    "image_size": 224,
    "rate_per_256": 0.2,
    "warmup_epochs": 4,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "hidden": 4096,
    "projection": 256,
    "precision": "auto",
    "optimiser": "published",
    "scale_blur": False,
    "seed": 0,
    "checkpoint_every": 10,
    "keep_every": 0,
    "knn_every": 10,
    "workers": 4,
}
QUEUE = {
    "batch_size": 256,
    "rate_per_256": 0.3,
    "warmup_epochs": 0,
    "hidden": 2048,
    "projection": 128,
    "temperature": 0.2,
    "queue": 65_536,
    "key_momentum": 0.999,
    "norm_group": 32,
}


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("byol", {"target_momentum": 0.99}),
        ("multicrop", {"target_momentum": 0.99, "local_crops": 4, "local_size": 96}),
        ("simclr", {"rate_per_256": 0.3, "weight_decay": 1e-6, "hidden": 2048, "projection": 128, "temperature": 0.1}),
        ("moco", QUEUE),
        ("densecl", QUEUE | {"dense_weight": 0.5}),
        ("selfemd", {"target_momentum": 0.99, "dense_weight": 0.5}),
        (
            "mls",
            QUEUE
            | {"projection": 256, "key_momentum": 0.995, "dictionary": 4096, "pseudo_labels": 20, "label_weight": 0.5},
        ),
        (
            "orl",
            {
                "base": "byol",
                "target_momentum": 0.99,
                "temperature": 0,
                "queue": 0,
                "key_momentum": 0,
                "norm_group": 0,
                "patch_size": 96,
                "image_weight": 1.0,
                "intra_weight": 1.0,
                "inter_weight": 1.0,
                "neighbors": 0,
                "pair_ratio": 0,
                "leave_out_wrong": False,
            },
        ),
    ],
)
def test_the_paper_preset_of_each_method(method: str, own: dict) -> None:
    assert PRESETS[method]["paper"].model_dump() == COMMON | {"method": method} | own


def test_adamw_is_refused_with_a_rate_of_sgd() -> None:
    with pytest.raises(UserError, match="AdamW does not learn at a rate of 0.2 per 256 photos: set rate_per_256 near"):
        with_settings(train_preset("byol", "paper"), {"optimiser": "adamw"})
    changed = with_settings(train_preset("byol", "paper"), {"optimiser": "adamw", "rate_per_256": "0.001"})
    assert changed.optimiser == "adamw"


ADAMW = {"optimiser": "adamw", "rate_per_256": 0.002, "batch_size": 128}
OF_SIMCLR = {"base": "simclr", "rate_per_256": 0.3, "weight_decay": 1e-6, "temperature": 0.1}
OF_MOCO = {"base": "moco", "rate_per_256": 0.3, "temperature": 0.2}


@pytest.mark.parametrize(
    ("preset", "constants"),
    [
        ("paper", OF_SIMCLR | {"hidden": 2048, "projection": 128}),
        ("small", OF_SIMCLR | ADAMW),
        (
            "paper",
            OF_MOCO
            | {"hidden": 2048, "projection": 128, "batch_size": 256, "warmup_epochs": 0}
            | {"queue": 65_536, "key_momentum": 0.999, "norm_group": 32},
        ),
        ("small", OF_MOCO | ADAMW | {"queue": 1024, "key_momentum": 0.99, "norm_group": 16}),
    ],
)
def test_orl_over_another_base_has_the_constants_of_that_base(preset: str, constants: dict) -> None:
    byol = train_preset("orl", preset)
    over = with_settings(byol, {"base": constants["base"]})
    assert over.model_dump() == byol.model_dump() | constants
    assert with_settings(over, {"base": "byol"}) == byol
    if preset == "paper":
        assert ORLConfig(base=constants["base"]) == over
    mine = with_settings(byol, {"epochs": 7, "rate_per_256": 0.01})  # what a person chose stays
    assert with_settings(mine, {"base": constants["base"]}) == over.model_copy(
        update={"epochs": 7, "rate_per_256": 0.01}
    )
    assert with_settings(byol, {"base": constants["base"], "weight_decay": 0.5}).weight_decay == 0.5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"temperature": 0.2}, "The base is byol, and temperature belongs to simclr and moco."),
        ({"base": "simclr", "queue": 8}, "The base is simclr, and queue belongs to moco."),
        ({"base": "moco", "target_momentum": 0.9}, "The base is moco, and target_momentum belongs to byol."),
        ({"base": "moco", "temperature": 0}, "Over base moco, temperature must be more than 0 and at most 10."),
        ({"base": "moco", "norm_group": 1}, "Over base moco, norm_group must be at least 2."),
        ({"base": "dino"}, "Invalid value for base: dino. Use byol, simclr or moco."),
    ],
)
def test_a_setting_that_the_base_does_not_have_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        with_settings(train_preset("orl", "small"), changes)
    assert str(refusal.value) == sentence


def test_settings_written_before_there_was_a_base_are_those_of_byol() -> None:
    old = {n: v for n, v in ORLConfig().model_dump().items() if n not in ("base", *PECULIAR[1:])}
    assert read_config(old) == ORLConfig()


@pytest.mark.parametrize("method", PRESETS)
def test_the_presets_for_a_machine_without_a_gpu(method: str) -> None:
    small, medium = train_preset(method, "small"), train_preset(method, "medium")
    contrastive = method in ("simclr", "moco", "densecl", "mls")
    batch = 128 if contrastive else 64
    assert (small.backbone, small.epochs, small.batch_size, small.image_size) == ("resnet18", 100, batch, 64)
    assert {small.optimiser, medium.optimiser} == {"adamw" if contrastive else "published"}
    assert (medium.backbone, medium.epochs, medium.batch_size, medium.image_size) == ("resnet18", 400, 128, 96)
    assert small.scale_blur
    assert medium.scale_blur


def test_settings_are_read_back_as_those_of_their_method() -> None:
    for presets in PRESETS.values():
        for config in presets.values():
            assert read_config(config.model_dump()) == config
    with pytest.raises(UserError, match=r"another version of the project \(byol.mixed_precision: extra inputs"):
        read_config({"method": "byol", "mixed_precision": True})
    with pytest.raises(UserError, match="written by another version"):
        read_config({"method": "dino"})


def test_a_mining_setting_is_the_rule_of_the_same_name() -> None:
    rules = MineConfig(min_size=1, max_aspect=2, max_iou=0.25, max_rois=7, fallback="image").rules
    assert (rules.min_size, rules.max_aspect, rules.max_iou, rules.max_rois) == (1, 2.0, 0.25, 7)
    assert rules.fallback == "image"
    assert MineConfig(proposal_scale=0.5).method == "selective-search-fast@0.5"
    assert MineConfig(proposals="annotations").method == "annotations"
    assert MineConfig(proposals="coco").method == "imported:coco"
    sources = [MineConfig(proposals=name) for name in ("search", "map", "search+map", "annotations", "coco")]
    assert [(config.searches, config.maps_boxes, config.raw) for config in sources] == [
        (True, False, "selective-search-fast@1"),
        (False, True, "map"),
        (True, True, "selective-search-fast@1+map"),
        (False, False, "annotations"),
        (False, False, "imported:coco"),
    ]


def test_texts_become_the_types_of_their_settings() -> None:
    changed = with_settings(ORLConfig(), parse_settings(["epochs=3", " rate_per_256 = 0.5 ", "leave_out_wrong=true"]))
    assert (changed.epochs, changed.rate_per_256, changed.leave_out_wrong) == (3, 0.5, True)
    assert changed.batch_size == 512


@pytest.mark.parametrize(
    ("preset", "changes", "sentence"),
    [
        (BYOLConfig(), {"epoch": 3}, "There is no setting 'epoch'. Did you mean 'epochs'?"),
        (MineConfig(), {"neigbors": 3}, "There is no setting 'neigbors'. Did you mean 'neighbors'?"),
        (MineConfig(), {"zzz": 1}, "There is no setting 'zzz'. Known settings: neighbors, pair_ratio, min_size,"),
        (MineConfig(), {"neighbors": 0}, "Invalid value for neighbors: 0. Use 1 to 100."),
        (MineConfig(), {"pair_ratio": 0}, "Invalid value for pair_ratio: 0. Use more than 0 and at most 1."),
        (MineConfig(), {"pair_ratio": "1.5"}, "Invalid value for pair_ratio: 1.5. Use more than 0 and at most 1."),
        (MineConfig(), {"fallback": "none"}, "Invalid value for fallback: none. Use first or image."),
        (BYOLConfig(), {"batch_size": "many"}, "Invalid value for batch_size: many. Use 2 to 65536."),
        (BYOLConfig(), {"momentum": 1}, "Invalid value for momentum: 1. Use at least 0 and less than 1."),
        (BYOLConfig(), {"backbone": "vgg16"}, "Invalid value for backbone: vgg16. Use resnet18, resnet34,"),
        (BYOLConfig(), {"patch_size": 48}, "There is no setting 'patch_size'. Did you mean 'batch_size'?"),
        (BYOLConfig(), {"queue": 1}, "There is no setting 'queue'. Known settings: "),
        (MLSConfig(), {"dictionary": 20}, "Dictionary must be above pseudo_labels."),
        (
            ORLConfig(),
            {"image_weight": 0, "intra_weight": 0, "inter_weight": 0},
            "At least one of image_weight, intra_weight and inter_weight must be above 0.",
        ),
    ],
)
def test_an_invalid_setting_is_named_with_its_value(preset, changes: dict, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as refusal:
        with_settings(preset, changes)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("name", ["rate_per_256", "image_weight", "warmup_epochs", "weight_decay"])
def test_a_setting_is_a_finite_number(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"Invalid value for {name}: {value}. Input should be a finite number."):
        with_settings(ORLConfig(), {name: value})


@pytest.mark.parametrize("text", ["epochs", "=3", " = 3"])
def test_an_assignment_has_a_name_and_a_value(text: str) -> None:
    with pytest.raises(UserError, match="is not a setting. Write it as key=value"):
        parse_settings([text])


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    assert preset_named(MINE_PRESETS, "paper").neighbors == 10
    with pytest.raises(UserError, match="There is no preset 'large'. Known presets: small, medium, paper, adapt"):
        train_preset("byol", "large")
    with pytest.raises(
        UserError,
        match="There is no method 'dino'. Known methods: byol, multicrop, simclr, moco, densecl, mls, selfemd, orl",
    ):
        train_preset("dino", "small")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        MineConfig().neighbors = 3  # type: ignore[misc]


@pytest.mark.parametrize("config", [MineConfig, *(type(presets["paper"]) for presets in PRESETS.values())])
def test_every_setting_is_explained(config: type[Settings]) -> None:
    for name, field in config.model_fields.items():
        assert field.description or name == "method", name


class Little(Settings):
    """Settings with only the required attributes."""

    share: float = setting(0.5, ge=0, le=1, help="A share")
    count: int = setting(3, ge=1, le=9, help="A number", label="C · how many, at most")
    open_end: float = setting(1, gt=0, help="Without an upper limit")
    below: float = setting(0.5, ge=0, lt=1, help="Less than one")
    scale: float = setting(1.0, help="Picked", choices=(1.0, 0.5), words={1.0: "full"}, form="x {:g}", grid=(0.5, 1.0))


def test_what_a_field_does_not_say_of_itself_follows_from_its_name_and_limits() -> None:
    assert [control(Little, name).label for name in ("share", "open_end")] == ["Share", "Open end"]
    assert [control(Little, name).term for name in ("share", "count", "open_end")] == ["share", "C", "open end"]
    assert (slider(Little, "share"), slider(Little, "count")) == ((0.0, 1.0, 0.01), (1, 9, 1))
    words = [limits_in_words(Little, name) for name in ("share", "count", "open_end", "below", "scale")]
    assert words == ["0 to 1", "1 to 9", "more than 0", "at least 0 and less than 1", ""]
    assert choices(Little, "scale") == (1.0, 0.5)
    assert [control(Little, "scale").word(value) for value in (1.0, 0.5)] == ["full", "x 0.5"]


def test_what_differs_is_said_in_the_fields_own_words() -> None:
    other = MineConfig(neighbors=4, max_iou=0.75, fallback="image")
    assert differences(MineConfig(), other) == ["K 10 (4)", "max IoU 0.5 (0.75)", "fallback first (image)"]


def test_a_grid_is_values_with_commas_or_the_name_of_a_field_that_has_some() -> None:
    assert parse_grid(["share=0.1, 0.2", "scale"], Little) == {"share": ["0.1", "0.2"], "scale": ["0.5", "1"]}
    assert parse_grid(["neighbors"], MineConfig) == {"neighbors": ["3", "5", "10", "20"]}
    for bare, usual in (("share", Little), ("scale", None)):
        with pytest.raises(UserError, match=f"'{bare}' is not a setting. Write it as key=value"):
            parse_grid([bare], usual)


@pytest.mark.parametrize("method", PRESETS)
def test_every_setting_of_training_stands_under_a_heading_of_the_form(method: str) -> None:
    config = type(PRESETS[method]["paper"])
    groups: dict[str, list[str]] = {}
    for name in config.model_fields:
        if name != "method":
            groups.setdefault(control(config, name).group, []).append(name)
    assert {*groups} <= {"", *GROUPS}
    first = ["epochs", "batch_size", "backbone", "start_from", "image_size", "scale_blur"]
    own = {"multicrop": ["local_size", "local_crops"], "orl": ["patch_size"]}
    assert groups[""] == first + own.get(method, [])
    optimiser = ["rate_per_256", "warmup_epochs", "momentum", "weight_decay", "optimiser", "layer_decay", "head_rate"]
    optimiser += ["accumulate", "precision"]
    assert groups["Optimiser"] == optimiser
    assert groups["Networks"][:2] == ["hidden", "projection"]
    assert groups["Machine and checks"] == ["seed", "workers", "checkpoint_every", "keep_every", "knn_every"]


@pytest.mark.parametrize(
    ("preset", "changed", "photos", "processes", "advice"),
    [
        ("paper", {}, 100, 1, "Use --preset small, or --set batch_size=25."),
        ("paper", {}, 20, 1, "Use --set batch_size=5."),  # the preset's 32 are too many as well
        ("small", {}, 20, 1, "Use --set batch_size=5."),
        ("small", {}, 3, 1, "Use --set batch_size=2."),
        ("small", {"batch_size": 512}, 100, 1, "Use --set batch_size=25."),
        ("paper", {"batch_size": 300}, 100, 1, "Use --set batch_size=25."),  # the preset would not change it
        ("paper", {"accumulate": 8}, 100, 2, "Use --preset small, or --set batch_size=32."),
        ("paper", {"accumulate": 64}, 130, 1, "Use --set batch_size=128."),  # 64 cannot be divided into 64 parts
        ("small", {"accumulate": 8}, 12, 1, "Add photos, 16 or more."),
        ("small", {}, 1, 1, "Add photos, 2 or more."),
    ],
)
def test_the_advice_for_too_few_photos_is_one_that_works(
    preset: str, changed: dict[str, int], photos: int, processes: int, advice: str
) -> None:
    config = train_preset("orl", preset).model_copy(update=changed)
    assert smaller_batch(config, photos, processes) == advice


def test_the_advice_avoids_a_batch_that_leaves_one_photo_alone() -> None:
    config = train_preset("moco", "paper").model_copy(update={"norm_group": 4})
    assert smaller_batch(config, 36, 1) == "Use --set batch_size=8."  # 9 = 4 + 4 + 1


def test_with_few_photos_the_advice_names_smaller_groups_too() -> None:
    config = train_preset("moco", "paper")
    assert smaller_batch(config, 20, 1) == "Use --set batch_size=18 --set norm_group=16."
    assert smaller_batch(config, 12, 1) == "Use --set batch_size=10 --set norm_group=8."
    refuse_uneven(config.model_copy(update={"batch_size": 10, "norm_group": 8}), 1)
    odd = config.model_copy(update={"norm_group": 3})
    assert smaller_batch(odd, 4, 1) == "Use --set batch_size=4 --set norm_group=2."
