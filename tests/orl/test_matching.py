"""Nearest images and most similar RoI pairs, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orl_explorer.orl.matching import (
    Pairs,
    largest,
    measure_pairs,
    nearest_neighbors,
    nearest_to,
    pair_count,
    top_pairs,
)

# Small whole numbers: every product is exact, and equal similarities are common.
rows = st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=12)


def slow_pairs(
    query: np.ndarray, key: np.ndarray, ratio: float, least: float = -np.inf
) -> list[tuple[int, int, float]]:
    every = [(i, j, float(sum(q * query[i]))) for i in range(len(query)) for j, q in enumerate(key)]
    every = [pair for pair in every if pair[2] >= least]
    every.sort(key=lambda pair: -pair[2])  # stable: ties stay row by row
    return every[: max(1, int(ratio * len(query)))]


def found_pairs(query: np.ndarray, key: np.ndarray, ratio: float, least: float = -99.0) -> list[tuple[int, int, float]]:
    best = top_pairs(query.astype(np.float32), key.astype(np.float32), ratio, least)
    return list(zip(best.query.tolist(), best.key.tolist(), best.similarity.tolist(), strict=True))


def unit(features: np.ndarray) -> np.ndarray:
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("ratio", "rois", "expected"),
    [
        (0.1, 100, 10),
        (0.1, 99, 9),
        (0.1, 10, 1),
        (0.1, 9, 1),  # at least one
        (0.1, 1, 1),
        (1.0, 7, 7),
        (0.29, 100, 28),  # 0.29 * 100 is 28.999… in floating point, and int() truncates as the reference does
        (0.05, 50, 2),
    ],
)
def test_the_number_of_pairs_is_a_share_of_the_query_rois(ratio: float, rois: int, expected: int) -> None:
    assert pair_count(ratio, rois) == expected


def test_the_most_similar_pairs_come_first() -> None:
    query = np.array([[1.0, 0.0], [0.0, 1.0]])
    key = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]])
    # M = [[0.6, 1.0, 0.8], [0.8, 0.0, 0.6]]
    found = found_pairs(query, key, 1.0)
    assert [pair[:2] for pair in found] == [(0, 1), (0, 2)]  # a RoI may occur in several
    assert [pair[2] for pair in found] == pytest.approx([1.0, 0.8])


def test_a_pair_has_its_margin_over_the_next_best_and_knows_whether_the_way_back_leads_home() -> None:
    query = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    key = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]], np.float32)
    # M = [[0.6, 1.0, 0.8], [0.8, 0.0, 0.6]]; three pairs for N = 1.5, written as a share of two RoIs
    found = top_pairs(query, key, 1.5)
    assert list(zip(found.query.tolist(), found.key.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0)]
    assert found.margin.tolist() == pytest.approx([0.2, -0.2, 0.2])
    assert found.cycle.tolist() == [True, True, True]
    back = top_pairs(key, query, 1.0)  # of key RoI 2 and query RoI 0, the other way round
    assert list(zip(back.query.tolist(), back.key.tolist(), strict=True)) == [(1, 0), (0, 1), (2, 0)]
    assert back.cycle.tolist() == [True, True, False]  # query RoI 0 is nearer to key RoI 1
    assert back.margin.tolist() == pytest.approx([1.0, 0.2, 0.2])


def test_a_way_back_that_is_worse_by_a_hair_does_not_lead_home() -> None:
    query = np.array([[1.0, 0.0], [0.9995, 0.0]], np.float32)  # not of unit length: similarities worked out by eye
    found = top_pairs(query, np.array([[1.0, 0.0]], np.float32), 1.0)
    assert found.similarity.tolist() == [1.0, np.float32(0.9995)]
    assert found.cycle.tolist() == [True, False]


def test_a_neighbour_with_one_roi_has_no_margin() -> None:
    found = top_pairs(np.eye(2, dtype=np.float32), np.array([[1.0, 0.0]], np.float32), 1.0)
    assert np.isnan(found.margin).all()
    assert found.cycle.tolist() == [True, False]


@given(rows, rows, st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_top_pairs_equal_the_slow_loop_ties_included(query: list, key: list, ratio: float) -> None:
    assert found_pairs(np.array(query), np.array(key), ratio) == slow_pairs(np.array(query), np.array(key), ratio)


@given(rows, rows, st.integers(-3, 12))
def test_no_pair_is_less_similar_than_asked_for(query: list, key: list, least: int) -> None:
    q, k = np.array(query), np.array(key)
    assert found_pairs(q, k, 1.0, least) == slow_pairs(q, k, 1.0, least)


def test_the_number_of_pairs_is_limited_by_the_entries_of_the_matrix() -> None:
    assert len(top_pairs(np.ones((4, 2), np.float32), np.ones((1, 2), np.float32), 1.0)) == 4


def slow_neighbors(features: np.ndarray, ids: np.ndarray, k: int) -> list[list[int]]:
    found = []
    for i in range(len(ids)):
        others = [(-float(features[i] @ features[j]), int(ids[j])) for j in range(len(ids)) if j != i]
        found.append([other for _, other in sorted(others)[:k]])
    return found


@pytest.mark.parametrize("block", [7, 1024])
def test_nearest_neighbours_equal_brute_force(block: int) -> None:
    features = unit(np.random.default_rng(0).normal(size=(50, 8)))
    ids = np.arange(50) * 3 + 5
    found = nearest_neighbors(features, ids, 6, block=block)
    assert found.ids.tolist() == slow_neighbors(features, ids, 6)
    by_hand = [[float(features[i] @ features[(n - 5) // 3]) for n in found.ids[i]] for i in range(50)]
    np.testing.assert_allclose(found.similarity, by_hand, atol=1e-6)


def test_only_the_image_itself_is_dropped_and_its_duplicates_stay() -> None:
    features = unit(np.array([[1, 0], [1, 0], [0, 1], [1, 0.2]]))
    found = nearest_neighbors(features, np.array([10, 20, 30, 40]), 2)
    assert found.ids.tolist() == [[20, 40], [10, 40], [40, 10], [10, 20]]
    np.testing.assert_allclose(found.similarity[:2, 0], 1.0, atol=1e-6)
    assert found.similarity.max() <= 1.0


def test_the_nearest_of_one_image_leave_out_itself_and_nothing_for_an_image_outside() -> None:
    features, ids = unit(np.array([[1, 0], [1, 0], [0, 1], [1, 0.2]])), np.array([10, 20, 30, 40])
    assert nearest_to(features, ids, 20, 3).ids.tolist() == [10, 40, 30]
    found = nearest_to(features, ids, 25, 3, own=np.array([0.0, 1.0], np.float32))
    assert found.ids.tolist() == [30, 40, 10]
    assert found.similarity.tolist() == pytest.approx([1, 0.2 / 1.04**0.5, 0])
    assert nearest_to(features, ids, 25, 9, own=features[0]).ids.tolist() == [10, 20, 40, 30]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_equally_similar_images_come_in_the_order_of_their_ids(k: int) -> None:
    features = np.repeat(np.array([[1, 0], [0, 1]], np.float32), 5, axis=0)
    ids = np.arange(10)
    assert nearest_neighbors(features, ids, k).ids.tolist() == slow_neighbors(features, ids, k)


@given(st.lists(st.integers(0, 3), min_size=3, max_size=30), st.integers(1, 29), st.sampled_from([1, 4, 1024]))
def test_among_many_duplicates_neighbours_equal_brute_force(kinds: list[int], k: int, block: int) -> None:
    features = np.eye(4, dtype=np.float32)[kinds]
    ids = np.arange(len(kinds))
    k = min(k, len(kinds) - 1)
    assert nearest_neighbors(features, ids, k, block=block).ids.tolist() == slow_neighbors(features, ids, k)


@pytest.mark.parametrize("k", [0, 5, 6])
def test_a_number_of_neighbours_that_does_not_fit_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"K = {k} neighbours need at least {k + 1} images. There are 5"):
        nearest_neighbors(np.eye(5, dtype=np.float32), np.arange(5), k)


def test_pairs_that_somebody_else_chose_are_measured_like_our_own() -> None:
    rng = np.random.default_rng(5)
    query, key = unit(rng.normal(size=(7, 4))), unit(rng.normal(size=(5, 4)))
    own = top_pairs(query, key, 1.0)
    again = measure_pairs(query, key, own.query[::-1], own.key[::-1])
    for name in ("query", "key", "similarity", "margin", "cycle"):
        np.testing.assert_array_equal(getattr(again, name), getattr(own, name)[::-1])
    alone = measure_pairs(query, key[:1], np.array([3, 3]), np.array([0, 0]))
    assert alone.similarity.tolist() == [float(query[3] @ key[0])] * 2
    assert np.isnan(alone.margin).all()
    assert len(measure_pairs(query, key, np.array([], int), np.array([], int))) == 0


def test_a_bonus_chooses_and_orders_pairs_but_is_no_part_of_their_similarity() -> None:
    query = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    key = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]], np.float32)
    # M = [[0.6, 1.0, 0.8], [0.8, 0.0, 0.6]]; with the bonus [[0.6, 1.0, 1.3], [0.8, 1.2, 0.6]]
    bonus = np.array([[0.0, 0.0, 0.5], [0.0, 1.2, 0.0]], np.float32)
    found = top_pairs(query, key, 1.0, bonus=bonus)
    assert list(zip(found.query.tolist(), found.key.tolist(), strict=True)) == [(0, 2), (1, 1)]
    assert found.similarity.tolist() == pytest.approx([0.8, 0.0])
    assert found.margin.tolist() == pytest.approx([-0.2, -0.8])
    alike = top_pairs(query, key, 1.0, min_similarity=0.1, bonus=bonus)  # M of (1, 1) is 0, whatever its bonus
    assert list(zip(alike.query.tolist(), alike.key.tolist(), strict=True)) == [(0, 2), (0, 1)]


def test_indices_of_pairs_that_somebody_else_chose_become_those_of_our_own() -> None:
    chosen = np.array([1, 0], np.int16)
    found = measure_pairs(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), chosen, chosen)
    assert (found.query.dtype, found.key.dtype) == (np.int64, np.int64)
    assert found.similarity.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("block", [10, 1024])
def test_a_tie_wider_than_any_first_look_is_followed_to_its_end_in_every_block(block: int) -> None:
    features = np.repeat(np.array([[1, 0], [0, 1]], np.float32), [5, 35], axis=0)
    ids = np.arange(40)
    assert nearest_neighbors(features, ids, 3, block=block).ids.tolist() == slow_neighbors(features, ids, 3)


# Consistent and distinct pairs --------------------------------------------------------------------------------


def test_inconsistent_pairs_take_no_place_if_only_consistent_ones_are_kept() -> None:
    query = np.array([[1, 0], [0.96, 0.28], [0, 1]], np.float32)
    key = np.array([[1, 0], [0.28, 0.96]], np.float32)
    # M: 1 and 0.28; 0.96 and 0.5376; 0 and 0.96. The way back from key 0 ends at query 0, from key 1 at query 2.
    two = 0.67  # of three
    assert named(top_pairs(query, key, two)) == [(0, 0), (1, 0)]
    assert named(top_pairs(query, key, two, consistent_only=True)) == [(0, 0), (2, 1)]
    assert named(top_pairs(query, key, 1.0, consistent_only=True)) == [(0, 0), (2, 1)]
    assert top_pairs(query, key, 1.0, consistent_only=True).cycle.tolist() == [True, True]
    assert named(top_pairs(query, key, 1.0, 0.97, consistent_only=True)) == [(0, 0)]


def named(found: Pairs) -> list[tuple[int, int]]:
    return list(zip(found.query.tolist(), found.key.tolist(), strict=True))


def test_pairs_of_nearly_the_same_rois_take_one_place() -> None:
    matrix = np.array([[0.9, 0.8, 0.1], [0.7, 0.6, 0.5], [0.4, 0.3, 0.2]], np.float32)
    queries = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)  # 0 and 1 are alike
    keys = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    found = largest(matrix, 1.0, alike=(queries, keys))
    # 0.9 covers 0.8, 0.7 and 0.6; 0.5 has another key; 0.4 has another query and covers 0.3.
    assert found.similarity.tolist() == pytest.approx([0.9, 0.5, 0.4])
    assert named(found) == [(0, 0), (1, 2), (2, 0)]
    assert len(largest(matrix, 0.4, alike=(queries, keys))) == 1
    assert largest(matrix, 1.0, 0.45, alike=(queries, keys)).similarity.tolist() == pytest.approx([0.9, 0.5])


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_distinct_and_consistent_pairs_equal_the_slow_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 9, 2)
    matrix = rng.choice(np.linspace(-1, 1, 9), (rows, columns)).astype(np.float32)  # with equal entries
    bonus = rng.choice([0, 0.25, 0.5], (rows, columns)).astype(np.float32) if rng.random() < 0.5 else None
    alike = tuple(np.eye(n, dtype=bool) | (lambda m: m | m.T)(rng.random((n, n)) < 0.2) for n in (rows, columns))
    ratio, least, consistent = rng.choice([0.1, 0.5, 1.0, 3.0]), rng.choice([-1.0, 0.0]), bool(rng.random() < 0.5)

    worth = matrix if bonus is None else matrix + bonus
    order = sorted(np.ndindex(rows, columns), key=lambda place: (-worth[place], place))
    kept: list[tuple[int, int]] = []
    for q, k in order:
        allowed = matrix[q, k] >= least and (not consistent or matrix[q, k] == matrix[:, k].max())
        new = not any(alike[0][q, other] and alike[1][k, its] for other, its in kept)
        if allowed and new and len(kept) < max(1, int(ratio * rows)):
            kept.append((q, k))
    found = largest(matrix, ratio, least, bonus, consistent_only=consistent, alike=alike)
    assert named(found) == kept
    assert found.similarity.tolist() == [matrix[place] for place in kept]


def test_without_alike_rois_all_pairs_are_distinct() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.random((30, 40), np.float32)
    nobody = np.eye(30, dtype=bool), np.eye(40, dtype=bool)
    plain, found = largest(matrix, 1.0), largest(matrix, 1.0, alike=nobody)
    for name in ("query", "key", "similarity", "margin", "cycle"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(found, name))


# Pairs of a minimum worth, and pairs that cover the photo -------------------------------------------------------


def test_pairs_below_the_minimum_worth_are_left_out() -> None:
    matrix, bonus = np.array([[0.9, 0.5], [0.4, 0.8]], np.float32), np.array([[0, 0], [1, -0.5]], np.float32)
    assert named(largest(matrix, 1.0, bonus=bonus, min_worth=0.85)) == [(1, 0), (0, 0)]
    assert named(largest(matrix, 2.0, bonus=bonus, min_worth=0.5)) == [(1, 0), (0, 0), (0, 1)]
    assert len(largest(matrix, 2.0, min_worth=1.0)) == 0


def test_further_pairs_cover_what_the_best_leave_the_largest_part_first() -> None:
    matrix = np.array([[0.9, 0.8], [0.1, 0.7], [0.6, 0.2], [0.5, 0.4], [0.3, 0.35]], np.float32)
    cells = np.zeros((5, 40), bool)
    cells[0, :10] = True
    cells[1, 5:15] = True  # adds 5
    cells[2, 10:38] = True  # adds 28, and leaves nothing to RoI 1
    cells[3, 36:39] = True  # then adds 1, a 40th
    cells[4, 38:40] = True  # then adds 2, a 20th
    assert named(largest(matrix, 0.2, cells=cells)) == [(0, 0), (2, 0), (4, 1)]
    assert named(largest(matrix, 0.2, min_worth=2.0, cells=cells)) == [(2, 0), (0, 0), (4, 1)]
    assert named(largest(matrix, 0.2, 0.4, cells=cells)) == [(0, 0), (2, 0)]  # no entry of RoI 4 is so similar


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_pairs_that_cover_the_photo_equal_the_slow_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 9, 2)
    matrix = rng.choice(np.linspace(-1, 1, 9), (rows, columns)).astype(np.float32)
    cells = rng.random((rows, 12)) < 0.2
    alike = None
    if rng.random() < 0.5:
        alike = tuple(np.eye(n, dtype=bool) | (lambda m: m | m.T)(rng.random((n, n)) < 0.2) for n in (rows, columns))
    rules = {"min_worth": rng.choice([-np.inf, 0.5]), "consistent_only": bool(rng.random() < 0.3), "alike": alike}
    best = named(largest(matrix, 0.3, -0.5, **rules))
    kept, covered = list(best), {cell for q, _ in best for cell in np.flatnonzero(cells[q])}
    while True:
        open_to: dict[int, list[int]] = {}
        for q, k in np.ndindex(rows, columns):
            consistent = not rules["consistent_only"] or matrix[q, k] == matrix[:, k].max()
            like = alike is not None and any(alike[0][q, other] and alike[1][k, its] for other, its in kept)
            if matrix[q, k] >= -0.5 and consistent and not like and (q, k) not in kept:
                open_to.setdefault(q, []).append(k)
        adds = {q: len({*np.flatnonzero(cells[q])} - covered) for q in open_to}
        q = max(adds, key=lambda q: (adds[q], -q), default=None)
        if q is None or not adds[q]:  # a cell is more than a twentieth
            break
        kept.append((q, max(open_to[q], key=lambda k: (matrix[q, k], -k))))
        covered |= {*np.flatnonzero(cells[q])}
    assert named(largest(matrix, 0.3, -0.5, cells=cells, **rules)) == kept


# Neighbours without near-duplicates ----------------------------------------------------------------------------


@pytest.mark.parametrize("block", [3, 8192])
def test_of_a_group_of_near_duplicates_one_image_is_a_neighbour_and_never_of_its_own_group(block: int) -> None:
    rng = np.random.default_rng(2)
    features = unit(rng.standard_normal((9, 4)))
    ids = np.arange(10, 100, 10)
    standing = np.array([0, 4, 2, 4, 4, 5, 0, 7, 8])  # 1, 3 and 4 are nearly the same, and 0 and 6
    found = nearest_neighbors(features, ids, 3, standing=standing, block=block)
    cosines = features @ features.T
    for i in range(9):
        others = [j for j in (0, 2, 4, 5, 7, 8) if j != standing[i]]
        expected = sorted(others, key=lambda j: -cosines[i, j])[:3]
        assert found.ids[i].tolist() == [int(ids[j]) for j in expected]
        assert found.similarity[i] == pytest.approx(cosines[i, expected], abs=1e-6)
    with pytest.raises(ValueError, match="at least 7 images. There are 6"):
        nearest_neighbors(features, ids, 6, standing=standing)
    everyone = nearest_neighbors(features, ids, 3, standing=np.arange(9), block=block)
    assert everyone.ids.tolist() == nearest_neighbors(features, ids, 3).ids.tolist()
