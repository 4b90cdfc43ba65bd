"""Attention maps on feature maps small enough to work out by hand."""

from __future__ import annotations

import numpy as np

from orl.attention import activation_norm, cosine_map, stretched


def test_the_activation_map_is_the_norm_over_channels_between_0_and_1() -> None:
    features = np.array([[[3.0, 0.0], [0.0, 0.6]], [[4.0, 0.0], [2.5, 0.8]]])  # norms 5, 0, 2.5, 1
    np.testing.assert_allclose(activation_norm(features), [[1.0, 0.0], [0.5, 0.2]], atol=1e-6)


def test_a_map_that_is_the_same_everywhere_shows_nothing() -> None:
    assert activation_norm(np.ones((3, 2, 2))).tolist() == [[0, 0], [0, 0]]


def test_the_cosine_map_compares_every_location_with_an_embedding() -> None:
    features = np.array([[[2.0, 0.0, -1.0]], [[0.0, 5.0, 0.0]]])
    found = cosine_map(features, np.array([0.6, 0.8]))
    np.testing.assert_allclose(found, [[0.6, 0.8, 0.0]], atol=1e-6)  # the last is -0.6, and clipped


def test_a_location_without_any_activation_resembles_nothing() -> None:
    assert cosine_map(np.zeros((2, 1, 2)), np.array([1.0, 0.0])).tolist() == [[0.0, 0.0]]


def test_a_map_on_a_scale_of_its_own_reaches_from_0_to_1() -> None:
    np.testing.assert_allclose(stretched(np.array([[0.5, 0.6], [0.9, 0.7]])), [[0, 0.25], [1, 0.5]], atol=1e-6)
