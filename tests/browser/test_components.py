"""Behaviour of the two components in a real browser, against ``component_harness.py``."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.component_harness import NEIGHBOR_BOXES, QUERY_BOXES
from tests.browser.harness_page import centre, expect_log, log, numbers, runs, show


def test_a_hovered_row_lights_its_link_and_its_two_boxes(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator("tbody tr").nth(1).hover()
    assert numbers(view, ".link.hot", "pair") == [2]
    assert numbers(view, ".box.hot[data-side=query]", "index") == [0]
    assert numbers(view, ".box.hot[data-side=neighbor]", "index") == [0]
    assert view.locator(".label text").all_text_contents() == ["0.900"]
    window.mouse.move(2, 2)
    expect(view.locator(".hot")).to_have_count(0)


def test_a_hovered_box_lights_all_its_pairs(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.mouse.move(*centre(view, "query", 1))
    assert sorted(numbers(view, ".link.hot", "pair")) == [1, 4]
    assert numbers(view, "tr.hot", "pair") == [1, 4]
    assert sorted(numbers(view, ".box.hot[data-side=neighbor]", "index")) == [1, 2]


def test_boxes_lie_where_the_photo_shows_them(window: Page, harness: str) -> None:
    view = show(window, harness)
    photo = view.locator(".frame.query .photo").bounding_box()
    box = view.locator(".box.candidate[data-side=query][data-index='1'] .line").bounding_box()
    assert photo
    assert box
    scale = photo["width"] / 500
    assert photo["height"] / 375 == pytest.approx(scale, rel=0.01)
    # The stroke may add a pixel or two to the rectangle [200, 100, 160, 160].
    assert box["x"] - photo["x"] == pytest.approx(200 * scale, abs=2)
    assert box["y"] - photo["y"] == pytest.approx(100 * scale, abs=2)
    assert box["width"] == pytest.approx(160 * scale, abs=4)
    assert box["height"] == pytest.approx(160 * scale, abs=4)
    other = view.locator(".frame.neighbor .photo").bounding_box()
    assert other and other["height"] == pytest.approx(photo["height"], abs=1)


def test_the_similarity_slider_works_without_the_server(window: Page, harness: str) -> None:
    view = show(window, harness)
    before = runs(window)
    view.locator(".threshold").fill("0.85")
    assert numbers(view, ".link:not(.below)", "pair") == [2, 1]
    expect(view.locator("tbody tr:visible")).to_have_count(2)
    expect(view.locator(".count")).to_have_text("2 of 4 pairs")
    assert sorted(numbers(view, ".box.paired[data-side=query]", "index")) == [0, 1]
    window.wait_for_timeout(400)
    assert runs(window) == before


def test_a_thumbnail_tells_its_pairs_or_that_nobody_knows_yet(window: Page, harness: str) -> None:
    view = show(window, harness)
    expect(view.locator(".film[data-rank='9'] .film-text")).to_have_text("0.725 4 pairs")
    expect(view.locator(".film[data-rank='10'] .film-text")).to_have_text("0.710 not embedded")


def test_a_thumbnail_asks_for_its_neighbour(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator(".film[data-rank='5']").click()
    expect_log(window, ["neighbor", 5])
    expect(view.locator(".film[aria-current]")).to_have_attribute("data-rank", "5")
    expect(view.locator(".caption-title").nth(1)).to_have_text("neighbour 5 · cos 0.83")


def test_the_threshold_and_layers_survive_new_data(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator("[data-layer=links]").click()
    view.locator(".threshold").fill("0.85")
    view.locator(".film[data-rank='4']").click()
    expect(view.locator(".film[aria-current]")).to_have_attribute("data-rank", "4")
    expect(view.locator("[data-layer=links]")).to_have_attribute("aria-pressed", "false")
    expect(view.locator(".count")).to_have_text("2 of 4 pairs")


def test_a_clicked_row_is_selected_and_escape_lets_go(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator("tbody tr").nth(2).locator(".similarity").click()
    expect_log(window, ["pick", {"q": 2, "k": 3, "roi": None}])
    expect(view.locator("tr[aria-current]")).to_have_attribute("data-pair", "3")
    window.mouse.move(2, 2)
    expect(view.locator(".link.hot")).to_have_attribute("data-pair", "3")
    window.keyboard.press("Escape")
    expect_log(
        window,
        ["pick", {"q": 2, "k": 3, "roi": None}],
        ["pick", {"q": None, "k": None, "roi": None}],
    )


def test_a_clicked_box_selects_its_only_pair_or_shows_its_pairs(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.mouse.click(*centre(view, "neighbor", 0))
    alone = ["pick", {"q": 0, "k": 0, "roi": "n0"}]
    expect_log(window, alone)
    window.mouse.click(*centre(view, "query", 1))
    window.mouse.move(2, 2)
    expect(view.locator(".callout")).to_contain_text("160 × 160 px · in 2 pairs")
    assert sorted(numbers(view, ".link.hot", "pair")) == [1, 4]
    expect_log(window, alone, ["pick", {"q": 0, "k": 0, "roi": "q1"}])


def test_a_rejected_box_says_why_and_what_would_have_kept_it(window: Page, harness: str) -> None:
    view = show(window, harness)
    expect(view.locator("[data-layer=rejected]")).to_have_text("Rejected2")
    before = runs(window)
    window.keyboard.press("r")
    window.wait_for_timeout(300)
    assert runs(window) == before  # R is also Streamlit's shortcut for a rerun
    window.mouse.click(*centre(view, "query", 0, "rejected"))
    expect(view.locator(".callout")).to_have_text("Rejected: too small60 × 65 px: too smallKept at min size 60.")
    window.keyboard.press("Escape")
    expect(view.locator(".callout")).to_be_hidden()
    expect_log(window, ["pick", {"q": None, "k": None, "roi": "qx7"}], ["pick", {"q": None, "k": None, "roi": None}])


def test_verdicts_are_reported_and_taken_back(window: Page, harness: str) -> None:
    view = show(window, harness)
    wrong = view.locator("tbody tr").nth(1).locator(".verdict.wrong")
    sides = [{"photo": 12, "box": QUERY_BOXES[0]}, {"photo": 31, "box": NEIGHBOR_BOXES[0]}]
    first = ["verdict", {"rank": 2, "q": 0, "k": 0, "sides": sides, "verdict": "wrong"}]
    wrong.focus()
    window.keyboard.press("Enter")
    expect_log(window, first)
    expect(wrong).to_have_attribute("aria-pressed", "true")
    expect(wrong).to_be_focused()  # an answer from the server does not take the keyboard away
    wrong.click()
    expect_log(window, first, ["verdict", {"rank": 2, "q": 0, "k": 0, "sides": sides, "verdict": None}])
    expect(wrong).to_have_attribute("aria-pressed", "false")


def test_a_selected_pair_tells_why_and_its_cells_are_fetched_when_asked_for(window: Page, harness: str) -> None:
    view = show(window, harness)
    why = view.locator(".reasons")
    expect(why).to_be_hidden()
    view.locator("tbody tr").first.click()
    expect(why.locator("dd")).to_have_text("+0.012")
    assert why.locator(".facts div").get_attribute("title") == "The cosine less that of the best other RoI."
    expect(why.locator("img")).to_have_count(0)
    why.locator("summary").click()
    expect(why.locator("figure")).to_have_count(2)
    view.locator("tbody tr").nth(1).click()
    expect(why.locator("figure")).to_have_count(2)  # stays open for the next pair
    window.keyboard.press("Escape")
    expect(why).to_be_hidden()


def test_keys(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.keyboard.press("ArrowRight")
    expect_log(window, ["step", 1])
    window.keyboard.press("ArrowUp")
    expect_log(window, ["step", 1], ["neighbor", 1])
    window.keyboard.press("3")
    pick = ["pick", {"q": 2, "k": 3, "roi": None}]
    expect_log(window, ["step", 1], ["neighbor", 1], pick)
    window.keyboard.press("g")
    sides = [{"photo": 12, "box": QUERY_BOXES[2]}, {"photo": 31, "box": NEIGHBOR_BOXES[3]}]
    verdict = ["verdict", {"rank": 1, "q": 2, "k": 3, "sides": sides, "verdict": "good"}]
    expect_log(window, ["step", 1], ["neighbor", 1], pick, verdict)
    window.keyboard.down("h")
    expect(view.locator(".box-layer").first).to_be_hidden()
    window.keyboard.up("h")
    expect(view.locator(".box-layer").first).to_be_visible()
    window.keyboard.press("?")
    expect(view.get_by_role("dialog", name="Keys")).to_be_visible()
    window.keyboard.press("Escape")
    expect(view.get_by_role("dialog", name="Keys")).to_be_hidden()
    assert len(log(window)) == 4


def test_keys_are_left_alone_while_typing(window: Page, harness: str) -> None:
    view = show(window, harness)
    search = window.get_by_label("Search", exact=True)
    search.click()
    window.keyboard.type("larhz139xs")
    window.keyboard.press("ArrowLeft")
    assert search.input_value() == "larhz139xs"
    expect(view.locator("[data-layer=links]")).to_have_attribute("aria-pressed", "true")
    expect(view.locator("[data-layer=rejected]")).to_have_attribute("aria-pressed", "false")
    window.keyboard.press("Enter")
    window.wait_for_timeout(300)
    assert log(window) == []


def test_wheel_and_drag_keep_both_sides_in_step(window: Page, harness: str) -> None:
    view = show(window, harness)
    boxes = [view.locator(f".frame.{side}") for side in ("query", "neighbor")]
    view.locator(".stage-svg").scroll_into_view_if_needed()
    window.mouse.move(*centre(view, "query", 2))
    window.mouse.wheel(0, -300)
    expect(view.locator("[aria-label^='Reset zoom']")).to_be_enabled()
    zoomed = [frame.get_attribute("viewBox") for frame in boxes]
    assert zoomed[0] == zoomed[1] != "0 0 500 375"
    window.mouse.down()
    window.mouse.move(*(value + 60 for value in centre(view, "query", 2)), steps=4)
    window.mouse.up()
    dragged = [frame.get_attribute("viewBox") for frame in boxes]
    assert dragged[0] == dragged[1] != zoomed[0]
    window.keyboard.press("0")
    assert [frame.get_attribute("viewBox") for frame in boxes] == ["0 0 500 375"] * 2
    assert log(window) == []


def test_zoom_to_pair_shows_both_objects_equally_large(window: Page, harness: str) -> None:
    view = show(window, harness)
    window.keyboard.press("z")
    sizes = [
        view.locator(f".box.candidate[data-side={side}][data-index='1'] .line").bounding_box()
        for side in ("query", "neighbor")
    ]
    assert sizes[0] and sizes[1]
    assert sizes[0]["height"] == pytest.approx(sizes[1]["height"], rel=0.03)
    view.locator(".film[data-rank='7']").click()
    expect(view.locator(".film[aria-current]")).to_have_attribute("data-rank", "7")


def test_attention_is_fetched_only_when_it_is_looked_at(window: Page, harness: str) -> None:
    view = show(window, harness)
    overlay = view.locator(".frame.query .attention")
    assert overlay.get_attribute("href") is None
    window.keyboard.press("a")
    expect(overlay).to_have_attribute("href", "/app/static/harness/200/50/38")
    expect(view.locator(".legend")).to_contain_text("layer-4 activation norm")
    view.locator(".legend input").fill("0.25")
    assert overlay.evaluate("node => getComputedStyle(node).opacity") == "0.25"


def test_hundreds_of_boxes_are_drawn_quickly(window: Page, harness: str) -> None:
    view = show(window, harness, "many")
    expect(view.locator(".box.candidate")).to_have_count(600)
    # The next neighbour draws both sides anew; no task of the page may block it for a second.
    window.evaluate(
        """() => {
        window.longest = 0;
        new PerformanceObserver((list) => list.getEntries().forEach(
          (entry) => (window.longest = Math.max(window.longest, entry.duration)),
        )).observe({ type: 'longtask' });
    }"""
    )
    view.locator(".film[data-rank='3']").click()
    expect(view.locator(".film[aria-current]")).to_have_attribute("data-rank", "3")
    view.locator("tbody tr").nth(4).hover()
    expect(view.locator(".link.hot")).to_have_count(1)
    window.wait_for_timeout(200)
    assert window.evaluate("window.longest") < 1000


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        ("empty", "These settings find no pair of these two photos."),
        ("alone", "This query has no neighbours."),
    ],
)
def test_empty_states_say_so(window: Page, harness: str, scene: str, sentence: str) -> None:
    view = show(window, harness, scene)
    expect(view.locator(".empty")).to_have_text(sentence)


def test_a_threshold_above_all_pairs_offers_them_again(window: Page, harness: str) -> None:
    view = show(window, harness)
    view.locator(".threshold").fill("0.85")
    view.locator(".film[data-rank='9']").click()
    expect(view.locator(".empty p")).to_have_text("No pair reaches this similarity. The best has 0.750.")
    view.get_by_role("button", name="Show all pairs").click()
    expect(view.locator("tbody tr:visible")).to_have_count(4)


def test_a_narrow_page_stacks_the_photos(window: Page, harness: str) -> None:
    window.set_viewport_size({"width": 560, "height": 900})
    view = show(window, harness)
    query, neighbor = (view.locator(f".frame.{side} .photo").bounding_box() for side in ("query", "neighbor"))
    assert query and neighbor
    assert neighbor["y"] > query["y"] + query["height"]
    table = view.locator(".pairs").bounding_box()
    assert table and table["y"] > neighbor["y"] + neighbor["height"] - 2


def test_a_missing_photo_says_so(browsing: BrowserContext, harness: str) -> None:
    page = browsing.new_page()  # a failed picture is an error in the console: no fixture that forbids them
    view = show(page, harness, "broken")
    expect(view.locator(".frame-message").nth(1)).to_have_text("cannot load the photo")
    expect(view.locator(".frame.query .photo")).to_be_visible()
    page.close()


def test_gallery_opens_by_mouse_and_keyboard(window: Page, harness: str) -> None:
    grid = show(window, harness, "gallery")
    grid.locator(".tile[data-id='4']").click()
    expect_log(window, ["open", 4])
    window.keyboard.press("ArrowRight")
    window.keyboard.press("ArrowRight")
    expect(grid.locator(".tile:focus")).to_have_attribute("data-id", "6")
    window.keyboard.press("Home")
    window.keyboard.press("ArrowDown")
    columns = grid.evaluate("node => getComputedStyle(node).gridTemplateColumns.split(' ').length")
    expect(grid.locator(".tile:focus")).to_have_attribute("data-id", str(1 + columns))
    window.keyboard.press("Enter")
    expect_log(window, ["open", 4], ["open", 1 + columns])


def test_gallery_tiles_are_uniform(window: Page, harness: str) -> None:
    grid = show(window, harness, "gallery")
    expect(grid.locator(".tile[aria-current]")).to_have_attribute("data-id", "2")
    expect(grid.locator(".tile[data-id='5'] .note")).to_have_text("photo not found on disk")
    long = grid.locator(".tile[data-id='3'] .name")
    assert long.get_attribute("title") == "val/000003" + "-a-very-long-name" * 6 + ".jpg"
    frames = grid.locator(".frame").evaluate_all("all => all.map(e => e.clientWidth / e.clientHeight)")
    assert frames == [pytest.approx(4 / 3, rel=0.02)] * 12
    assert long.evaluate("node => node.offsetHeight") < 30
