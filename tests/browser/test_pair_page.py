"""The pair and the compare page in Chromium, on the mined demo with a second set."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_run
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, SVG, Serve, patient_context, saved_figure
from tests.conftest import MINED
from tests.named import mine

SHARE = "N · pairs per neighbour, share of RoIs"  # a setting that never costs a forward pass


@pytest.fixture(scope="module")
def site(mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server on a copy of the mined demo with a second set, which has fewer neighbours and more pairs."""
    folder = tmp_path_factory.mktemp("two") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    here = open_workspace(folder)
    config = MINED.model_copy(update={"neighbors": 3, "pair_ratio": 0.3})
    run = add_run(here.store, Run(kind="mine", name="other", params={})).id
    mine(here, "demo", "starter", "other", config, run_id=run, workers=1)
    here.store.close()
    return serve(folder)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One context for the module, whose cache keeps Streamlit's own files between tests."""
    context = patient_context(browser, 1600, 1000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page of that context, closed with its test, because an open page keeps sending requests."""
    page = context.new_page()
    yield page
    page.close()


def go(page: Page, address: str) -> None:
    """Open a page and wait until its component is drawn and its script has run."""
    page.goto(address)
    page.locator(".stage-svg").first.wait_for()
    page.locator(IDLE).wait_for()


def test_going_back_takes_the_slider_with_it(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/pair?set=demo-starter&q=5")
    slider = page.get_by_role("slider", name=SHARE)
    for value in ("0.11", "0.12"):
        slider.focus()
        page.keyboard.press("ArrowRight")
        expect(page).to_have_url(re.compile(f"n={value}"))
        expect(page.get_by_text(f"N {value} (0.1)")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("N 0.11 (0.1)")).to_be_visible()
    expect(slider).to_have_value("0.11")
    assert "n=0.11" in page.url
    page.go_back()
    expect(page.get_by_text("Differs from the set")).to_have_count(0)
    expect(slider).to_have_value("0.1")
    assert "n=0" not in page.url


def test_one_step_back_is_the_query_before_with_its_pair(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/pair?set=demo-starter&q=5&nn=2&pair=1-0")
    expect(page.locator(".caption-title").nth(1)).to_contain_text("neighbour 2")
    before = page.url
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("images/scene-005.jpg")).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=6$"))
    page.go_back()
    expect(page).to_have_url(before)
    expect(page.get_by_text("images/scene-004.jpg")).to_be_visible()
    expect(page.locator("tr[aria-current]")).to_have_count(1)


def test_a_link_reproduces_layers_threshold_pair_and_box(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/pair?set=demo-starter&q=5&nn=3&pair=1-1&roi=q1&layers=boxes.matrix&cos=0.3&n=0.3")
    expect(page.locator(".caption-title").nth(1)).to_contain_text("neighbour 3")
    expect(page.locator("[data-layer=links]")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("[data-layer=matrix]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".matches header")).to_contain_text("Best matches of query RoI 2")
    expect(page.locator("tr[aria-current]")).to_have_count(1)
    expect(page.get_by_role("slider", name=SHARE)).to_have_value("0.3")


def test_a_cell_of_the_matrix_selects_a_pair_that_the_set_does_not_have(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/pair?set=demo-starter&q=5")
    shape = page.locator(".cells").evaluate("node => [node.height, node.width]")
    cells = page.locator(".cells").bounding_box()
    assert cells
    kept = page.locator(".marks .kept").evaluate_all("all => all.map(e => [+e.dataset.q, +e.dataset.k])")
    q, k = next([q, k] for q in range(shape[0]) for k in range(shape[1]) if [q, k] not in kept)
    side = cells["width"] / shape[1]
    page.mouse.click(cells["x"] + (k + 0.5) * side, cells["y"] + (q + 0.5) * side)
    expect(page).to_have_url(re.compile(f"pair={q}-{k}"))
    expect(page.locator("tr.note")).to_have_text(
        re.compile(rf"Not in the set: rank \d+ of {shape[0]} × {shape[1]}; .* kept")
    )
    page.mouse.move(2, 2)
    expect(page.locator(".link.outside.hot")).to_have_count(1)


def test_a_clicked_box_leads_to_its_best_match_in_another_neighbour(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/pair?set=demo-starter&q=5&roi=q0")
    expect(page.locator(".match")).to_have_count(4)
    card = page.locator(".match[data-rank='3']")
    value = card.locator(".match-text").inner_text()
    card.click()
    expect(page).to_have_url(re.compile(r"nn=3.*pair=0-\d+|pair=0-\d+.*nn=3"))
    expect(page.locator(".caption-title").nth(1)).to_contain_text("neighbour 3")
    expect(page.locator("tr[aria-current] .similarity")).to_have_text(value)
    expect(page.locator(".matches header")).to_contain_text("query RoI 1")


def test_two_sets_are_told_apart_by_colour_and_line(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/compare?a=demo-starter&b=other&q=3")
    expect(page.locator(".pane")).to_have_count(2)
    style = "node => { const s = getComputedStyle(node); return [s.stroke, s.strokeDasharray]; }"
    first, second = page.locator(".pane").nth(0), page.locator(".pane").nth(1)
    assert first.locator(".link.kept .line").first.evaluate(style) == ["rgb(86, 180, 233)", "none"]
    assert second.locator(".link.new .line").first.evaluate(style) == ["rgb(240, 228, 66)", "2px, 4px"]
    page.locator("tr[data-status=kept]").first.hover()
    expect(first.locator(".link.hot")).to_have_count(1)
    expect(second.locator(".link.hot")).to_have_count(1)
    page.locator("[data-status=new].toggle").click()
    expect(page.locator("tr[data-status=new]:visible")).to_have_count(0)
    expect(second.locator(".link.new:not(.below)")).to_have_count(0)
    page.locator(".film.lost").click()
    expect(page.locator(".caption-title").nth(3)).to_have_text("not a neighbour in this set")
    assert first.locator(".link.lost .line").first.evaluate(style) == ["rgb(213, 94, 0)", "9px, 5px"]


def test_a_comparison_is_saved_with_both_stages_and_what_the_sets_are(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/compare?a=demo-starter&b=other&q=3")
    kept = page.locator(".pane").first.locator(".link.kept").count()
    page.locator("[data-status=kept].toggle").click()
    figure = saved_figure(page)
    neighbor = page.locator(".caption-name").nth(1).inner_text().removeprefix("images/").removesuffix(".jpg")
    assert figure.name == f"compare-scene-002-{neighbor}.svg"
    words = figure.words
    assert {"A · demo-starter", "B · other"} < set(words)
    said = " ".join(words)
    assert "A: correspondence set demo-starter, 96 pairs of 302 RoIs in 12 photos" in said
    assert "Query images/scene-002.jpg; neighbour images/" in said
    assert f"= {kept} in both sets (hidden)" in said
    assert words[-1].endswith("/compare?q=3&data=demo&a=demo-starter&b=other&iou=0.5")
    strokes = [node.get("stroke") for node in figure.root.iter(f"{SVG}path")]
    assert "rgb(240, 228, 66)" in strokes  # new pairs
    assert "rgb(86, 180, 233)" not in strokes  # kept ones, which are hidden


def test_the_stages_of_two_sets_zoom_in_step(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/compare?a=demo-starter&b=other&q=3")
    photo = page.locator(".frame.query").first.bounding_box()
    assert photo
    page.mouse.move(photo["x"] + 60, photo["y"] + 60)
    page.mouse.wheel(0, -300)
    zoomed = [page.locator(".frame.query").nth(n).get_attribute("viewBox") for n in (0, 1)]
    assert zoomed[0] == zoomed[1]
    assert not (zoomed[0] or "").startswith("0 0 ")
    page.keyboard.press("0")
    expect(page.locator(".frame.query").nth(1)).to_have_attribute("viewBox", re.compile("^0 0 "))


def test_the_list_of_photos_and_the_arrow_keys_change_the_query(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/compare?a=demo-starter&b=other")
    expect(page.locator(".tile")).to_have_count(12)
    names = page.locator(".tile .name").all_text_contents()
    page.locator(".tile").nth(4).click()
    expect(page.locator(".caption-name").first).to_have_text(f"images/{names[4]}")
    page.mouse.move(800, 300)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".caption-name").first).to_have_text(f"images/{names[5]}")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".caption-name").first).to_have_text(f"images/{names[4]}")
    page.get_by_role("button", name="Swap").click()
    expect(page.locator(".pane-head strong").first).to_have_text("A · other")
    expect(page).to_have_url(re.compile("a=other"))


def test_sets_and_photo_of_a_comparison_are_in_its_link(site: str, careful: Page) -> None:
    page = careful
    go(page, f"{site}/compare?a=other&b=demo-starter&q=7")
    expect(page.locator(".pane-head strong").first).to_have_text("A · other")
    expect(page.locator(".caption-name").first).to_have_text("images/scene-006.jpg")
    page.locator("tr[data-id]").first.click()
    expect(page).to_have_url(re.compile(r"mark=\d+-\d+"))
    go(page, page.url)
    expect(page.locator("tr[aria-current]")).to_have_count(1)
