"""Linear SVMs on frozen features, with the constants of the paper's VOC07 protocols. numpy and scikit-learn only."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

COSTS = (1.0, 10.0, 100.0, *(0.5**n for n in range(4, 20)))
FOLDS = 3
WEIGHTS = {1: 2, -1: 1}  # of errors on positives and negatives
STEPS = 2000  # of liblinear, at most
TOLERANCE = 1e-4


def in_span(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the coordinates of n rows in an orthonormal basis of their span, if that has fewer than D dimensions.

    features: float [n, D]. Returns float64 [n, min(n, D)] and the basis, float64 [D, n], or None. A linear SVM is the
    same in both, up to rounding: its weights lie in the span, and lengths are equal. Fewer columns take less time.
    """
    rows = np.asarray(features, np.float64)
    if len(rows) >= rows.shape[1]:
        return rows, None
    basis, coordinates = np.linalg.qr(rows.T)
    return np.ascontiguousarray(coordinates.T), basis


def fit_svm(features: np.ndarray, labels: np.ndarray, cost: float, seed: int) -> np.ndarray:
    """Fit one SVM: squared hinge, L2, dual. Returns its weights and, last, its intercept: float64 [D + 1].

    features: float64 [n, D]. labels: int [n], 1 or -1, both of which must occur.
    """
    machine = LinearSVC(
        C=cost,
        class_weight=WEIGHTS,
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        tol=TOLERANCE,
        max_iter=STEPS,
        intercept_scaling=1.0,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the protocol sets the number of steps
        machine.fit(features, labels)
    return np.append(machine.coef_[0], machine.intercept_[0])


def decide(features: np.ndarray, machine: np.ndarray) -> np.ndarray:
    """Return scores by one SVM, or by several as rows: float [n, D], float64 [..., D + 1] -> float64 [n, ...]."""
    return features @ machine[..., :-1].T + machine[..., -1]


def cross_validate(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the mean average precision over the folds for each of ``COSTS``: float64 [19]. Folds are not shuffled."""
    found = np.zeros((len(COSTS), FOLDS))
    for f, (learn, held_out) in enumerate(StratifiedKFold(FOLDS).split(features, labels)):
        for c, cost in enumerate(COSTS):
            scores = decide(features[held_out], fit_svm(features[learn], labels[learn], cost, seed))
            found[c, f] = average_precision_score(labels[held_out] > 0, scores)
    return found.mean(axis=1)


def draw_low_shot(labels: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the photos of a low-shot sample: k positives and 19 k negatives, or all if there are fewer; ascending.

    labels: int [n], 1, -1, or 0 for those that are neither.
    """
    positives, negatives = np.flatnonzero(labels > 0), np.flatnonzero(labels < 0)
    drawn = [
        rng.choice(some, min(count, len(some)), replace=False) for some, count in ((positives, k), (negatives, 19 * k))
    ]
    return np.sort(np.concatenate(drawn))
