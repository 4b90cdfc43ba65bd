"""SVMs on VOC07: the numbers of scikit-learn alone, difficult objects, seeded samples, and resumed runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_run
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.measure.average_precision import average_precision
from orl_explorer.orl.measure.svm import COSTS, draw_low_shot
from orl_explorer.orl.pixels import read_image
from orl_explorer.train.encoders.weights import load_encoder
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import Labelled, voc_splits
from orl_explorer.train.evaluate.protocols import PROTOCOLS, EvaluateConfig, KNNConfig, LowShotConfig, SVMConfig
from orl_explorer.train.evaluate.voc07_lowshot import summarise
from orl_explorer.train.progress import Stopped
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow

SVM = SVMConfig(workers=0, bootstrap=200)
LOW_SHOT = LowShotConfig(workers=0, ks=(1, 2), samples=2)


def machine(cost: float) -> LinearSVC:
    return LinearSVC(C=cost, class_weight={1: 2, -1: 1}, loss="squared_hinge", dual=True, max_iter=2000, random_state=0)


def embedded(place: Workspace, split: Labelled) -> np.ndarray:
    network = load_encoder(place, encoder_named(place.store, "r18"))
    twice = T.Compose([T.Resize(256), T.Resize((224, 224))])
    pixels = np.stack([np.asarray(twice(read_image(Path(file)))) for file in split.files])
    return np.concatenate([network.embed_cells(p[None]) for p in pixels]).astype(np.float64)


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
def test_average_precision_is_that_of_scikit_learn_on_the_same_features(
    place: Workspace, voc: Path, evaluated: Callable
) -> None:
    row, values = evaluated(voc, SVM)
    train, test = voc_splits(str(voc), "trainval", "test")
    learn, measure = embedded(place, train), embedded(place, test)
    assert learn.shape == (16, 2048)
    each = []
    for c, name in enumerate(train.classes):
        labels = np.where(train.labels[:, c] == 1, 1, -1)  # a difficult one is a negative when learning
        assert (labels[train.labels[:, c] == 0] == -1).all()
        validated = [
            cross_val_score(machine(cost), learn, labels, cv=3, scoring="average_precision").mean() for cost in COSTS
        ]
        best = COSTS[int(np.argmax(validated))]
        scores = machine(best).fit(learn, labels).decision_function(measure)
        counted = test.labels[:, c] != 0  # and is passed over when measuring
        assert counted.sum() == 9
        expected = average_precision(scores[counted], test.labels[counted, c] == 1)
        assert values["cost"][name] == best
        assert values["validated_ap"][name] == pytest.approx(max(validated))
        assert values["ap"][name] == pytest.approx(expected)
        assert values["ap_low"][name] <= expected <= values["ap_high"][name]
        each.append(expected)
    assert row.summary["map"] == pytest.approx(np.mean(each))
    assert row.summary["map_low"] <= row.summary["map"] <= row.summary["map_high"]
    assert row.params["train_split"] == "trainval"


@pytest.mark.parametrize("protocol", [SVM, KNNConfig(ks=(1,), k=1)])
def test_photos_are_read_at_the_side_that_is_asked_for(
    place: Workspace, voc: Path, evaluated: Callable, monkeypatch: pytest.MonkeyPatch, protocol: EvaluateConfig
) -> None:
    sides = set()
    for name in ("embed_cells", "embed_rois"):
        embed = getattr(EncoderNetwork, name)

        def seen(network: EncoderNetwork, pixels: np.ndarray, *more: int, embed: Callable = embed) -> np.ndarray:
            sides.add(pixels.shape[1:])
            return embed(network, pixels, *more)

        monkeypatch.setattr(EncoderNetwork, name, seen)
    row, _ = evaluated(voc, protocol.model_copy(update={"crop_size": 70}))
    assert sides == {(64, 64, 3)}  # a multiple of 32
    assert row.params["crop_size"] == 70
    with pytest.raises(UserError, match=r"Invalid value for crop_size: 8\. Use 32 to 2048"):
        evaluated(voc, protocol.model_copy(update={"crop_size": 8}))


@pytest.mark.parametrize("stops", [[1], [3, 1], [5]])  # of 2 + 2 batches, 2 classes and the draws
def test_an_evaluation_that_was_stopped_goes_on_to_the_same_numbers(
    place: Workspace, voc: Path, evaluated: Callable, stop_after: Callable, stops: list[int]
) -> None:
    row, values = evaluated(voc, SVM)
    run = add_run(place.store, Run(kind="evaluate", name="r18", params={})).id
    for advances in stops:
        with pytest.raises(Stopped):
            evaluated(voc, SVM, stop_after(advances), run)
    again, others = evaluated(voc, SVM, None, run)
    assert again.summary == row.summary
    assert others == values


def test_nothing_that_is_done_is_done_again(
    place: Workspace, voc: Path, evaluated: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, values = evaluated(voc, SVM)

    def refuse(*_: object) -> None:
        raise AssertionError("computed once more")

    monkeypatch.setattr("orl_explorer.orl.encoder.EncoderNetwork.embed_cells", refuse)
    monkeypatch.setattr("orl_explorer.train.evaluate.voc07_svm.fit_class", refuse)
    again, others = evaluated(voc, SVM, None, row.run_id)
    assert (again.summary, others) == (row.summary, values)


def test_a_result_that_was_half_written_is_done_again(place: Workspace, voc: Path, evaluated: Callable) -> None:
    row, values = evaluated(voc, SVM)
    parts = place.run_folder(row.run_id) / "parts.jsonl"
    parts.write_bytes(parts.read_bytes()[:-20])
    again, others = evaluated(voc, SVM, None, row.run_id)
    assert (again.summary, others) == (row.summary, values)
    assert len(parts.read_text().splitlines()) == 2


def test_processes_change_nothing(voc: Path, evaluated: Callable) -> None:
    alone, by_one = evaluated(voc, SVM)
    several, by_two = evaluated(voc, SVM.model_copy(update={"workers": 2}))
    assert several.summary == alone.summary
    assert by_two == by_one


def test_a_class_too_rare_for_three_folds_is_a_sentence(place: Workspace, voc: Path, tmp_path: Path) -> None:
    shutil.copytree(voc, tmp_path / "VOCdevkit")
    file = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "red_trainval.txt"
    file.write_text(file.read_text().replace(" 1\n", "-1\n").replace("trainval-00 -1", "trainval-00  1"))
    with pytest.raises(
        UserError, match="1 of the 16 photos of trainval show the class red. 3 folds need 3 photos with it and 3"
    ):
        PROTOCOLS["voc07-svm"].check(place, str(tmp_path / "VOCdevkit"), SVM)


def test_a_photo_that_cannot_be_read_is_a_sentence(evaluated: Callable, voc: Path, tmp_path: Path) -> None:
    shutil.copytree(voc, tmp_path / "VOCdevkit")
    photo = tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages" / "test-03.jpg"
    photo.write_bytes(b"no photo")
    with pytest.raises(UserError, match=f"Cannot read {photo}: not an image that Pillow can identify."):
        evaluated(tmp_path / "VOCdevkit", SVM)


def test_low_shot_samples_are_those_of_their_seed(
    place: Workspace, voc: Path, evaluated: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[int]] = []

    def watched(*arguments: object) -> np.ndarray:
        drawn.append(draw_low_shot(*arguments).tolist())  # type: ignore[arg-type]
        return np.array(drawn[-1])

    monkeypatch.setattr("orl_explorer.train.evaluate.machines.draw_low_shot", watched)
    row, values = evaluated(voc, LOW_SHOT)
    again, same = evaluated(voc, LOW_SHOT)
    evaluated(voc, LOW_SHOT.model_copy(update={"seed": 1}))
    assert (again.summary, same) == (row.summary, values)
    first, second, third = drawn[:8], drawn[8:16], drawn[16:]
    assert first == second != third
    assert len({tuple(each) for each in first[:4:2]}) == 2  # samples of one class differ
    assert list(values["clean_mean"]) == ["1", "2"]
    parts = dict(map(json.loads, (place.run_folder(row.run_id) / "parts.jsonl").read_text().splitlines()))
    for k in values["reference_mean"]:
        by_cost = [  # of every cost, mAP of the two samples
            [np.mean([p["test"][c] for n, p in parts.items() if n.startswith(f"k {k}, sample {s},")]) for s in range(2)]
            for c in range(len(COSTS))
        ]
        assert values["reference_mean"][k] == pytest.approx(max(np.mean(maps) for maps in by_cost))


def test_a_low_shot_evaluation_goes_on_to_the_same_numbers(
    place: Workspace, voc: Path, evaluated: Callable, stop_after: Callable
) -> None:
    row, values = evaluated(voc, LOW_SHOT)
    run = add_run(place.store, Run(kind="evaluate", name="r18", params={})).id
    with pytest.raises(Stopped):
        evaluated(voc, LOW_SHOT, stop_after(7), run)
    listener = stop_after()
    again, others = evaluated(voc, LOW_SHOT, listener, run)
    assert (again.summary, others) == (row.summary, values)


def test_the_reference_has_one_cost_for_each_k_and_the_clean_way_one_for_each_sample() -> None:
    config = LowShotConfig(ks=(1,), samples=2)
    tested, rest = np.zeros((1, 2, 2, 19)), np.zeros((1, 2, 2, 19))
    tested[0, 0, :, 3], tested[0, 0, :, 7] = (0.4, 0.8), (0.2, 0.6)  # mAP 0.6 and 0.4
    tested[0, 1, :, 3], tested[0, 1, :, 7] = (0.1, 0.3), (0.7, 0.9)  # mAP 0.2 and 0.8
    rest[0, 0, :, 3], rest[0, 1, :, 7] = 0.5, 0.5  # by the photos that were not drawn, each sample has its own
    found = summarise(tested, rest, config)
    # Averaged over the samples, the fourth cost has 0.4 and the eighth 0.6. The best of each sample would be 0.7.
    assert found.values["reference_mean"] == {"1": pytest.approx(0.6)}  # 0.4 and 0.8
    assert found.values["reference_std"] == {"1": pytest.approx(0.2)}
    assert found.values["clean_mean"] == {"1": pytest.approx(0.7)}  # 0.6 and 0.8
    assert found.values["clean_std"] == {"1": pytest.approx(0.1)}
    assert found.numbers == {"reference_map": pytest.approx(0.6), "clean_map": pytest.approx(0.7)}


def test_without_photos_to_choose_with_there_is_no_clean_number() -> None:
    rest = np.full((1, 1, 2, 19), np.nan)
    with pytest.raises(UserError, match="A sample drew all positives"):
        summarise(np.zeros((1, 1, 2, 19)), rest, LowShotConfig(ks=(1,), samples=1))


def test_samples_that_draw_all_photos_are_refused(voc: Path, evaluated: Callable) -> None:
    with pytest.raises(UserError, match=r"^A sample drew all positives, so none is left .*Use smaller ks\.$"):
        evaluated(voc, LowShotConfig(workers=0, ks=(16,), samples=1))


@pytest.mark.photos
def test_a_third_of_real_voc_photos_are_classified_well_above_chance(
    workspace: Workspace, photos: Path, tmp_path: Path
) -> None:
    from orl_explorer.train.encoders import weights
    from tests.named import evaluate

    real, cut = photos / "VOCdevkit" / "VOC2007", tmp_path / "VOC2007"
    (cut / "ImageSets" / "Main").mkdir(parents=True)
    (cut / "JPEGImages").symlink_to(real / "JPEGImages")
    for split in ("train", "val"):
        for file in (real / "ImageSets" / "Main").glob(f"*_{split}.txt"):
            (cut / "ImageSets" / "Main" / file.name).write_text(
                "".join(line + "\n" for line in file.read_text().splitlines()[::3])
            )
    weights.add(workspace, "starter", "starter")
    run = add_run(workspace.store, Run(kind="evaluate", name="x", params={})).id
    config = SVMConfig(train_split="train", test_split="val", bootstrap=0)
    row = evaluate(workspace, "starter", str(cut), config, run_id=run)
    assert 0.6 < row.summary["map"] < 0.95
