"""Tuning in the browser: a slider moves the numbers, a click on the heat map moves the sliders."""

from __future__ import annotations

import re
import shutil

import pytest
from playwright.sync_api import Page, expect

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import add_run, runs, update_run
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.jobs.launcher import identity, wait
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, Serve
from tests.browser.test_explorer import go, slide

N = "N · pairs per neighbour, share of RoIs"


@pytest.fixture(scope="module")
def site(mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Workspace]:
    """A server on a copy of the mined demo, and the workspace it serves."""
    folder = tmp_path_factory.mktemp("site") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    return serve(folder), open_workspace(folder)


def test_embedding_now_says_how_far_it_is_and_can_be_stopped(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/tune?set=demo-starter&size=16&iou=0.95")
    start = page.get_by_role("button", name=re.compile(r"Embed [\d,]+ RoIs now"))
    expect(start).to_be_visible()
    before = number_in(start.inner_text())
    assert before > 300
    start.click()
    expect(page.get_by_text(re.compile(r"Embedding RoIs: \d+ of"))).to_be_visible()
    page.get_by_role("button", name="Stop computing").click()
    expect(start).to_be_visible()
    expect(start).not_to_have_text(re.compile(f"{before:,} RoIs"))  # what is embedded stays
    assert 0 < number_in(start.inner_text()) < before


@pytest.mark.parametrize("width", [800, 1280])
def test_a_window_cuts_off_neither_the_table_nor_the_button(
    site: tuple[str, Workspace], careful: Page, width: int
) -> None:
    page = careful
    page.set_viewport_size({"width": width, "height": 1000})
    go(page, f"{site[0]}/tune?set=demo-starter&size=50&iou=0.9")
    button = page.get_by_role("button", name=re.compile(r"Embed [\d,]+ RoIs now"))
    expect(button).to_be_visible()
    expect(page.locator("table.tuned")).to_be_visible()
    cut_off = "e => [...e.querySelectorAll('*'), e].some(part => part.scrollWidth > part.clientWidth + 1)"
    assert not button.evaluate(cut_off)
    assert page.locator("table.tuned").evaluate(
        "table => table.getBoundingClientRect().right <= table.closest('.stColumn').getBoundingClientRect().right + 1"
    )


def number_in(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def test_a_slider_moves_the_numbers_and_regenerate_makes_the_set_that_they_spoke_of(
    site: tuple[str, Workspace], careful: Page
) -> None:
    address, workspace = site
    page = careful
    go(page, f"{address}/tune?set=demo-starter")
    pairs = page.locator("td[data-measure=pairs_per_image]")
    expect(pairs).to_be_visible()
    before = pairs.inner_text()
    slide(page, N, 20, "ArrowRight")
    expect(page).to_have_url(re.compile(r"n=0\.3(&|$)"))
    expect(page.get_by_text("The set: N 0.3 (0.1)")).to_be_visible()
    page.locator(IDLE).wait_for()  # the numbers below may still be those of a value passed on the way
    expect(pairs).not_to_have_text(before)
    now = pairs.inner_text()

    page.get_by_role("button", name="Regenerate …").click()
    expect(page.get_by_role("dialog").get_by_text("no embedding")).to_be_visible()
    page.get_by_label("Name of the new set").fill("thrice-the-pairs")
    page.keyboard.press("Tab")
    page.get_by_role("dialog").get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile(r"mining=\d+"))
    assert wait(workspace, runs(workspace.store)[0].id).status == "done"
    show = page.locator(".stMain").get_by_role("button", name="Show the new set", exact=True)
    show.click()
    expect(page.get_by_text("The set: none")).to_be_visible()
    made = find_set(workspace.store, "thrice-the-pairs")
    assert made is not None
    assert f"{made.pair_count / made.image_count:.1f}" == now
    expect(pairs).to_have_count(1)  # those of the old set are on screen until the new are drawn
    expect(pairs).to_have_text(now)


def test_a_click_on_a_cell_of_the_heat_map_loads_its_settings(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/tune?set=demo-starter&x=neighbors&xs=2,3&y=pair_ratio&ys=0.1,0.4")
    page.get_by_role("button", name="Try 4 combinations").click()
    cells = page.locator(".st-key-tune-heat .scatterlayer text")
    expect(cells).to_have_count(4)
    cells.nth(3).click(force=True)  # Plotly's own layer lies on top and hands it on
    expect(page).to_have_url(re.compile(r"(?=.*[?&]k=3)(?=.*[?&]n=0\.4)"))
    expect(page.locator(".stSlider").filter(has_text="K · neighbours")).to_contain_text("neighbours3")
    expect(page.get_by_text("The set: K 3 (4) · N 0.4 (0.1)")).to_be_visible()


LATE = """
    const listen = WebSocket.prototype.addEventListener;
    WebSocket.prototype.addEventListener = function (kind, heard, ...rest) {
        const late = (event) => setTimeout(() => heard.call(this, event), 600);
        return listen.call(this, kind, kind === "message" ? late : heard, ...rest);
    };
    Object.defineProperty(WebSocket.prototype, "onmessage", {
        set(heard) { this.addEventListener("message", heard); },
    });
"""


@pytest.mark.parametrize("where", ["pair", "tune"])
def test_what_a_slow_server_answers_does_not_take_back_what_the_slider_was_moved_to_meanwhile(
    site: tuple[str, Workspace], careful: Page, where: str
) -> None:
    store = site[1].store
    run = add_run(store, Run(kind="mine", name="another", status="running", params={})).id
    update_run(store, run, heartbeat_at=now(), **identity())
    careful.add_init_script(LATE)
    go(careful, f"{site[0]}/{where}?set=demo-starter")
    slider = careful.get_by_role("slider", name="N · pairs per neighbour, share of RoIs")
    slider.focus()
    for presses in range(1, 25):
        if presses == 4:  # the page draws itself anew, with the URL that the browser has
            update_run(store, run, status="done")
        careful.keyboard.press("ArrowRight")
        careful.wait_for_timeout(250)  # longer than the slider waits for more, shorter than the way back
        expect(slider).to_have_value(f"{0.1 + presses / 100:g}", timeout=1)
    expect(careful).to_have_url(re.compile(r"n=0\.34(&|$)"))
    expect(slider).to_have_value("0.34")
