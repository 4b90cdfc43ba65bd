"""Linear SVMs: fits in the span of the rows against scikit-learn alone, and low-shot samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from orl_explorer.orl.measure.svm import COSTS, cross_validate, decide, draw_low_shot, fit_svm, in_span

pytestmark = pytest.mark.filterwarnings("ignore:Liblinear failed to converge")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """40 rows of 90 numbers of unit length, the first half shifted towards one side."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(40, 90)).astype(np.float32)
    found[:20, :4] += 1.0
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.where(np.arange(40) < 20, 1, -1)


def plainly(cost: float) -> LinearSVC:
    return LinearSVC(
        C=cost,
        class_weight={1: 2, -1: 1},
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        tol=1e-4,
        max_iter=2000,
        random_state=0,
    )


def test_the_costs_are_those_of_the_protocol() -> None:
    assert len(COSTS) == 19
    assert COSTS[:3] == (1.0, 10.0, 100.0)
    assert (COSTS[3], COSTS[-1]) == (1 / 16, 1 / 524_288)


def test_coordinates_in_the_span_keep_every_product(rows: np.ndarray) -> None:
    coordinates, basis = in_span(rows)
    assert coordinates.shape == (40, 40)
    assert basis is not None and basis.shape == (90, 40)
    np.testing.assert_allclose(coordinates @ coordinates.T, rows.astype(np.float64) @ rows.T.astype(np.float64))
    np.testing.assert_allclose(rows @ basis, coordinates, atol=1e-12)
    narrow, none = in_span(rows[:, :30])
    assert none is None
    np.testing.assert_array_equal(narrow, rows[:, :30])


@pytest.mark.parametrize("cost", [0.5**4, 1.0, 100.0])
def test_an_svm_in_the_span_scores_as_one_on_all_numbers(rows: np.ndarray, labels: np.ndarray, cost: float) -> None:
    others = np.random.default_rng(1).normal(size=(25, 90))
    coordinates, basis = in_span(rows)
    assert basis is not None
    found = decide(others @ basis, fit_svm(coordinates, labels, cost, seed=0))
    expected = plainly(cost).fit(rows.astype(np.float64), labels).decision_function(others)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_costs_are_validated_as_scikit_learn_does(rows: np.ndarray, labels: np.ndarray) -> None:
    found = cross_validate(rows.astype(np.float64), labels, seed=0)
    for cost, mean in zip(COSTS, found, strict=True):
        each = cross_val_score(plainly(cost), rows.astype(np.float64), labels, cv=3, scoring="average_precision")
        assert mean == pytest.approx(each.mean(), abs=1e-12)


def test_several_machines_score_at_once(rows: np.ndarray, labels: np.ndarray) -> None:
    machines = np.stack([fit_svm(rows, labels, cost, 0) for cost in COSTS[:3]])
    together = decide(rows, machines)
    for i in range(3):
        np.testing.assert_allclose(together[:, i], decide(rows, machines[i]), atol=1e-12)


def test_a_sample_has_k_positives_and_nineteen_times_as_many_others() -> None:
    labels = np.concatenate([np.ones(10), np.zeros(5), -np.ones(100)]).astype(np.int8)
    drawn = draw_low_shot(labels, 3, np.random.default_rng(0))
    assert (labels[drawn] == 1).sum() == 3
    assert (labels[drawn] == -1).sum() == 57
    assert len(np.unique(drawn)) == 60
    np.testing.assert_array_equal(drawn, draw_low_shot(labels, 3, np.random.default_rng(0)))
    assert set(drawn) != set(draw_low_shot(labels, 3, np.random.default_rng(1)))


def test_a_sample_takes_all_there_are_of_too_few() -> None:
    labels = np.concatenate([np.ones(2), -np.ones(50)]).astype(np.int8)
    drawn = draw_low_shot(labels, 4, np.random.default_rng(0))
    assert (labels[drawn] == 1).sum() == 2
    assert (labels[drawn] == -1).sum() == 50


def test_as_many_rows_as_numbers_stay_as_they_are(rows: np.ndarray) -> None:
    square, none = in_span(rows[:, :40])
    assert none is None
    np.testing.assert_array_equal(square, rows[:, :40])


def test_an_svm_that_does_not_converge_takes_the_steps_of_the_protocol(rows: np.ndarray) -> None:
    features = rows[:, :5].astype(np.float64) * 100  # of long rows of two kinds that lie in each other
    kinds = np.where(np.arange(40) % 2, 1, -1)
    expected = plainly(100.0).fit(features, kinds)
    assert expected.n_iter_ == 2000
    np.testing.assert_array_equal(fit_svm(features, kinds, 100.0, seed=0)[:-1], expected.coef_[0])
