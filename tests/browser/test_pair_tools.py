"""Matrix, best matches, figure, link and address bar of the pair view, against ``component_harness.py``."""

from __future__ import annotations

import base64
import re

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import IDLE, SVG, saved_figure
from tests.browser.harness_page import centre, expect_log, numbers, runs, show


def cell(view: Locator, q: int, k: int, size: int = 4) -> tuple[float, float]:
    """Return the centre of a cell of the matrix on the page."""
    place = view.locator(".cells").bounding_box()
    assert place
    return place["x"] + (k + 0.5) * place["width"] / size, place["y"] + (q + 0.5) * place["height"] / size


def test_the_matrix_is_coloured_from_low_to_high_and_marks_the_pairs(window: Page, harness: str) -> None:
    view = show(window, harness)
    pixel = """(node, [x, y]) => [...node.getContext("2d").getImageData(x, y, 1, 1).data]"""
    cells = view.locator(".cells")
    assert cells.evaluate("node => [node.width, node.height]") == [4, 4]
    assert cells.evaluate(pixel, [1, 1]) == [253, 231, 37, 255]  # pair 1, the most similar: the end of viridis
    assert cells.evaluate(pixel, [1, 0]) == [68, 1, 84, 255]  # 0.001, the least: its beginning
    marked = view.locator(".marks .kept").evaluate_all("all => all.map(e => [e.dataset.q, e.dataset.k].join())")
    assert marked == ["1,1", "0,0", "2,3", "1,2"]
    expect(view.locator(".matrix header")).to_have_text("Similarity4 × 40.000.95viridis")


def test_a_hovered_cell_tells_its_similarity_and_lights_both_boxes(window: Page, harness: str) -> None:
    view = show(window, harness)
    before = runs(window)
    window.mouse.move(*cell(view, 3, 2))
    expect(view.locator(".readout")).to_have_text("0.005 query RoI 4 × neighbour RoI 3 · not kept")
    assert numbers(view, ".box.hot[data-side=query]", "index") == [3]
    assert numbers(view, ".box.hot[data-side=neighbor]", "index") == [2]
    window.mouse.move(*cell(view, 2, 3))
    expect(view.locator(".readout")).to_have_text("0.820 query RoI 3 × neighbour RoI 4 · pair 3")
    assert numbers(view, ".link.hot", "pair") == [3]
    window.mouse.move(2, 2)
    expect(view.locator(".hot")).to_have_count(0)
    assert runs(window) == before


