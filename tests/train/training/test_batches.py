"""The photos of each training step."""

from __future__ import annotations

import pytest

from orl_explorer.train.errors import UserError
from orl_explorer.train.training.config import refuse_uneven
from orl_explorer.train.training.data import BatchParts, batch_keys, steps_per_epoch
from orl_explorer.train.training.distributed import threads_of_each
from orl_explorer.train.training.methods import BYOLConfig, MoCoConfig

CONFIG = BYOLConfig(epochs=3, batch_size=4, seed=5)


@pytest.mark.parametrize(("count", "batch", "expected"), [(12, 4, 3), (13, 4, 3), (15, 4, 3), (16, 4, 4), (4, 4, 1)])
def test_an_epoch_has_whole_batches_only(count: int, batch: int, expected: int) -> None:
    assert steps_per_epoch(count, batch) == expected


def test_a_batch_larger_than_the_data_set_is_refused() -> None:
    with pytest.raises(UserError, match=r"A batch of 512 photos is too large: there are 100. .*=25"):
        steps_per_epoch(100, 512)


def test_the_sequence_is_the_same_from_any_starting_step() -> None:
    whole = list(BatchParts(14, CONFIG, 0))
    assert len(whole) == 9
    for first in range(10):
        assert list(BatchParts(14, CONFIG, first)) == whole[first:]


def test_within_an_epoch_no_photo_comes_twice_and_epochs_are_shuffled_anew() -> None:
    whole = list(BatchParts(14, CONFIG, 0))
    epochs = [[key for batch in whole[e * 3 : e * 3 + 3] for key in batch] for e in range(3)]
    for number, keys in enumerate(epochs):
        assert {epoch for epoch, _ in keys} == {number}
        assert len({index for _, index in keys}) == 12
        assert all(0 <= index < 14 for _, index in keys)
    assert [i for _, i in epochs[0]] != [i for _, i in epochs[1]]


def test_another_seed_has_another_order() -> None:
    assert batch_keys(14, CONFIG, 0) != batch_keys(14, CONFIG.model_copy(update={"seed": 6}), 0)


def test_a_batch_is_cut_into_parts_and_each_part_between_processes() -> None:
    config = BYOLConfig(epochs=3, batch_size=8, accumulate=2, seed=5)
    alone = list(BatchParts(16, config, 2))
    first, second = (list(BatchParts(16, config, 2, rank, 2)) for rank in (0, 1))
    assert [len(keys) for keys in alone] == [4] * 8  # four steps are left, of two parts each
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert alone[0] + alone[1] == batch_keys(16, config, 2)


@pytest.mark.parametrize(
    ("config", "processes", "sentence"),
    [
        (BYOLConfig(batch_size=10, accumulate=4), 1, "A batch of 10 photos cannot be divided into 4 equal parts"),
        (BYOLConfig(batch_size=12), 5, "cannot be divided into 5 equal parts .* 5 processes"),
        (BYOLConfig(batch_size=8, accumulate=4), 2, "cannot be divided into 8 equal parts of two or more"),
        (MoCoConfig(batch_size=33), 1, "norm_group = 32 leaves one photo alone"),
        (MoCoConfig(batch_size=32), 1, "norm_group = 32 normalises all 32 photos of a pass together.* Use 16 or less"),
        (MoCoConfig(batch_size=64, accumulate=2), 1, "normalises all 32 photos of a pass"),
    ],
)
def test_parts_that_cannot_be_normalised_are_refused(config, processes: int, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=sentence):
        refuse_uneven(config, processes)


def test_groups_of_all_processes_count_and_frozen_norms_have_none() -> None:
    refuse_uneven(MoCoConfig(batch_size=256), 8)  # MoCo's own set-up: a group of 32 in each of eight processes
    refuse_uneven(MoCoConfig(batch_size=32, batch_norms="frozen", start_from="a"), 1)


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 16),
        ({"LOCAL_WORLD_SIZE": "4"}, 4),
        ({"LOCAL_WORLD_SIZE": "32"}, 1),
        ({"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "4"}, 4),  # is the share of each already
        ({"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1,2"}, 4),
    ],
)
def test_the_processes_of_a_training_share_the_cores_once(environment: dict[str, str], threads: int) -> None:
    assert threads_of_each(environment, 16) == threads
