"""The steps of the compiled search, each against a plain version of it."""

from __future__ import annotations

import ctypes
import platform
from itertools import permutations

import cv2
import numpy as np
import pytest

from orl_explorer.orl.selective_search.edges import first_end, second_end, sorted_edges
from orl_explorer.orl.selective_search.grouping import group, group_by_list
from orl_explorer.orl.selective_search.histograms import cells, count_bins, histograms
from orl_explorer.orl.selective_search.introsort import introsort
from orl_explorer.orl.selective_search.ranking import glibc_rand, rank_order
from orl_explorer.orl.selective_search.regions import outline
from orl_explorer.orl.selective_search.segmentation import segment
from orl_explorer.orl.selective_search.texture import texture
from orl_explorer.orl.selective_search.ties import order_matters


def test_edges_join_neighbours_and_are_sorted_by_the_distance_of_colours() -> None:
    image = np.zeros((2, 3, 3), np.float32)
    image[0, 1] = (3, 4, 0)  # 5 from black
    image[1, 2] = (1, 0, 0)
    edges = sorted_edges(image)
    found = [(first_end(edge), second_end(edge, 3)) for edge in edges]
    weights = (edges >> np.uint64(32)).astype(np.uint32).view(np.float32)
    assert weights.tolist() == [0, 0, 1, 1, 5, 5, 5]
    assert found == [(0, 3), (3, 4), (2, 5), (4, 5), (0, 1), (1, 2), (1, 4)]


def test_the_edges_of_many_pixels_are_those_of_a_plain_sort() -> None:
    image = np.random.default_rng(0).normal(0, 40, (13, 17, 3)).astype(np.float32)
    plain = []
    for y in range(13):
        for x in range(17):
            for y2, x2 in ((y, x + 1), (y + 1, x)):
                if y2 < 13 and x2 < 17:
                    a, b, c = image[y, x] - image[y2, x2]
                    plain.append((np.sqrt(a * a + b * b + c * c), y * 17 + x, y2 * 17 + x2))
    edges = sorted_edges(image)
    assert [(first_end(e), second_end(e, 17)) for e in edges] == [
        edge[1:] for edge in sorted(plain, key=lambda e: e[0])
    ]


@pytest.mark.parametrize("min_size", [1, 20, 100])
def test_all_segmentations_at_once_are_those_of_opencv(min_size: int) -> None:
    photo = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8), (0, 0), 2)
    smooth = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), 0.8, sigmaY=0.8)
    ks = np.array([20, 90, 150, 450], np.float32)
    labels, counts = segment(sorted_edges(smooth), 90, 130, ks, min_size)
    for k, own, count in zip(ks, labels, counts, strict=True):
        graph = cv2.ximgproc.segmentation.createGraphSegmentation(float(np.float32(0.8)), float(k), min_size)
        assert own.tolist() == graph.processImage(photo).ravel().tolist()
        assert count == own.max() + 1


# Pixels of a row of 1 x 9. Regions are made by hand: each pixel is the root of a region of some size.
@pytest.mark.parametrize(
    ("joined", "sizes", "matters"),
    [
        ([(0, 1), (3, 4)], [5, 5, 9, 5, 5, 9, 9, 9, 9], False),  # no region in common
        ([(0, 1), (1, 2)], [9, 20, 9, 0, 0, 0, 0, 0, 0], False),  # a large region between two small ones takes both
        ([(0, 1), (1, 2)], [20, 5, 20, 0, 0, 0, 0, 0, 0], True),  # a small one goes to the first large one
        ([(0, 1), (1, 2)], [2, 2, 2, 0, 0, 0, 0, 0, 0], False),  # all three merge
        ([(0, 1), (0, 1)], [2, 20, 0, 0, 0, 0, 0, 0, 0], False),  # the same regions twice
        ([(0, 1)], [20, 20, 0, 0, 0, 0, 0, 0, 0], False),  # nothing merges
        ([(i, i + 1) for i in range(7)], [2] * 8, True),  # too many to try: in doubt
    ],
)
def test_the_order_of_equal_edges_matters_only_if_it_changes_what_merges(
    joined: list[tuple[int, int]], sizes: list[int], matters: bool
) -> None:
    edges = np.array([2 * p for p, _ in joined], np.uint64)
    size = np.array(sizes, np.int32)
    assert order_matters(edges, 9, 10, np.arange(len(sizes), dtype=np.int32), size) is matters
    if len(joined) < 6:
        results = {merged(order, sizes) for order in permutations(joined)}
        assert (len(results) > 1) is matters


