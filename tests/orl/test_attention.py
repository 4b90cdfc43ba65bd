"""Attention maps of small feature maps, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from orl_explorer.orl.attention import activation_norm, attention_map, cosine_map, enlarged, input_size, stretched
from orl_explorer.orl.reading import PLAIN


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


class Painted:
    """An encoder whose map is the colours of the photo, with one cell per 32 pixels."""

    reading = PLAIN

    def feature_map(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[16::32, 16::32].transpose(2, 0, 1).astype(np.float32)

    def embed_means(self, pixels: np.ndarray) -> np.ndarray:
        mean = pixels.astype(np.float32).mean((1, 2))
        return mean / np.linalg.norm(mean)


@pytest.fixture
def halves() -> Image.Image:
    """A photo of 800 x 400, red on the left and of a weaker blue on the right."""
    photo = Image.new("RGB", (800, 400), (200, 0, 0))
    photo.paste((0, 0, 100), (400, 0, 800, 400))
    return photo


def test_a_photo_is_seen_in_its_aspect_at_sides_that_the_network_divides_evenly() -> None:
    assert input_size(800, 400) == (448, 224)
    assert input_size(375, 500) == (320, 448)  # 336 is ten and a half cells, rounded to the even ten
    assert input_size(5000, 10) == (448, 32)


def test_the_activation_map_of_a_photo_is_high_where_the_network_responds(halves: Image.Image) -> None:
    found = attention_map(Painted(), halves)  # type: ignore[arg-type]
    assert found.shape == (7, 14)
    assert (found[:, :7] == 1).all()
    assert (found[:, 7:] == 0).all()


def test_the_cosine_map_is_to_the_photo_or_to_one_of_its_rois(halves: Image.Image) -> None:
    # The photo's pooled feature is (100, 0, 50): cosine 2/sqrt 5 to red, 1/sqrt 5 to blue.
    found = attention_map(Painted(), halves, "cosine")  # type: ignore[arg-type]
    np.testing.assert_allclose(found[:, :7], 2 / 5**0.5, atol=1e-6)
    np.testing.assert_allclose(found[:, 7:], 1 / 5**0.5, atol=1e-6)
    roi = attention_map(Painted(), halves, "cosine", (500, 100, 200, 200))  # type: ignore[arg-type]
    np.testing.assert_allclose(roi[:, :7], 0, atol=1e-6)
    np.testing.assert_allclose(roi[:, 7:], 1, atol=1e-6)


def test_an_enlarged_map_stays_between_0_and_1() -> None:
    found = enlarged(np.array([[0.0, 1.0], [1.0, 0.0]]), 40, 30)
    assert found.shape == (30, 40)
    assert (found.min(), found.max()) == (0, 1)


def test_a_map_on_a_scale_of_its_own_reaches_from_0_to_1() -> None:
    np.testing.assert_allclose(stretched(np.array([[0.5, 0.6], [0.9, 0.7]])), [[0, 0.25], [1, 0.5]], atol=1e-6)


def test_a_photo_is_scaled_to_the_network_without_overshoot() -> None:
    class Seen(Painted):
        def feature_map(self, pixels: np.ndarray) -> np.ndarray:
            self.pixels = pixels
            return super().feature_map(pixels)

    network = Seen()
    photo = Image.fromarray(np.repeat(np.array([[50, 50, 200, 200]] * 2, np.uint8)[..., None], 3, axis=2))
    attention_map(network, photo)  # type: ignore[arg-type]
    assert network.pixels.shape == (224, 448, 3)
    assert (network.pixels.min(), network.pixels.max()) == (50, 200)


def test_a_map_is_enlarged_with_cubic_weights() -> None:
    found = enlarged(np.array([[0.0, 0.0, 1.0, 1.0]]), 8, 1)
    # A quarter of the way to the third cell: its weight is 0.2617, and that of the fourth -0.0352.
    assert found[0, 3] == pytest.approx(0.2266, abs=1e-4)
    assert found.dtype == np.float32


def test_weak_activations_and_short_embeddings_are_compared_by_direction_alone() -> None:
    features = np.array([[[0.3, 0.0]], [[0.4, 0.5]]])
    np.testing.assert_allclose(cosine_map(features, np.array([0.03, 0.04])), [[1.0, 0.8]], atol=1e-6)


def test_no_cosine_is_larger_than_1() -> None:
    features = np.random.default_rng(0).normal(size=(64, 10, 10)).astype(np.float32)
    assert max(cosine_map(features, features[:, i, i]).max() for i in range(10)) <= 1


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_maps_are_of_32_bits_whatever_the_features_are(kind: type) -> None:
    features = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(kind)
    assert activation_norm(features).dtype == np.float32
    assert cosine_map(features, features[:, 0, 0]).dtype == np.float32
