"""Hierarchical grouping (Uijlings et al., IJCV 2013, Algorithm 1): the most similar neighbours merge, until one is
left.

The similarity (Sec. 3.2) is a weighted sum of the overlap of textures, of how well two regions fill the box around
both, of how small they are, and, in one of two strategies, of the overlap of colours. Features of a merged region are
the means of its parts, weighted by their sizes.

OpenCV keeps the similarities in a list, which it sorts after each merge. ``group`` takes the largest from a heap, which
gives the same unless the two largest are equal. Then ``group_by_list`` does as OpenCV does.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Float, Int, jit
from orl_explorer.orl.selective_search.histograms import COLOR_BINS, TEXTURE_BINS
from orl_explorer.orl.selective_search.introsort import introsort

TIED = -1  # instead of a number of regions: two most similar pairs are equally similar
COLOR, TEXTURE = slice(0, COLOR_BINS), slice(COLOR_BINS, COLOR_BINS + TEXTURE_BINS)


@jit
def group(
    by_color: bool,
    pairs: np.ndarray,
    features: np.ndarray,
    size: np.ndarray,
    box: np.ndarray,
    pixels: Int,
    boxes: np.ndarray,
    level: np.ndarray,
) -> Int:
    """Merge all regions of a segmentation, and write every region on the way in the order of their making.

    by_color: whether colours count. pairs: neighbours, int64 [N, 2], a < b, ordered. features: histograms of colours
    and textures, float32 [R, 75 + 240]. size: int64 [R], pixels. box: int64 [R, 4], left, top, right, bottom,
    inclusive. pixels: of the image. boxes, level: written, int64 [2 R, 4], x y w h, and [2 R], merges from a first
    region on, + 1. Returns the number of regions, or TIED.
    """
    count = len(size)
    features, size, box = features.copy(), size.copy(), box.copy()
    touch = np.zeros((count, count), np.bool_)
    row, region = np.empty(2 * count, np.int64), np.arange(count)  # where a region's features are, and whose they are
    alive = np.zeros(2 * count, np.bool_)
    heap, ends = np.empty(16 * count + len(pairs), np.float64), np.empty((16 * count + len(pairs), 2), np.int64)
    held: Int = np.int64(0)  # not a literal, for which the compiler would make functions of their own
    for r in range(count):
        row[r], alive[r], level[r] = r, True, 1
        _write(boxes[r], box[r])
    for a, b in pairs:
        touch[a, b] = touch[b, a] = True
        held = _push(heap, ends, held, _similarity(by_color, features, size, box, a, b, pixels), a, b)
    around = np.empty(count, np.int64)
    while True:
        held = _drop_merged(heap, ends, held, alive)
        if held == 0:
            return count
        best, a, b = heap[0], ends[0, 0], ends[0, 1]
        held = _drop_merged(heap, ends, _pop(heap, ends, held), alive)
        if held and heap[0] == best:
            return TIED
        here, gone = min(row[a], row[b]), max(row[a], row[b])
        _merge(features, size, box, here, gone, by_color)
        alive[a] = alive[b] = False
        row[count], region[here], alive[count], level[count] = here, count, True, max(level[a], level[b]) + 1
        _write(boxes[count], box[here])
        found = 0
        for other in range(len(size)):
            if (touch[here, other] or touch[gone, other]) and other != here and other != gone:
                touch[here, other] = touch[other, here] = True
                touch[other, gone] = False
                around[found] = other
                found += 1
        touch[here, gone] = False
        if held + found > len(heap):
            heap, ends = np.concatenate((heap, heap)), np.concatenate((ends, ends))  # the second half is overwritten
        for other in around[:found]:
            similarity = _similarity(by_color, features, size, box, here, other, pixels)
            held = _push(heap, ends, held, similarity, count, region[other])
        count += 1


@jit
def group_by_list(
    by_color: bool,
    pairs: np.ndarray,
    features: np.ndarray,
    size: np.ndarray,
    box: np.ndarray,
    pixels: Int,
    boxes: np.ndarray,
    level: np.ndarray,
) -> Int:
    """Do as ``group`` with a list that is sorted after each merge, where equal similarities are in OpenCV's order."""
    count = len(size)
    features, size, box = features.copy(), size.copy(), box.copy()
    row = np.empty(2 * count, np.int64)
    most = 16 * count + len(pairs)
    similarity, ends, listed = np.empty(most, np.float64), np.empty((most, 2), np.int64), np.empty(most, np.int64)
    made: Int = np.int64(0)
    held: Int = np.int64(0)
    for r in range(count):
        row[r], level[r] = r, 1
        _write(boxes[r], box[r])
    for a, b in pairs:
        similarity[made] = _similarity(by_color, features, size, box, a, b, pixels)
        ends[made, 0], ends[made, 1], listed[held] = a, b, made
        made, held = made + 1, held + 1
    met, around = np.full(2 * count, -1, np.int64), np.empty(2 * count, np.int64)
    while held:
        introsort(listed, held, similarity)
        held -= 1
        a, b = ends[listed[held]]
        here, gone = min(row[a], row[b]), max(row[a], row[b])
        _merge(features, size, box, here, gone, by_color)
        row[count], level[count] = here, max(level[a], level[b]) + 1
        _write(boxes[count], box[here])
        found = kept = 0
        for i in listed[:held]:
            x, y = ends[i]
            if x != a and x != b and y != a and y != b:
                listed[kept] = i
                kept += 1
                continue
            other = y if x in (a, b) else x
            if met[other] != count:
                met[other] = count
                around[found] = other
                found += 1
        held = kept
        if made + found > len(similarity):
            similarity, ends = np.concatenate((similarity, similarity)), np.concatenate((ends, ends))
            listed = np.concatenate((listed, listed))
        for other in around[:found]:
            similarity[made] = _similarity(by_color, features, size, box, here, row[other], pixels)
            ends[made, 0], ends[made, 1], listed[held] = count, other, made
            made, held = made + 1, held + 1
        count += 1
    return count


