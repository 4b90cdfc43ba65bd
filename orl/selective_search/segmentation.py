"""First regions: segmentation by a graph of pixels (Felzenszwalb & Huttenlocher, IJCV 2004, Sec. 3, Algorithm 1).

From the lightest edge on, two regions merge if the edge is no heavier than the heaviest edge inside either of them,
plus k / its size. A larger k prefers larger regions. Then regions below a least size merge with a neighbour, again from
the lightest edge on (Sec. 5).

Where edges weigh the same, their order could matter. OpenCV sorts them by ``std::sort``, which may permute them. In the
first pass their order has no effect: a side that may merge before an equal edge still may after it, and the last merge
sets the same limit. In the second pass it can, see ``ties``.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Float, Int, jit
from orl_explorer.orl.selective_search.edges import WEIGHT, first_end, second_end
from orl_explorer.orl.selective_search.ties import order_matters, root

TIED = -1  # instead of a number of regions: the order of equal edges decides
BLOCK = 1024  # edges


@jit
def segment(edges: np.ndarray, height: Int, width: Int, ks: np.ndarray, min_size: Int) -> tuple[np.ndarray, np.ndarray]:
    """Segment an image by several k, float32 [K], from the smallest on.

    edges: sorted, of an image of ``height`` x ``width`` pixels. min_size: pixels.
    Returns the region of each pixel, int32 [K, H * W], numbered in the order of their first pixels, and the numbers of
    regions, int64 [K]; TIED, without labels, where OpenCV's order of equal edges decides.
    """
    pixels = height * width
    parent = np.arange(pixels).astype(np.int32)
    size, heaviest = np.ones(pixels, np.int32), np.zeros(pixels, np.float32)
    edges = _merge_similar(edges, width, ks[0], parent, size, heaviest, np.bool_(True))
    labels, counts = np.empty((len(ks), pixels), np.int32), np.empty(len(ks), np.int64)
    for i in range(len(ks)):
        own, own_size = parent.copy(), size.copy()
        rejected = _merge_similar(edges, width, ks[i], own, own_size, heaviest.copy(), np.bool_(False))
        settled = _merge_small(rejected, width, min_size, own, own_size)
        counts[i] = _number(own, labels[i]) if settled else TIED
    return labels, counts


@jit
def _merge_similar(
    edges: np.ndarray,
    width: Int,
    k: Float,
    parent: np.ndarray,
    size: np.ndarray,
    heaviest: np.ndarray,
    for_all: bool | np.bool,
) -> np.ndarray:
    """Merge regions that an edge joins which is light enough. Returns the other edges between regions, in their order.

    parent: of each pixel, int32 [P]; the last of them is the root of its region. size, heaviest: pixels, and weight of
    the heaviest edge, of the region of each root, int32 and float32 [P]. for_all: merge only where all values from k on
    do. A larger k merges what the smallest merges, until that rejects an edge. From then on, the regions at both ends
    may differ. They are left alone, and so is in turn each region that an edge joins to them.
    """
    limit = heaviest + k / size.astype(np.float32)  # of a region's next edge
    limit_bits, heaviest_bits = limit.view(np.uint32), heaviest.view(np.uint32)
    uncertain = np.zeros(len(parent), np.uint8)
    rejected, few = np.empty_like(edges), np.empty(BLOCK, np.uint64)
    count = 0
    for begin in range(0, len(edges), BLOCK):
        for edge in few[: _between_regions(edges[begin : begin + BLOCK], width, parent, few)]:
            p, q = root(parent, first_end(edge)), root(parent, second_end(edge, width))
            if p == q:
                continue
            weight = np.uint32(edge >> WEIGHT)
            if uncertain[p] | uncertain[q] == 0 and weight <= limit_bits[p] and weight <= limit_bits[q]:
                p = _join(parent, size, p, q)
                heaviest_bits[p] = weight
                limit[p] = heaviest[p] + k / np.float32(size[p])
            else:
                rejected[count] = edge
                count += 1
                uncertain[p] = uncertain[q] = for_all
    if for_all:  # several segmentations go on from here
        for p in range(len(parent)):
            parent[p] = root(parent, p)
    return rejected[:count]


@jit
def _between_regions(edges: np.ndarray, width: Int, parent: np.ndarray, few: np.ndarray) -> Int:
    """Copy the edges between two regions, and some inside of one, to ``few``. Returns their number.

    Most edges lie inside of a region. This loop has no branches that a processor could mispredict.
    """
    count = 0
    for edge in edges:
        p = np.uint32(edge) >> np.uint32(1)
        q = p + (np.uint32(1) if np.uint32(edge) & np.uint32(1) == 0 else np.uint32(width))
        few[count] = edge
        count += int(parent[parent[p]] != parent[parent[q]])
    return count


@jit
def _merge_small(rejected: np.ndarray, width: Int, min_size: Int, parent: np.ndarray, size: np.ndarray) -> bool:
    """Merge regions below the least size. Returns False, half done, where the order of equal edges decides.

    An edge that was not rejected lies inside of a region by now.
    """
    begin = 0
    while begin < len(rejected):
        end = begin + 1
        while end < len(rejected) and rejected[end] >> WEIGHT == rejected[begin] >> WEIGHT:
            end += 1
        equal = rejected[begin:end]
        if len(equal) > 1 and order_matters(equal, width, min_size, parent, size):
            return False
        for edge in equal:
            p, q = root(parent, first_end(edge)), root(parent, second_end(edge, width))
            if p != q and (size[p] < min_size or size[q] < min_size):
                _join(parent, size, p, q)
        begin = end
    return True


@jit
def _join(parent: np.ndarray, size: np.ndarray, p: Int, q: Int) -> Int:
    """Merge the regions of two roots. Returns the root of both."""
    if size[p] < size[q]:
        p, q = q, p
    parent[q] = p
    size[p] += size[q]
    return p


@jit
def _number(parent: np.ndarray, labels: np.ndarray) -> Int:
    """Write the region of each pixel to ``labels``, numbered by their first pixels. Returns the number of regions."""
    name = np.full(len(parent), -1, np.int32)
    count = 0
    for p in range(len(parent)):
        r = root(parent, p)
        if name[r] < 0:
            name[r] = count
            count += 1
        labels[p] = name[r]
    return count
