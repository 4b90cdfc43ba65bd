"""The forms of the Train page: built from the settings' fields, with errors shown before a run starts."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.pages import forms
from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import Encoder, Evaluation, Run
from orl_explorer.db.runs.evaluations import keep_evaluation
from orl_explorer.db.runs.runs import add_run, runs, update_run
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.evaluate.protocols import CorrespondenceConfig
from orl_explorer.train.jobs.kinds import Evaluate
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.jobs.trainings import Adapt, Train
from orl_explorer.train.settings import limits
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.cost import Cost
from orl_explorer.train.training.methods import MoCoConfig, ORLConfig, SimCLRConfig
from orl_explorer.train.training.presets import PRESETS, STAGE_1, train_preset
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain


@pytest.mark.parametrize("method", [*STAGE_1, "orl"])
def test_the_form_has_every_setting_of_a_method_with_its_limits_and_its_help(
    here: Workspace, show: Show, method: str
) -> None:
    at = show("train", stage="3" if method == "orl" else "1", method=method, preset="paper")
    assert not at.exception
    preset = PRESETS[method]["paper"]
    inputs = {w.key: w for kind in (at.number_input, at.selectbox, at.toggle, at.text_input) for w in kind}
    for name, field in type(preset).model_fields.items():
        if name in ("method", "base") or (isinstance(preset, ORLConfig) and name in preset.unused):
            continue
        widget = inputs[f"{name}-{method}-paper"]
        assert widget.value == getattr(preset, name)
        assert widget.help == field.description
        if widget in list(at.number_input):
            least, most = limits(type(preset), name)
            assert (widget.proto.has_min, widget.proto.has_max) == (least is not None, most is not None)
            assert (widget.min, widget.max) == (least, most) or None in (least, most)
    assert inputs[f"processes-{method}-paper"].value == 1


def test_stage_3_over_another_base_starts_from_its_constants_and_shows_no_setting_of_others(
    here: Workspace, show: Show
) -> None:
    at = show("train", stage="3", base="moco", preset="small")
    assert not at.exception
    values = {w.key.removesuffix("-orl-small-moco"): w.value for w in at.number_input}
    assert {
        "rate_per_256": 0.002,
        "temperature": 0.2,
        "queue": 1024,
        "key_momentum": 0.99,
        "norm_group": 16,
    }.items() <= values.items()
    assert "target_momentum" not in values
    at.number_input("temperature-orl-small-moco").set_value(0.0).run()
    assert "Over base moco, temperature must be more than 0 and at most 10." in plain(at)


def test_limits_are_those_of_the_fields() -> None:
    assert limits(MoCoConfig, "queue") == (1, 2**24)
    assert limits(SimCLRConfig, "temperature") == (0, 10)
    assert limits(ORLConfig, "warmup_epochs") == (0, None)
    assert limits(ORLConfig, "momentum") == (0, 1)


def test_every_invalid_value_has_a_sentence_that_names_it(here: Workspace, show: Show) -> None:
    at = show("train", stage="3")
    at.number_input("rate_per_256-orl-small").set_value(0.0)
    at.number_input("momentum-orl-small").set_value(1.0).run()
    assert not at.exception
    said = [e.value.replace("\\", "") for e in at.error]
    assert said == [
        "Invalid value for rate_per_256: 0.0. Use more than 0 and at most 100.",
        "Invalid value for momentum: 1.0. Use at least 0 and less than 1.",
    ]
    assert "launch" not in [b.key for b in at.button]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_weight": 0.0, "intra_weight": 0.0, "inter_weight": 0.0}, "must be above 0"),
        ({"batch_size": 6, "accumulate": 4}, "A batch of 6 photos cannot be divided into 4 equal parts"),
        ({"neighbors": 9}, "Invalid value for neighbors: 9. The set 'demo-starter' was mined with K = 4"),
        ({"start_from": "starter"}, "Its architecture is efficientnet_lite0, and the run's backbone is resnet18"),
    ],
)
def test_what_cannot_work_is_said_before_the_launch(here: Workspace, show: Show, changes: dict, sentence: str) -> None:
    at = show("train", stage="3")
    inputs = {w.key: w for kind in (at.number_input, at.selectbox) for w in kind}
    for name, value in changes.items():
        inputs[f"{name}-orl-small"].set_value(value)
    at.run()
    assert not at.exception
    assert sentence in plain(at)


def test_the_preset_adapt_starts_from_the_starter_and_asks_for_an_encoder_where_none_is_chosen(
    here: Workspace, show: Show
) -> None:
    at = show("train", stage="3", preset="adapt")
    assert not at.exception
    assert (at.selectbox("start_from-orl-adapt").value, at.selectbox("backbone-orl-adapt").value) == ("starter", "")
    assert not at.error
    at.selectbox("start_from-orl-adapt").set_value("").run()
    assert not at.exception
    (said,) = [each.value.replace("\\", "") for each in at.error]
    assert said.startswith("These settings adapt an encoder, but start_from names none")
    assert "launch" not in [b.key for b in at.button]


def test_a_run_that_will_see_too_few_photos_is_said_to_be_too_short_before_the_launch(
    here: Workspace, show: Show
) -> None:
    at = show("train", stage="1", method="simclr", preset="small")
    at.number_input("batch_size-simclr-small").set_value(6).run()
    (said,) = at.warning
    assert said.value == (
        "Probably too short: its epochs show 1,200 photos in all. From random weights, SimCLR had learned something "
        "after 27,000, and the other methods need more. Train for more epochs, or adapt a good encoder."
    )
    at.number_input("epochs-simclr-small").set_value(2250).run()  # 12 photos as often are 27,000
    assert not at.warning
    at.number_input("epochs-simclr-small").set_value(100).run()
    at.selectbox("start_from-simclr-small").set_value("starter").run()
    at.selectbox("backbone-simclr-small").set_value("").run()
    assert not at.warning


def test_values_are_validated_whatever_the_browser_sends() -> None:
    preset = train_preset("orl", "small")
    config, wrong = forms.validated(preset, {"backbone": "vgg", "epochs": None, "seed": 3})
    assert config is None
    assert [sentence.split(":")[0] for sentence in wrong] == [
        "Invalid value for backbone",
        "No value for epochs. Enter one, such as 100.",
    ]
    config, wrong = forms.validated(preset, {"seed": 3, "epochs": 100})
    assert wrong == []
    assert config == preset.model_copy(update={"seed": 3})


def test_the_form_of_an_evaluation_takes_lists_and_says_what_is_wrong_with_them(here: Workspace, show: Show) -> None:
    at = show("train", stage="evaluate", protocol="voc07-lowshot", encoder="starter")
    assert not at.exception
    assert at.selectbox("evaluated-starter").value.startswith("starter")
    ks = at.text_input("ks-voc07-lowshot-paper")
    assert ks.value == "1, 2, 4, 8, 16, 32, 64, 96"
    ks.set_value("4, many").run()
    assert "Invalid value for ks: many." in plain(at)
    assert at.button("evaluate").disabled
    at.button("back-ks-voc07-lowshot-paper").click().run()
    at.text_input("evaluation-voc").set_value(str(here.path / "nothing")).run()
    at.button("evaluate").click().run()
    assert not at.exception
    assert "nothing" in at.error[0].value
    assert [run.kind for run in runs(here.store)] == ["mine"]


def test_an_evaluation_is_launched_and_shows_its_numbers(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[tuple] = []

    def launch(workspace: Workspace, job: Evaluate, placed: Placement) -> Run:
        assert isinstance(job.config, CorrespondenceConfig)
        launched.append((job.names(workspace)["encoder"], job.data, job.config.queries))
        return add_run(workspace.store, job.named(workspace).row(workspace))

    monkeypatch.setattr("orl_explorer.app.pages.launching.launch", launch)
    at = show("train", stage="evaluate", protocol="correspondence")
    at.number_input("queries-correspondence-standard").set_value(5).run()
    at.button("evaluate").click().run()
    assert not at.exception
    assert launched == [("starter", "demo", 5)]
    run = runs(here.store)[0]
    assert "evaluation (quality of pairs) · on demo with starter" in plain(at).replace("**", "")
    row = Evaluation(
        run_id=run.id,
        encoder_id=encoder_named(here.store, "starter").id,
        protocol="correspondence",
        data="demo",
        params={},
        summary={"same_class": 0.5, "notes": ["Few photos."]},
    )
    keep_evaluation(here.store, row, {})
    update_run(here.store, run.id, status="done")
    at = show("train", run=str(run.id))
    assert [(m.label, m.value) for m in at.metric] == [("same class", "0.5")]
    assert "Few photos." in plain(at)
    (button,) = [b for b in at.button if b.label == "Show all results"]
    button.click().run()
    assert not at.exception
    assert at.dataframe[0].value["encoder"].tolist() == ["starter (efficientnet_lite0, supervised)"]


def test_an_encoder_is_adapted_to_the_set_by_a_form_with_every_setting(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Adapt] = []

    def launch(workspace: Workspace, job: Adapt, placed: Placement) -> Run:
        job.check(workspace)
        launched.append(job)
        return add_run(workspace.store, job.row(workspace))

    monkeypatch.setattr("orl_explorer.app.pages.launching.launch", launch)
    starter = encoder_named(here.store, "starter")
    copied = {
        name: getattr(starter, name) for name in ("architecture", "weights_path", "image_features", "roi_features")
    }
    add_encoder(here.store, Encoder(name="x", kind="adapted", supervised=True, weights_sha256="0" * 64, **copied))
    at = show("train", stage="adapt")
    assert not at.exception
    inputs = {w.key: w for kind in (at.number_input, at.toggle) for w in kind}
    for name, field in AdaptConfig.model_fields.items():
        assert inputs[f"{name}-adapt"].value == getattr(AdaptConfig(), name)
        assert inputs[f"{name}-adapt"].help == field.description
    (picker,) = (box for box in at.selectbox if box.label == "Encoder")
    assert picker.options == ["starter (efficientnet_lite0, supervised)"]  # an adapted encoder is not adapted again
    assert "Adapts **starter** to **demo-starter**." in plain(at)
    at.number_input("steps-adapt").set_value(2).run()
    at.text_input("name-adapt").set_value("starter").run()
    at.button("adapt").click().run()
    assert "The encoder 'starter' already exists or is being made. Choose another name." in plain(at)
    at.text_input("name-adapt").set_value("mine").run()
    at.button("adapt").click().run()
    assert not at.exception
    mined = complete_set_named(here.store, "demo-starter")
    assert launched == [Adapt.to(here, mined, starter, "mine", AdaptConfig(steps=2))]
    assert "adaptation · on demo-starter with starter" in plain(show("train", run=str(runs(here.store)[0].id))).replace(
        "**", ""
    )


def test_a_change_is_marked_and_can_be_taken_back(here: Workspace, show: Show) -> None:
    at = show("train", stage="3")
    at.number_input("epochs-orl-small").set_value(7).run()
    assert at.number_input("epochs-orl-small").label == "Epochs :orange[●]"
    back = at.button("back-epochs-orl-small")
    assert back.label == "epochs 7 (100)"
    back.click().run()
    assert at.number_input("epochs-orl-small").value == 100
    assert at.number_input("epochs-orl-small").label == "Epochs"
    assert "back-epochs-orl-small" not in [b.key for b in at.button]


def test_values_outlast_a_look_at_another_method(here: Workspace, show: Show) -> None:
    at = show("train", stage="1", method="simclr")
    at.number_input("temperature-simclr-small").set_value(0.3).run()
    at.query_params["method"] = "moco"
    at.run()
    assert at.number_input("queue-moco-small").value == 1024
    at.query_params["method"] = "simclr"
    at.run()
    assert at.number_input("temperature-simclr-small").value == 0.3


def test_a_link_with_a_set_opens_its_form_ready_to_launch(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[tuple] = []

    def launch(workspace: Workspace, job: Train, placed: Placement) -> Run:
        launched.append((job.names(workspace)["correspondence"], job.config.batch_size, job.name, job.processes))
        return add_run(workspace.store, job.row(workspace))

    monkeypatch.setattr("orl_explorer.app.pages.launching.launch", launch)
    at = show("train", set="demo-starter", stage="3")
    assert "On the set demo-starter of demo: 12 photos." in plain(at).replace("**", "")
    at.number_input("batch_size-orl-small").set_value(4)
    at.text_input("name-orl").set_value(" mine ").run()
    at.button("launch").click().run()
    assert not at.exception
    assert launched == [("demo-starter", 4, "mine", 1)]
    assert at.query_params["run"] == str(runs(here.store)[0].id)
    assert "Run 2 · mine" in plain(at)


def test_a_run_of_months_without_a_gpu_is_asked_about_first(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.explorer.machine.has_gpu", lambda: False)
    monkeypatch.setattr(
        "orl_explorer.app.pages.train.launch.estimate", lambda *_: Cost(300_000, 200 * 86_400.0, False, 10**8)
    )
    at = show("train", stage="3", preset="paper")
    at.number_input("batch_size-orl-paper").set_value(4).run()
    at.button("launch").click().run()
    assert not at.exception
    assert "This machine has no GPU. 300,000 steps would take about **7 months**" in plain(at)
    assert "launch-long" in [b.key for b in at.button]
    assert [run.kind for run in runs(here.store)] == ["mine"]


def test_what_people_typed_is_text_where_it_can_be_taken_back() -> None:
    at = AppTest.from_string(
        "from orl_explorer.app.pages.forms import show_changes\n"
        "from orl_explorer.train.training.presets import train_preset\n"
        "show_changes(train_preset('orl', 'small'), {'start_from': ':red[x]'}, 'k')\n"
    ).run()
    assert at.button("back-start_from-k").label == "start\\_from \\:red\\[x\\] (none)"
