"""Boxes of likely objects from an encoder's own map of a photo, without labels. Not in the paper.

Cells are compared less the mean of the photo's cells: else nearly all cells of a network that ends in a ReLU are alike,
and so are those of many vision transformers. Seeds: the cell that resembles the fewest others begins an object, which
grows by what resembles it and its like (LOST, Siméoni et al. 2021). Further objects are sought among the cells that are
left. Merging: neighbouring regions are joined, the most alike first (Ward 1963), and the last ones give nested boxes.
"""

from __future__ import annotations

import cv2
import numpy as np

from orl_explorer.orl.boxes import each_once, iou

# These numbers, and the mean that is subtracted, were chosen on VOC07's train.txt, see docs/results.md. What is stored
# depends on them: when one changes, so must the name of the stored rows (``train.mining.embeddings``).
SEEDS = 3  # objects that are sought
LEAST = 0.4  # share of cells, those of least degree, that may help a seed to grow
REGIONS = 16  # regions that are left when the first boxes are taken
MOST = SEEDS + 2 * (REGIONS - 1)  # boxes of a photo
SAME = 0.8  # IoU from which a box is left out for one before it


def boxes_of_map(features: np.ndarray) -> np.ndarray:
    """Return boxes of one photo's map: float [C, h, w] -> float32 [MOST, 4], x y w h as shares of the photo's sides.

    Those of seeds come first, then regions, the largest merges first. Rows of zeros fill the rest.
    """
    shape = features.shape[1:]
    cells = centred(np.ascontiguousarray(features.reshape(len(features), -1).T, np.float32))
    corners = [_bounds(mask) for mask in seeded_objects(cells @ cells.T, shape)]
    corners += merged_regions(unit_rows(cells), shape).tolist()
    sides = np.array([shape[1], shape[0]] * 2, np.float64)
    shares = np.array(corners, np.float64).reshape(-1, 4) / sides
    shares[:, 2:] -= shares[:, :2]
    kept: list[int] = []
    for number in range(len(shares)):
        if not (iou(shares[number], shares[kept]) >= SAME).any():
            kept.append(number)
    found = np.zeros((MOST, 4), np.float32)
    found[: len(kept)] = shares[kept]
    return found


def in_pixels(found: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the boxes of ``boxes_of_map``, float [MOST · 4], of a photo of width x height: int16 [m, 4], x y w h."""
    shares = np.asarray(found, np.float64).reshape(-1, 4)
    low, high = (np.rint(corner * [width, height]) for corner in (shares[:, :2], shares[:, :2] + shares[:, 2:]))
    boxes = np.concatenate([low, high - low], axis=1).astype(np.int16)
    return each_once(boxes[(boxes[:, 2:] > 0).all(axis=1)])


def centred(cells: np.ndarray) -> np.ndarray:
    """Return cells less their mean, float32 [N, C] both."""
    return cells - cells.mean(axis=0, dtype=np.float64).astype(np.float32)


def degrees(products: np.ndarray) -> np.ndarray:
    """Return the number of other cells that each cell resembles, by a positive product: [N, N] -> int64 [N]."""
    return (products > 0).sum(axis=1) - (np.diagonal(products) > 0)


def seeded_objects(products: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return objects that grow from seeds, bool [h, w] each, as LOST finds one. products: float32 [N, N]; shape: h, w.

    The seed is the cell of least degree, the first of equal ones. Of the ``LEAST`` cells of least degree, those that
    resemble it vote: a cell belongs to the object if its products with them have a positive sum, and if it is connected
    with the seed. The cells of an object are left out when the next one is sought.
    """
    left, objects = np.ones(len(products), bool), list[np.ndarray]()
    while len(objects) < SEEDS and left.any():
        cells = np.flatnonzero(left)
        own = products[np.ix_(cells, cells)]
        order = np.argsort(degrees(own), kind="stable")
        seed, few = order[0], order[: max(1, round(LEAST * len(products)))]
        voters = few[own[seed, few] > 0]
        if not len(voters):
            break  # a map of zeros
        member = np.zeros(shape, np.uint8)
        member.flat[cells[own[voters].sum(axis=0) > 0]] = 1
        numbered = cv2.connectedComponents(member, connectivity=4)[1]
        found = numbered == numbered.flat[cells[seed]]
        objects.append(found)
        left &= ~found.ravel()
    return objects


def merged_regions(unit: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the regions of cells that exist while 2 to ``REGIONS`` are left: int64 [n, 4], left top right bottom.

    unit: float32 [N, C], unit rows. shape: h, w. Of neighbouring regions, the two are joined that add least to the sum
    of squares within regions. The last ones made come first.
    """
    from sklearn.cluster import ward_tree  # takes half a second to import
    from sklearn.feature_extraction.image import grid_to_graph

    if len(unit) < 2:
        return np.empty((0, 4), np.int64)
    joined = ward_tree(unit.astype(np.float64), connectivity=grid_to_graph(*shape))[0]
    bounds = [(column, row, column + 1, row + 1) for row in range(shape[0]) for column in range(shape[1])]
    for one, other in joined.tolist():
        a, b = bounds[one], bounds[other]
        bounds.append((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    last = sorted(joined[-(REGIONS - 1) :].ravel().tolist(), reverse=True)
    return np.array([bounds[number] for number in last])


def unit_rows(cells: np.ndarray) -> np.ndarray:
    """Return rows of unit length, float [N, C] both; rows of zeros stay."""
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)


def _bounds(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
