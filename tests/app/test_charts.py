"""Thinning and comparing numbers before they are drawn, and the layout of a lineage."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.app.explorer.charts import NOTHING, Thinned, coarser, duration, setting_differences, thin
from orl_explorer.app.explorer.graph import Spot, layered, related


def rows(curve: Thinned) -> list[tuple[int, int, float, float, float]]:
    """(step, count, mean, low, high)."""
    columns = (curve.step, curve.count, curve.mean, curve.low, curve.high)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def test_few_numbers_are_drawn_as_they_are() -> None:
    assert rows(thin(NOTHING, [1, 2, 5], [3.0, 1.0, 2.0])) == [(1, 1, 3, 3, 3), (2, 1, 1, 1, 1), (5, 1, 2, 2, 2)]


def test_many_are_put_into_buckets_that_keep_their_extremes() -> None:
    curve = thin(NOTHING, range(8), [0, 10, 2, 4, 8, 6, 1, 3], points=4)
    assert curve.stride == 2
    assert rows(curve) == [(1, 2, 5, 0, 10), (3, 2, 3, 2, 4), (5, 2, 7, 6, 8), (7, 2, 2, 1, 3)]


def test_a_full_bucket_stays_as_it_is_while_a_curve_grows() -> None:
    values = np.random.default_rng(0).normal(size=64)
    curve, before = NOTHING, NOTHING
    for step in range(64):
        before, curve = curve, thin(curve, [step], [values[step]], points=16)
        if curve.stride == before.stride:
            full = [row for row in rows(before) if (row[0] + 1) % curve.stride == 0]
            assert rows(curve)[: len(full)] == full
    assert (curve.stride, len(curve.step)) == (4, 16)


@pytest.mark.parametrize("cuts", [[1000], [1, 999], [137, 500, 363], [10] * 100])
def test_thinning_in_parts_is_thinning_at_once(cuts: list[int]) -> None:
    steps, values = np.arange(1, 1001), np.random.default_rng(1).normal(size=1000)
    whole = thin(NOTHING, steps.tolist(), values.tolist(), points=100)
    curve, at = NOTHING, 0
    for count in cuts:
        curve = thin(curve, steps[at : at + count].tolist(), values[at : at + count].tolist(), points=100)
        at += count
    assert curve.stride == whole.stride == 16
    for name in ("step", "count", "low", "high"):
        np.testing.assert_array_equal(getattr(curve, name), getattr(whole, name))
    np.testing.assert_allclose(curve.mean, whole.mean, rtol=1e-12)
    # against the obvious way
    for start, step, mean in zip(range(0, 1001, 16), whole.step, whole.mean, strict=True):
        own = values[(steps >= start) & (steps < start + 16)]
        assert mean == pytest.approx(own.mean())
        assert step == min(start + 15, 1000)


def test_a_metric_of_some_steps_only_loses_nothing_to_the_stride_of_many() -> None:
    curve = thin(NOTHING, range(231, 231 * 51, 231), np.arange(50.0).tolist(), points=100)
    assert curve.stride == 128
    assert curve.mean.tolist() == list(range(50))


def test_a_coarser_curve_keeps_mean_and_extremes() -> None:
    curve = thin(NOTHING, range(4), [1, 3, 5, 9])
    assert rows(coarser(curve, 2)) == [(1, 2, 2, 1, 3), (3, 2, 7, 5, 9)]
    assert rows(coarser(curve, 4)) == rows(curve)
    assert rows(coarser(NOTHING, 4)) == []


def test_only_settings_that_differ_are_told_apart() -> None:
    assert setting_differences(
        {
            "a": {"epochs": 10, "rate": 0.2, "seed": 0, "temperature": 0.5},
            "b": {"epochs": 20, "rate": 0.2, "seed": 0},
        }
    ) == {"epochs": ["10", "20"], "temperature": ["0.5", "–"]}
    assert setting_differences({"a": {"seed": 0}, "b": {"seed": 0}}) == {}
    assert setting_differences({"a": {"rate": 1e-05}, "b": {"rate": 1e-4}}) == {"rate": ["1e-05", "0.0001"]}


def test_durations_read_as_people_say_them() -> None:
    said = [duration(s) for s in (0.2, 89, 600, 7200, 864_000, 86_400 * 200, 86_400 * 800)]
    assert said == ["1 s", "89 s", "10 min", "2.0 h", "10 days", "7 months", "2 years"]


def test_a_chain_runs_from_left_to_right() -> None:
    assert layered("abc", [("a", "b"), ("b", "c")]) == {"a": Spot(0, 0), "b": Spot(1, 0), "c": Spot(2, 0)}


def test_a_node_stands_after_the_last_of_its_parents_and_near_their_middle() -> None:
    spots = layered("abcde", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "e"), ("c", "e")])
    assert spots == {
        "a": Spot(0, 0),
        "b": Spot(1, 0),
        "c": Spot(1, 1),
        "d": Spot(2, 0.5),
        "e": Spot(2, 1.5),
    }


def test_no_two_nodes_of_a_layer_overlap() -> None:
    nodes = list(range(100))
    edges = [(n // 3, n) for n in range(1, 100)]
    by_layer: dict[int, list[float]] = {}
    for spot in layered(nodes, edges).values():
        by_layer.setdefault(spot.layer, []).append(spot.row)
    assert sum(map(len, by_layer.values())) == 100
    assert all(np.diff(sorted(found)).min(initial=1) >= 1 for found in by_layer.values())


def test_a_circle_and_an_edge_from_nowhere_do_no_harm() -> None:
    spots = layered("ab", [("a", "b"), ("b", "a"), ("x", "a")])
    assert set(spots) == {"a", "b"}


def test_ancestry_and_descent_leave_siblings_out() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "x"), ("x", "y"), ("c", "d")]
    assert related("b", edges) == {"a", "b", "c", "d"}
