"""Projection of features to the plane: PCA, then t-SNE that starts from the first two components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orl_explorer.orl.matching import nearest_neighbors

COMPONENTS = 50  # of the PCA; t-SNE and clusters work on these
PERPLEXITY = 20.0
EARLY, LATE = 250, 500  # iterations with and without exaggeration
EVERY = 10  # iterations between two reports
EXACT = 5_000  # points; above this, forces are interpolated on a grid instead of summed in a tree
FEWEST = 12  # minimum number of points for t-SNE


def principal(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the first principal components: float32 [n, D] -> float32 [n, min(50, D, n)]."""
    from sklearn.decomposition import PCA

    count = min(COMPONENTS, *features.shape)
    if (features == features[:1]).all():  # all equal: there is no principal direction
        return np.zeros((len(features), count), np.float32)
    found = PCA(count, svd_solver="randomized", random_state=seed).fit_transform(np.asarray(features, np.float32))
    return found.astype(np.float32)


def tsne(components: np.ndarray, seed: int = 0, report: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Place points in the plane so that neighbours by cosine stay close: float32 [n, C] -> float32 [n, 2] in [-1, 1].

    A single thread is used, so the same components and seed give the same bits on the same machine. report: called with
    the number of iterations since the last call, of ``EARLY + LATE``; an exception from it stops t-SNE.
    """
    count = len(components)
    first = np.zeros((count, 2), np.float32)
    first[:, : min(2, components.shape[1])] = components[:, :2]
    if count < FEWEST or not first.any():
        return _fitted(first)
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.initialization import rescale
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    perplexity = min(PERPLEXITY, (count - 1) / 3.0)
    norms = np.linalg.norm(components, axis=1, keepdims=True)
    unit = components / np.maximum(norms, 1e-12)
    order = np.arange(count)
    found = nearest_neighbors(unit, order, min(int(3 * perplexity), count - 1))
    distances = np.sqrt(np.maximum(2 - 2 * found.similarity, 0)).astype(np.float64)
    near = PrecomputedNeighbors(found.ids, distances)
    affinities = PerplexityBasedNN(knn_index=near, perplexity=perplexity, n_jobs=1, random_state=seed)

    def heard(*_: object) -> None:
        report(EVERY)

    method = "fft" if count > EXACT else "bh"
    places = openTSNE.TSNEEmbedding(
        rescale(first.astype(np.float64)), affinities, negative_gradient_method=method, n_jobs=1, random_state=seed
    )
    calls = {"callbacks": [heard], "callbacks_every_iters": EVERY}
    places = places.optimize(EARLY, exaggeration=12, momentum=0.5, **calls)
    places = places.optimize(LATE, momentum=0.8, **calls)
    return _fitted(np.asarray(places, np.float32))


def clusters(components: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Cluster principal components by k-means: float [n, C] -> uint16 [n], largest cluster first."""
    from sklearn.cluster import MiniBatchKMeans

    k = min(k, len(components))
    found = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=3).fit_predict(components)
    by_size = np.argsort(-np.bincount(found, minlength=k), kind="stable")
    return np.argsort(by_size)[found].astype(np.uint16)


def _fitted(places: np.ndarray) -> np.ndarray:
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    return ((places - (low + high) / 2) / half).astype(np.float32)