@jit
def _similarity(
    by_color: bool, features: np.ndarray, size: np.ndarray, box: np.ndarray, a: Int, b: Int, pixels: Int
) -> Float:
    """Return the similarity of two regions, with the weights, sums and divisions of OpenCV."""
    one, zero = np.float32(1), np.float32(0)
    width = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0]) + 1
    height = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1]) + 1
    fill = one - np.float32(width * height - size[a] - size[b]) / np.float32(pixels)
    small = one - np.float32(size[a] + size[b]) / np.float32(pixels)
    fill, small = max(min(fill, one), zero), max(min(small, one), zero)
    texture = _overlap(features[a, TEXTURE], features[b, TEXTURE])
    if by_color:
        weight = np.float32(0.25)
        total = weight * _overlap(features[a, COLOR], features[b, COLOR])
        return total + weight * fill + weight * texture + weight * small
    weight = np.float32(0.3333)
    return (weight * fill + weight * texture + weight * small) / (weight + weight + weight)


@jit
def _overlap(a: np.ndarray, b: np.ndarray) -> Float:
    """Return the intersection of two histograms, added bin by bin."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] if a[i] < b[i] else b[i]
    return total


@jit
def _merge(features: np.ndarray, size: np.ndarray, box: np.ndarray, here: Int, gone: Int, by_color: bool) -> None:
    """Merge the region of one row into that of another."""
    mine, other, both = np.float32(size[here]), np.float32(size[gone]), np.float32(size[here] + size[gone])
    for i in range(0 if by_color else COLOR_BINS, features.shape[1]):
        features[here, i] = (features[here, i] * mine + features[gone, i] * other) / both
    size[here] += size[gone]
    for side in range(2):
        box[here, side] = min(box[here, side], box[gone, side])
        box[here, 2 + side] = max(box[here, 2 + side], box[gone, 2 + side])


@jit
def _write(target: np.ndarray, box: np.ndarray) -> None:
    """Write a box with inclusive sides as x y w h."""
    target[0], target[1], target[2], target[3] = box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1


@jit
def _drop_merged(heap: np.ndarray, ends: np.ndarray, held: Int, alive: np.ndarray) -> Int:
    """Pop pairs of which a region has merged, until the first is one of two that are there. Returns the number left."""
    while held and not (alive[ends[0, 0]] and alive[ends[0, 1]]):
        held = _pop(heap, ends, held)
    return held


@jit
def _push(heap: np.ndarray, ends: np.ndarray, held: Int, key: Float, a: Int, b: Int) -> Int:
    """Add a pair to a heap of ``held`` pairs, the largest key first. Returns their new number."""
    i = held
    while i > 0 and heap[(i - 1) // 2] < key:
        heap[i], ends[i] = heap[(i - 1) // 2], ends[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i], ends[i, 0], ends[i, 1] = key, a, b
    return held + 1


@jit
def _pop(heap: np.ndarray, ends: np.ndarray, held: Int) -> Int:
    """Remove the first pair of a heap. Returns the number that is left."""
    held -= 1
    key, a, b = heap[held], ends[held, 0], ends[held, 1]
    i, child = 0, 1
    while child < held:
        if child + 1 < held and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[i], ends[i] = heap[child], ends[child]
        i, child = child, 2 * child + 1
    heap[i], ends[i, 0], ends[i, 1] = key, a, b
    return held