def test_a_clicked_cell_selects_its_boxes_even_outside_the_set(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.mouse.click(*cell(view, 3, 0))
    expect_log(window, ["pick", {"q": 3, "k": 0, "roi": None}])
    window.mouse.move(2, 2)
    expect(view.locator(".link.outside.hot")).to_have_count(1)
    expect(view.locator("tr.note")).to_have_text("Not in the set: rank 9 of 4 × 4")
    expect(view.locator("tr[aria-current] .similarity")).to_have_text("0.003")
    window.mouse.click(*cell(view, 0, 0))
    expect(view.locator("tr[aria-current]")).to_have_attribute("data-pair", "2")
    expect(view.locator("tr.note, .link.outside")).to_have_count(0)


def test_the_matrix_is_walked_with_arrow_keys(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator(".cells").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):  # the first shows where the walk begins
        window.keyboard.press(key)
    expect(view.locator(".readout")).to_contain_text("query RoI 2 × neighbour RoI 2 · pair 1")
    window.keyboard.press("Enter")
    expect_log(window, ["pick", {"q": 1, "k": 1, "roi": None}])


def test_the_best_matches_of_a_clicked_box_lead_to_their_neighbours(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.mouse.click(*centre(view, "query", 1))
    expect(view.locator(".matches header strong")).to_have_text("Best matches of query RoI 2")
    expect(view.locator(".match-text")).to_have_text(["0.910", "0.950", "not embedded"])
    expect(view.locator(".match.best")).to_have_attribute("data-rank", "2")
    assert view.locator(".match img").first.get_attribute("src") == "/app/static/harness/crop/30/340-30-110-120"
    view.locator(".match[data-rank='1']").click()
    expect_log(window, ["pick", {"q": None, "k": None, "roi": "q1"}], ["match", {"rank": 1, "q": 1, "k": 3}])
    expect(view.locator(".match[aria-current]")).to_have_attribute("data-rank", "1")
    window.keyboard.press("Escape")
    expect(view.locator(".matches")).to_be_hidden()


def test_the_box_in_the_way_of_a_rejected_one_is_lit_with_it(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.keyboard.press("r")
    window.mouse.click(*centre(view, "query", 1, "rejected"))
    window.mouse.move(2, 2)
    expect(view.locator(".callout")).to_contain_text("Rejected: overlaps a kept box")
    assert numbers(view, ".box.rejected.hot", "index") == [1]
    assert numbers(view, ".box.candidate.hot", "index") == [1]


def test_layers_and_threshold_are_in_the_url_without_the_server(window: Page, harness: str) -> None:
    view = show(window, harness)
    before = runs(window)
    window.keyboard.press("l")
    window.keyboard.press("m")
    view.locator(".threshold").fill("0.85")
    expect(view.locator(".matrix")).to_be_hidden()
    expect(window).to_have_url(re.compile(r"scene=pairs&layers=boxes&cos=0.85$"))
    assert runs(window) == before
    window.goto(window.url)
    window.locator(IDLE).wait_for()
    expect(view.locator(".count")).to_have_text("2 of 4 pairs")
    expect(view.locator("[data-layer=links]")).to_have_attribute("aria-pressed", "false")
    expect(view.locator(".matrix")).to_be_hidden()


def test_empty_parameters_are_taken_out_of_the_url(window: Page, harness: str) -> None:
    window.goto(f"{harness}/?scene=pairs&pair=&q=5")
    window.locator(".stage-svg").wait_for()
    expect(window).to_have_url(re.compile(r"\?scene=pairs&q=5$"))


def test_the_view_is_saved_as_svg_with_its_photos_and_a_caption(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator(".threshold").fill("0.85")
    figure = saved_figure(window)
    assert figure.name == "000012-000031.svg"
    words = figure.words
    assert "Correspondence set demo. K 10, N 0.1." in words
    assert "Encoder starter (supervised)." in words
    assert "Pairs shown: 2 of 4, similarity at least 0.850." in words
    assert any("scene=pairs&cos=0.85" in word for word in words)
    assert "neighbour 2 · cos 0.83" in words
    kinds = [picture[:22] for picture in figure.pictures]
    assert kinds == ["data:image/png;base64,"] * 2
    assert base64.b64decode(figure.pictures[0].partition(",")[2]).startswith(b"\x89PNG")
    assert len([n for n in figure.root.iter(f"{SVG}path") if n.get("stroke") == "rgb(230, 159, 0)"])


def test_the_view_is_saved_as_png_at_twice_its_size(window: Page, harness: str) -> None:
    view = show(window, harness)
    place = view.locator(".stage-svg").bounding_box()
    assert place
    with Image.open(saved_figure(window, "png").path) as picture:
        assert picture.width == pytest.approx(2 * (place["width"] + 24), abs=2)
        assert picture.height > 2 * place["height"]
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 1000  # the photos are in it


def test_the_link_is_copied(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.get_by_role("button", name="Save or share this view").click()
    view.get_by_role("menuitem", name="Copy link").click()
    expect(view.locator(".said")).to_have_text("Link copied")
    assert window.evaluate("navigator.clipboard.readText()") == f"{window.url}&set=demo&q=12"


def test_a_matrix_of_hundreds_is_usable(window: Page, harness: str) -> None:
    view = show(window, harness, "many")
    assert view.locator(".cells").evaluate("node => [node.width, node.height]") == [300, 300]
    window.evaluate(
        """() => {
        window.longest = 0;
        new PerformanceObserver((list) => list.getEntries().forEach(
          (entry) => (window.longest = Math.max(window.longest, entry.duration)),
        )).observe({ type: 'longtask' });
    }"""
    )
    for q in range(10, 56, 5):
        window.mouse.move(*cell(view, q, 2 * q, 300))
    expect(view.locator(".readout")).to_contain_text("query RoI 56 × neighbour RoI 111")
    window.mouse.click(*cell(view, 55, 110, 300))
    expect(view.locator("tr.note")).to_be_visible()
    assert window.evaluate("window.longest") < 1000