def merged(order: tuple[tuple[int, int], ...], sizes: list[int]) -> tuple[int, ...]:
    """Return the least pixel of each pixel's region after merging regions below 10 pixels in an order of edges."""
    region, size = list(range(len(sizes))), dict(enumerate(sizes))
    for p, q in order:
        a, b = sorted((region[p], region[q]))
        if a != b and min(size[a], size[b]) < 10:
            size[a] += size.pop(b)
            region = [a if r == b else r for r in region]
    return tuple(region)


def test_regions_have_sizes_boxes_and_neighbours() -> None:
    labels = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 2, 2, 1]], np.int32)
    size, box, pairs = outline(labels.ravel(), 3, 4, 4)
    assert size.tolist() == [3, 4, 4, 1]
    assert box.tolist() == [[0, 0, 1, 1], [2, 0, 3, 2], [1, 1, 2, 2], [0, 2, 0, 2]]
    # 0 and 1 touch only in the first row, of which OpenCV asks no pixel; 3 and 0 only in the first column.
    assert pairs.tolist() == [[0, 2], [1, 2], [2, 3]]


def test_histograms_are_those_of_each_region_counted_alone() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (20, 30, 3), np.uint8)
    labels = np.stack([random.integers(0, count, 600) for count in (4, 3, 5)]).astype(np.int32)
    counts = np.array([4, 3, 5])
    cell, regions = cells(labels, counts)
    assert regions[cell].T.tolist() == labels.tolist()
    codes, zero = texture(image)
    colors, textures = count_bins(cell, len(regions), image.reshape(-1, 3), codes)
    for k, count in enumerate(counts):
        size = np.bincount(labels[k]).astype(np.int64)
        color, texture_of = histograms(np.ascontiguousarray(regions[:, k]), size, colors, textures, zero)
        for r in range(count):
            here = image.reshape(-1, 3)[labels[k] == r].astype(np.int64) * 25 // 256
            plain = np.concatenate([np.bincount(here[:, c], minlength=25) for c in range(3)])
            assert color[r].tolist() == (plain / np.float32(3 * size[r])).astype(np.float32).tolist()
            assert texture_of[r].sum() == pytest.approx(1, abs=1e-5)


def test_more_cells_than_expected_are_numbered_all_the_same() -> None:
    labels = np.stack([np.arange(20_000), np.zeros(20_000), np.zeros(20_000)]).astype(np.int32)
    cell, regions = cells(labels, np.array([20_000, 1, 1]))
    assert cell.tolist() == list(range(20_000))
    assert regions[:, 0].tolist() == list(range(20_000))


def test_gradients_to_the_right_and_down_are_told_apart_by_direction_and_sign() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:20] = 200  # up at 10, down at 20
    codes, zero = texture(image)
    right, down = codes[0].reshape(20, 40), codes[3].reshape(20, 40)
    assert right[10, 8:22].tolist() == [0, 10, 10, 0, 0, 0, 0, 0, 0, 0, 0, 11, 11, 0]
    assert not down[2:-2].any()
    assert zero[0].tolist() == [0, 9]


def groups(by_color: bool, pairs: np.ndarray, features: np.ndarray, size: np.ndarray, box: np.ndarray) -> list:
    results = []
    for way in (group, group_by_list):
        boxes, level = np.zeros((2 * len(size), 4), np.int64), np.zeros(2 * len(size), np.int64)
        made = way(by_color, pairs, features, size, box, 10_000, boxes, level)
        results.append([made, boxes[: max(0, made)].tolist(), level[: max(0, made)].tolist()])
    return results


