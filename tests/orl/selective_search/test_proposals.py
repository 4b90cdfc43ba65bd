"""Selective search, made reproducible."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from orl_explorer.orl.selective_search import proposals
from orl_explorer.orl.selective_search import search as compiled_search
from orl_explorer.orl.selective_search.proposals import proposal_method, selective_search


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """160 x 120: coloured blocks on noise, enough for some hundred regions."""
    rng = np.random.default_rng(0)
    image = rng.integers(90, 120, (120, 160, 3), np.uint8)
    for x, y, w, h in rng.integers(5, 60, (12, 4)):
        image[y : y + h, 2 * x : 2 * x + w] = rng.integers(0, 256, 3)
    return image


def test_the_same_seed_gives_the_same_boxes_whatever_was_searched_before(picture: np.ndarray) -> None:
    first = selective_search(picture, seed=7)
    selective_search(picture[:50, :60], seed=1)
    again = selective_search(picture, seed=7)
    assert len(first) > 20
    assert first.tolist() == again.tolist()


def test_another_seed_ranks_the_same_boxes_differently(picture: np.ndarray) -> None:
    one, two = selective_search(picture, seed=7), selective_search(picture, seed=8)
    assert one.tolist() != two.tolist()
    assert sorted(one.tolist()) == sorted(two.tolist())


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.33])
def test_boxes_lie_inside_the_image_at_every_scale_and_none_comes_twice(picture: np.ndarray, scale: float) -> None:
    boxes = selective_search(picture, seed=1, scale=scale)
    assert boxes.dtype == np.int16
    assert len(boxes) > 5
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 160).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 120).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_boxes_of_a_smaller_search_are_mapped_back_to_the_image(picture: np.ndarray) -> None:
    boxes = selective_search(picture, seed=1, scale=0.5)
    assert boxes[:, 2].max() > 120  # one covers most of the 160 pixels, not of 80


def test_the_colours_are_taken_as_rgb() -> None:
    # Red on green and blue on green merge differently only if the channels are told apart: the search must
    # be given BGR, so turning the channels round must be seen.
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    image[:32, :, 0] = 255
    image[32:, :, 2] = 40
    assert selective_search(image, 1).tolist() != selective_search(image[..., ::-1].copy(), 1).tolist()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)])
def test_an_image_of_a_few_pixels_proposes_nothing_or_boxes_inside_it(size: tuple[int, int]) -> None:
    boxes = selective_search(np.zeros((*size, 3), np.uint8), seed=0)
    assert boxes.shape[1:] == (4,)
    assert (boxes[:, 0] + boxes[:, 2] <= size[1]).all()
    assert (boxes[:, 1] + boxes[:, 3] <= size[0]).all()


def test_the_name_of_a_method_tells_the_scale() -> None:
    assert proposal_method() == "selective-search-fast@1"
    assert proposal_method(0.5) == "selective-search-fast@0.5"
    assert proposal_method(0.33) != proposal_method(0.3)


def test_the_name_of_a_method_tells_the_least_size_of_first_regions_unless_it_is_the_papers() -> None:
    assert proposal_method(1.0, 100) == "selective-search-fast@1"
    assert proposal_method(0.5, 25) == "selective-search-fast@0.5/25"


def test_smaller_first_regions_give_more_boxes(picture: np.ndarray) -> None:
    assert len(selective_search(picture, 1, segment_size=25)) > len(selective_search(picture, 1))


class Search:
    """A substitute for a search: keeps its input and finds given boxes."""

    def __init__(self, boxes: list[list[int]]) -> None:
        self.boxes = boxes
        self.picture = np.empty(0)
        self.settings: tuple[int, ...] = ()

    def __call__(self, picture: np.ndarray, *settings: int) -> np.ndarray:
        self.picture, self.settings = picture, settings
        return np.array(self.boxes, np.int64).reshape(-1, 4)


def searched(monkeypatch: pytest.MonkeyPatch, image: np.ndarray, scale: float, search: Search) -> list[list[int]]:
    monkeypatch.setattr(proposals, "is_compiled", lambda: False)
    monkeypatch.setattr(proposals, "search_by_opencv", search)
    return selective_search(image, seed=0, scale=scale).tolist()


def test_the_search_sees_blue_green_and_red_in_the_size_of_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((12, 16, 3), np.uint8)
    image[:] = (10, 20, 30)
    image[0, 0] = (170, 180, 190)  # 160 more, in a sixteenth of what becomes the first pixel
    search = Search([[1, 0, 2, 3]])
    assert searched(monkeypatch, image, 0.25, search) == [[4, 0, 8, 12]]
    assert search.picture.shape == (3, 4, 3)
    assert search.picture[0, :2].tolist() == [[40, 30, 20], [30, 20, 10]]
    assert searched(monkeypatch, image, 1.0, search) == [[1, 0, 2, 3]]
    assert search.picture.tolist() == image[..., ::-1].tolist()


def test_boxes_of_a_smaller_search_are_rounded_outward_in_each_direction_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 7 x 10 is searched as 4 x 5: 1.75 pixels to one across, 2 down.
    search = Search([[1, 1, 1, 2], [3, 4, 1, 1]])
    found = searched(monkeypatch, np.zeros((10, 7, 3), np.uint8), 0.5, search)
    assert search.picture.shape == (5, 4, 3)
    assert found == [[1, 2, 3, 4], [5, 8, 2, 2]]


def test_a_picture_is_never_scaled_away(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search([[0, 0, 1, 1]])
    assert searched(monkeypatch, np.zeros((1, 1, 3), np.uint8), 0.25, search) == [[0, 0, 1, 1]]
    assert search.picture.shape == (1, 1, 3)


def test_a_picture_in_which_nothing_is_found_proposes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(monkeypatch, np.zeros((2, 2, 3), np.uint8), 1.0, Search([])) == []


def test_the_compiled_search_is_used_where_it_is_ready(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    compiled = Search([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]])
    monkeypatch.setattr(compiled_search, "search", compiled)
    monkeypatch.setattr(proposals, "is_compiled", lambda: True)
    assert selective_search(picture, -1, segment_size=30).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert compiled.settings == (2**32 - 1, 30)
    assert compiled.picture.tolist() == picture[..., ::-1].tolist()


def test_both_searches_propose_the_same(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    found = []
    for is_ready in (True, False):
        monkeypatch.setattr(proposals, "is_compiled", lambda is_ready=is_ready: is_ready)
        found.append([selective_search(picture, 5, scale, size).tolist() for scale, size in ((1.0, 100), (0.5, 25))])
    assert found[0] == found[1]
    assert len(found[0][1]) > 20


def test_threads_find_what_one_alone_finds(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    monkeypatch.setattr(proposals, "is_compiled", lambda: True)
    alone = [selective_search(picture, seed).tolist() for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: selective_search(picture, seed % 4).tolist(), range(16)))
    assert found == alone * 4
