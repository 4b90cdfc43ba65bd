"""The work of the processes that fit SVMs. They import this module, so it does not import torch."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from orl_explorer.orl.measure.average_precision import average_precision
from orl_explorer.orl.measure.svm import COSTS, cross_validate, decide, draw_low_shot, fit_svm, in_span


class ClassJob(NamedTuple):
    """An SVM to fit. features: file of float64 [n, D]. labels: int [n], 1 or -1."""

    name: str
    features: str
    labels: np.ndarray
    seed: int


class Fitted(NamedTuple):
    """A fitted SVM.

    validated: float64 [19], average precision by cross-validation at each of ``COSTS``. cost: the best of them.
    machine: float64 [D + 1], fitted to all rows with this cost.
    """

    name: str
    validated: np.ndarray
    cost: float
    machine: np.ndarray


def fit_class(job: ClassJob) -> Fitted:
    """Choose the cost by cross-validation, the first of equal ones, and fit an SVM to all rows."""
    features = _rows(job.features)
    with threadpool_limits(1, user_api="blas"):
        validated = cross_validate(features, job.labels, job.seed)
        cost = COSTS[int(validated.argmax())]
        return Fitted(job.name, validated, cost, fit_svm(features, job.labels, cost, job.seed))


class LowShotJob(NamedTuple):
    """A sample of one class to fit with every cost.

    learn, measure: files of float32 [n, D] and [m, D]. labels, measured: int8 [n] and [m], 1, -1, or 0 for difficult
    photos, which are left out of both. draw: the seed of the sample.
    """

    name: str
    learn: str
    measure: str
    labels: np.ndarray
    measured: np.ndarray
    k: int
    draw: tuple[int, ...]


class LowShot(NamedTuple):
    """Average precision at each of ``COSTS``, float64 [19]: on test photos, and on training photos not drawn."""

    name: str
    test: np.ndarray
    rest: np.ndarray


def fit_low_shot(job: LowShotJob) -> LowShot:
    """Draw k positives and 19 k negatives, and fit an SVM to them with every cost."""
    drawn = draw_low_shot(job.labels, job.k, np.random.default_rng(job.draw))
    rest = np.setdiff1d(np.flatnonzero(job.labels), drawn)
    counted = np.flatnonzero(job.measured)
    learn, measure = _rows(job.learn), _rows(job.measure)
    with threadpool_limits(1, user_api="blas"):
        coordinates, basis = in_span(learn[drawn])
        machines = np.stack([fit_svm(coordinates, job.labels[drawn], cost, job.draw[0]) for cost in COSTS])
        if basis is not None:
            machines = np.hstack([machines[:, :-1] @ basis.T, machines[:, -1:]])
        machines = machines.astype(np.float32)
        test, other = decide(measure[counted], machines), decide(learn[rest], machines)
    return LowShot(
        job.name,
        np.array([average_precision(test[:, c], job.measured[counted] > 0) for c in range(len(COSTS))]),
        np.array([average_precision(other[:, c], job.labels[rest] > 0) for c in range(len(COSTS))]),
    )


@lru_cache(2)
def _rows(file: str) -> np.ndarray:
    return np.load(file, mmap_mode="r")