@pytest.mark.parametrize("by_color", [True, False])
def test_grouping_by_a_heap_is_grouping_by_a_sorted_list(by_color: bool) -> None:
    random = np.random.default_rng(0)
    pairs = np.array(sorted({tuple(sorted(p)) for p in random.integers(0, 40, (120, 2)).tolist() if p[0] != p[1]}))
    features = random.random((40, 315)).astype(np.float32)
    size, corner = random.integers(50, 400, 40), random.integers(0, 80, (40, 2))
    box = np.hstack([corner, corner + random.integers(1, 20, (40, 2))])
    heap, by_list = groups(by_color, pairs, features / features.sum(1, keepdims=True), size, box)
    assert heap == by_list
    assert heap[0] > 70


@pytest.mark.parametrize("by_color", [True, False])
def test_grouping_of_regions_that_all_touch_outgrows_its_first_arrays(by_color: bool) -> None:
    random = np.random.default_rng(1)
    pairs = np.array([(a, b) for a in range(90) for b in range(a + 1, 90)])
    features = random.random((90, 315)).astype(np.float32)
    box = np.hstack([corner := random.integers(0, 80, (90, 2)), corner + random.integers(1, 20, (90, 2))])
    heap, by_list = groups(by_color, pairs, features, random.integers(50, 400, 90), box)
    assert heap == by_list
    assert heap[0] == 179


def test_the_most_similar_neighbours_merge_first() -> None:
    features = np.zeros((3, 315), np.float32)
    features[0, 0] = features[1, 0] = features[2, 1] = 1  # 0 and 1 have one colour
    features[:, 75] = 1
    box = np.array([[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9]])
    size, pairs = np.array([100, 100, 100]), np.array([[0, 1], [1, 2]])
    heap, by_list = groups(True, pairs, features, size, box)
    assert heap == by_list
    assert heap[1][3:] == [[0, 0, 20, 10], [0, 0, 30, 10]]
    assert heap[2] == [1, 1, 1, 2, 3]


def test_two_most_similar_pairs_that_are_equal_are_left_to_the_list() -> None:
    features = np.zeros((4, 315), np.float32)
    features[:, 0] = features[:, 75] = 1
    box = np.array([[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9], [30, 0, 39, 9]])
    heap, by_list = groups(True, np.array([[0, 1], [1, 2], [2, 3]]), features, np.full(4, 100), box)
    assert heap[0] == -1
    assert by_list[0] == 7


@pytest.mark.parametrize("values", [2, 3, 10, 10**9])
def test_sorting_permutes_equal_elements_as_the_standard_library_of_cpp(values: int) -> None:
    random = np.random.default_rng(values)
    for count in (0, 1, 2, 15, 16, 17, 18, 100, 3000):
        assert_sorted_as_by_opencv(random.integers(0, values, count).astype(np.float64))


def test_sorting_what_makes_quicksort_slow_is_left_to_a_heap() -> None:
    key = np.zeros(4000)  # Musser's sequence against the median of three
    for i in range(1, 2001):
        if i % 2:
            key[i - 1], key[i] = i, 2000 + i
        key[2000 + i - 1] = 2 * i
    assert_sorted_as_by_opencv(key)


def assert_sorted_as_by_opencv(key: np.ndarray) -> None:
    order = np.arange(len(key))
    introsort(order, len(key), key)
    if len(key):
        assert order.tolist() == cv2.sortIdx(key[None], cv2.SORT_EVERY_ROW)[0].tolist()  # calls std::sort


def test_random_numbers_are_glibcs() -> None:
    assert glibc_rand(1, 4).tolist() == [1804289383, 846930886, 1681692777, 1714636915]
    assert glibc_rand(0, 2).tolist() == [1804289383, 846930886]  # as 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has another rand")
@pytest.mark.parametrize("seed", [2, 12345, 2**31 - 1, 2**31, 2**32 - 1])
def test_random_numbers_of_any_seed_are_glibcs(seed: int) -> None:
    library = ctypes.CDLL(None)
    library.srand(ctypes.c_uint(seed))
    assert glibc_rand(seed, 500).tolist() == [library.rand() for _ in range(500)]


def test_the_rank_is_the_level_times_a_random_number() -> None:
    half = 2**30
    assert rank_order(np.array([1, 3, 2]), np.array([half, half // 4, half // 8], np.int32)).tolist() == [2, 1, 0]
