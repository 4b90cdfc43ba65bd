"""k nearest neighbours as a classifier."""

from __future__ import annotations

import math

import torch

from orl_explorer.orl.measure.knn import knn_predict


def slow_knn(bank: list, labels: list, query: list, k: int, temperature: float) -> int:
    similar = sorted(((sum(a * b for a, b in zip(row, query, strict=True)), -i) for i, row in enumerate(bank)))[::-1]
    votes: dict[int, float] = {}
    for similarity, place in similar[:k]:
        votes[labels[-place]] = votes.get(labels[-place], 0) + math.exp(similarity / temperature)
    return max(sorted(votes), key=lambda label: votes[label])


def test_it_equals_the_slow_version() -> None:
    torch.manual_seed(0)
    bank = torch.nn.functional.normalize(torch.randn(40, 5))
    queries = torch.nn.functional.normalize(torch.randn(15, 5))
    labels = torch.randint(0, 4, (40,))
    for k, temperature in [(1, 0.07), (5, 0.5), (40, 1.0)]:
        expected = [slow_knn(bank.tolist(), labels.tolist(), q, k, temperature) for q in queries.tolist()]
        assert knn_predict(bank, labels, queries, k, temperature).tolist() == expected


def test_two_far_votes_weigh_less_than_a_near_one() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]])
    assert knn_predict(bank, labels, query, k=3, temperature=0.1).tolist() == [0]  # e^10 against 2 e^6
    assert knn_predict(bank, labels, query, k=3, temperature=1.0).tolist() == [1]  # e against 2 e^0.6


def test_a_k_larger_than_the_bank_takes_all_of_it_and_no_temperature_is_too_low() -> None:
    bank = torch.eye(2)
    assert knn_predict(bank, torch.tensor([3, 5]), torch.eye(2), k=20, temperature=1e-4).tolist() == [3, 5]


def test_twenty_vote_where_no_other_number_is_asked_for() -> None:
    bank = torch.tensor([[1.0, 0.0]] * 20 + [[0.999, 0.001]])
    labels = torch.tensor([0] * 10 + [1] * 10 + [1])  # the one that is a little farther would decide
    assert knn_predict(bank, labels, torch.tensor([[1.0, 0.0]])).tolist() == [0]


def test_a_near_vote_outweighs_two_far_ones_where_no_other_temperature_is_asked_for() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    assert knn_predict(bank, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]])).tolist() == [0]
