"""Vectors in a few bytes against the vectors themselves."""

from __future__ import annotations

import numpy as np

from orl_explorer.orl import compact
from orl_explorer.orl.compact import Components, products, rows_to_learn_from


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def flat(count: int, wide: int, inner: int, seed: int = 0) -> np.ndarray:
    """Unit vectors that lie close to a space of few dimensions, as features do."""
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((count, inner)) @ rng.standard_normal((inner, wide)))


def test_codes_of_two_directions() -> None:
    sample = np.array([[3, 0, 1], [-3, 0, 1], [0, 1, 1], [0, -1, 1]], np.float32)
    found = Components.of(sample, 2)
    assert np.allclose(found.mean, [0, 0, 1])
    assert np.allclose(np.abs(found.axes), [[1, 0], [0, 1], [0, 0]], atol=1e-6)
    assert np.allclose(found.scale, [3 / 127, 1 / 127])
    signs = np.sign(found.axes[[0, 1], [0, 1]])
    assert (found.codes(np.array([[1.5, -1, 1], [9, 0.002, 1]], np.float32)) * signs).tolist() == [[64, -127], [127, 0]]
    query = found.query(np.array([1, 2, 7], np.float32))
    assert np.allclose(query * signs, [3 / 127, 2 / 127])


def test_products_are_cosines_less_the_same_number() -> None:
    vectors = flat(3000, 40, 6)
    found = Components.of(vectors, 6)
    near = products(found.codes(vectors), found.query(vectors[7]))
    assert np.abs(near + vectors[7] @ found.mean - vectors @ vectors[7]).max() < 0.01


def test_products_do_not_depend_on_blocks_and_threads(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    codes, query = rng.integers(-127, 128, (1001, 8)).astype(np.int8), rng.standard_normal(8).astype(np.float32)
    plain = [sum(float(c) * float(q) for c, q in zip(row, query, strict=True)) for row in codes.tolist()]
    for block, cores in ((8, 3), (8 * 1000, 2), (2**18, 1)):
        monkeypatch.setattr(compact, "AT_ONCE", block)
        monkeypatch.setattr(compact.os, "cpu_count", lambda cores=cores: cores)
        assert np.allclose(products(codes, query), plain, atol=1e-3)
    assert products(codes[:0], query).shape == (0,)


def test_equal_vectors_have_equal_codes() -> None:
    vectors = unit(np.ones((10, 5)))
    found = Components.of(vectors, 3)
    assert not found.codes(vectors).any()


def test_what_is_learned_from_is_drawn_by_a_seed() -> None:
    assert rows_to_learn_from(5).tolist() == [0, 1, 2, 3, 4]
    some = rows_to_learn_from(200_000)
    assert (len(some), len(np.unique(some)), some.tolist() == sorted(some)) == (50_000, 50_000, True)
    assert rows_to_learn_from(200_000).tolist() == some.tolist()
