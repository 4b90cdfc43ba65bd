"""Counts in words."""

from __future__ import annotations

from orl_explorer.train.words import plural


def test_nouns_agree_with_their_numbers() -> None:
    assert [plural(count, "photo") for count in (0, 1, 2, 2000)] == ["0 photos", "1 photo", "2 photos", "2,000 photos"]
