"""The reasons why a box was rejected, on boxes whose overlaps are computed by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from orl_explorer.app.explorer.rejections import counterfactual_text, explain_rejections
from orl_explorer.orl.boxes import BoxRules, Filtered, filter_boxes

RULES = BoxRules(min_size=50, max_aspect=2.0, max_iou=0.5, max_rois=3)
BOXES = [
    [0, 0, 100, 100],  # kept as box 1
    [20, 0, 100, 100],  # IoU 8000 / 12000 with box 1
    [200, 0, 60, 40],  # a side of 40
    [0, 200, 150, 60],  # 2.5 to 1
    [300, 0, 100, 100],  # kept as box 2
    [300, 200, 100, 100],  # kept as box 3
    [0, 300, 100, 100],  # a fourth
    [10, 0, 90, 45],  # a side of 45, and IoU 4050 / 10000 with box 1
    [0, 5, 100, 45],  # a side of 45; with aspect 2.22
]
RAW = np.array(BOXES, np.int16)


@pytest.fixture
def filtered() -> Filtered:
    return filter_boxes(RAW, RULES, 640, 480)


def test_each_rejected_box_names_its_rule_and_its_measure(filtered: Filtered) -> None:
    said = {entry.raw: (entry.rule, entry.why, entry.blocker) for entry in explain_rejections(RAW, filtered, RULES)}
    assert said == {
        1: ("overlap", "100 × 100 px: IoU 0.667 with box 1, over max IoU 0.5", 0),
        2: ("size", "60 × 40 px: its shorter side is 10 px under min size 50", None),
        3: ("aspect", "150 × 60 px: sides 2.50 to 1, over max aspect 2", None),
        6: ("count", "100 × 100 px: the photo already had 3 RoIs", None),
        7: ("size", "90 × 45 px: its shorter side is 5 px under min size 50", None),
        8: ("size", "100 × 45 px: its shorter side is 5 px under min size 50", None),
    }


def test_the_largest_come_first_and_no_more_than_asked_for(filtered: Filtered) -> None:
    assert [entry.raw for entry in explain_rejections(RAW, filtered, RULES, 3)] == [1, 6, 3]


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (0, ""),
        (1, "Kept at max IoU 0.667, as box 2."),
        (2, "Kept at min size 40, as box 2."),
        (3, "Kept at max aspect 2.5, as box 2."),
        (6, "It is box 4. Kept at max RoIs 4."),
        (7, "At min size 45 it passes this rule but is still rejected: the photo already had 3 RoIs."),
        (8, "At min size 45 it passes this rule but is still rejected: sides 2.22 to 1, over max aspect 2."),
    ],
)
def test_a_counterfactual_is_what_filtering_so_does(filtered: Filtered, index: int, sentence: str) -> None:
    def refilter(rules: BoxRules) -> Filtered:
        return filter_boxes(RAW, rules, 640, 480)

    assert counterfactual_text(RAW, filtered, RULES, index, refilter) == sentence


def test_a_loosened_rule_lets_others_in_whose_way_a_box_may_then_be() -> None:
    raw = np.array([[0, 0, 40, 40], [0, 0, 45, 45], [100, 100, 60, 60]], np.int16)
    rules = replace(RULES, min_size=50)
    refilter = partial(filter_boxes, raw, width=640, height=480)
    first = filter_boxes(raw, rules, 640, 480)
    at_45 = counterfactual_text(raw, first, rules, 1, lambda other: refilter(rules=other))
    assert at_45 == "Kept at min size 45, as box 1."
    at_40 = counterfactual_text(raw, first, replace(rules, max_iou=0.1), 0, lambda other: refilter(rules=other))
    assert at_40 == "Kept at min size 40, as box 1."


def test_a_box_that_only_the_spread_rejects_says_so() -> None:
    rules = BoxRules(min_size=50, max_iou=0.7, max_rois=5, spread_after=1, spread_iou=0.5)
    found = filter_boxes(RAW[:2], rules, 640, 480)
    (said,) = explain_rejections(RAW[:2], found, rules)
    assert said.why == "100 × 100 px: IoU 0.667 with box 1, over max IoU of spread RoIs 0.5"
    refilter = partial(filter_boxes, RAW[:2], width=640, height=480)
    sentence = counterfactual_text(RAW[:2], found, rules, 1, refilter)
    assert sentence == "Kept at max IoU of spread RoIs 0.667, as box 2."
