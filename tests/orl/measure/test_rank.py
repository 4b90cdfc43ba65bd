"""RankMe."""

import pytest
import torch

from orl_explorer.orl.measure.rank import effective_rank


def test_the_rank_is_the_number_of_equally_used_directions() -> None:
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.eye(8)[[0, 1, 2, 0, 1, 2]]) == pytest.approx(3)
    assert effective_rank(torch.ones(6, 4)) == pytest.approx(1, abs=1e-5)
    assert effective_rank(torch.zeros(3, 2)) == pytest.approx(1)


def test_a_direction_that_is_used_less_counts_less() -> None:
    # Singular values 3 and 1, shares 3/4 and 1/4: exp(3/4 ln 4/3 + 1/4 ln 4) = (4/3)^0.75 * 4^0.25.
    assert effective_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx(1.2408 * 1.4142, abs=1e-3)
