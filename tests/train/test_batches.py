"""Which photos make which step."""

from __future__ import annotations

import pytest

from train.config import TrainConfig
from train.data import Steps, batch_keys, steps_per_epoch
from train.errors import UserError

CONFIG = TrainConfig(epochs=3, batch_size=4, seed=5)


@pytest.mark.parametrize(("count", "batch", "expected"), [(12, 4, 3), (13, 4, 3), (15, 4, 3), (16, 4, 4), (4, 4, 1)])
def test_an_epoch_has_whole_batches_only(count: int, batch: int, expected: int) -> None:
    assert steps_per_epoch(count, batch) == expected


def test_a_batch_larger_than_the_data_set_is_refused() -> None:
    with pytest.raises(UserError, match=r"A batch of 512 photos needs at least as many, and there are 100; .*=25"):
        steps_per_epoch(100, 512)


def test_the_sequence_is_the_same_from_any_starting_step() -> None:
    whole = list(Steps(14, CONFIG, 0))
    assert len(whole) == 9
    for first in range(10):
        assert list(Steps(14, CONFIG, first)) == whole[first:]


def test_within_an_epoch_no_photo_comes_twice_and_epochs_are_shuffled_anew() -> None:
    whole = list(Steps(14, CONFIG, 0))
    epochs = [[key for batch in whole[e * 3 : e * 3 + 3] for key in batch] for e in range(3)]
    for number, keys in enumerate(epochs):
        assert {epoch for epoch, _ in keys} == {number}
        assert len({index for _, index in keys}) == 12
        assert all(0 <= index < 14 for _, index in keys)
    assert [i for _, i in epochs[0]] != [i for _, i in epochs[1]]


def test_another_seed_has_another_order() -> None:
    assert batch_keys(14, CONFIG, 0) != batch_keys(14, CONFIG.model_copy(update={"seed": 6}), 0)
