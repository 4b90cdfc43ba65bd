"""From the demo to stage 3 through the browser: the first steps of a user, in one go and in parts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from orl_explorer.app.share.choice import ShareRequest, choose
from orl_explorer.app.share.folder import write_folder
from orl_explorer.db.runs.runs import run_by_id, runs
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.jobs.launcher import wait
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.accessible import findings, overflow
from tests.browser.conftest import IDLE, Serve

PAGES = {  # and what is there when it is drawn
    "": ".tile",
    "matches": ".match",
    "pair?q=3": ".stage-svg",
    "tune": ".tuned",
    "compare": "h1",
    "attention": ".attention-view, .panels, canvas, .stBidiComponent",
    "map": "h1, h2, h3, canvas",
    "sets": "[data-testid=stDataFrame]",
    "train": ".stButtonGroup",
    "train?view=runs": "[data-testid=stDataFrame]",
    "train?view=lineage": ".lineage .node",
    "train?view=results": ".stCode",
    "train?run=1&show=origin": ".stCode",
    "oddities": ".stSlider",
    "oddities?part=hubs": ".tile",
    "judge": ".judged, img",
    "search?q=3": ".hit, img",
    "ingest": "h1",
}
SHARED = {"photos": ".tile", "matches": ".match", "pair&q=2": ".stage-svg .link", "set": ".about"}


@pytest.fixture(scope="module")
def site(mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Workspace]:
    """A server on a copy of the mined demo, and the workspace it serves."""
    folder = tmp_path_factory.mktemp("site") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    return serve(folder), open_workspace(folder)


def go(page: Page, address: str) -> None:
    """Open a page and wait until its script has run."""
    page.goto(address)
    page.locator(IDLE).wait_for()


def slide(page: Page, label: str, presses: int, key: str) -> None:
    """Move a slider by keyboard."""
    page.get_by_role("slider", name=label).focus()
    for _ in range(presses):
        page.keyboard.press(key)


def test_a_person_opens_a_pair_moves_a_slider_regenerates_and_trains(
    site: tuple[str, Workspace], careful: Page
) -> None:
    address, workspace = site
    page = careful
    go(page, address)
    expect(page.locator(".tile")).to_have_count(12)
    page.locator(".tile").nth(2).click()

    expect(page.locator(".stage-svg")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/pair\?.*q=3"))
    expect(page.get_by_text("raw →").first).to_be_visible()

    slide(page, "N · pairs per neighbour, share of RoIs", 10, "ArrowRight")
    expect(page).to_have_url(re.compile(r"n=0\.2"))
    expect(page.get_by_text("Differs from the set: N 0.2 (0.1)")).to_be_visible()

    page.get_by_role("button", name="Regenerate …").click()
    page.get_by_label("Name of the new set").fill("twice-the-pairs")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Correspondence set")).to_be_visible()
    newest = page.get_by_role("dialog")
    expect(newest).to_have_count(0)
    run = wait(workspace, runs(workspace.store)[0].id)
    assert (run.status, run.name, run.params["config"]["pair_ratio"]) == ("done", "twice-the-pairs", 0.2)
    made, old = find_set(workspace.store, "twice-the-pairs"), find_set(workspace.store, "demo-starter")
    assert made is not None and old is not None
    assert made.status == "complete"
    assert made.pair_count > old.pair_count

    go(page, f"{address}/train?set=twice-the-pairs")
    for label, value in (("Epochs", "60"), ("Batch size", "4"), ("Image size", "32"), ("Patch size", "32")):
        page.get_by_label(label, exact=True).fill(value)
        page.keyboard.press("Tab")
    expect(page.get_by_text("180 steps")).to_be_visible()
    page.get_by_role("button", name="Launch").click()
    expect(page).to_have_url(re.compile(r"run=\d+"))
    run_id = runs(workspace.store)[0].id
    expect(page.locator(".curves .curve").first).to_be_attached()
    page.get_by_role("button", name="Stop run").click()
    expect(page.get_by_text("cancelled").first).to_be_visible()
    ended = run_by_id(workspace.store, run_id)
    assert (ended.kind, ended.status) == ("train", "cancelled")
    assert list(workspace.run_folder(run_id).glob("checkpoint-*.pt"))
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_link_reproduces_query_neighbour_pair_and_settings(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/pair?set=demo-starter&q=5&nn=3&size=72&k=3")
    expect(page.locator(".stage-svg")).to_be_visible()
    expect(page.get_by_text("neighbour 3 ·")).to_be_visible()
    expect(page.get_by_text("images/scene-004.jpg")).to_be_visible()
    expect(page.get_by_text("Differs from the set: K 3 (4) · min size 72 (96)")).to_be_visible()
    page.get_by_role("button", name="Reset to the set's values").click()
    expect(page.get_by_text("Differs from the set")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("size="))


def test_arrow_keys_step_through_queries_and_neighbours(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/pair?set=demo-starter&q=5")
    expect(page.locator(".stage-svg")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("images/scene-005.jpg")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile(r"q=6.*nn=2|nn=2.*q=6"))


def test_an_attention_map_can_be_laid_over_the_photos(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/pair?set=demo-starter&q=5")
    expect(page.locator(".stage-svg")).to_be_visible()
    with page.expect_response(re.compile("/app/static/[0-9a-f]{12}/attention/")) as answer:
        page.keyboard.press("a")
    assert answer.value.status == 200
    assert answer.value.headers["content-type"] == "image/png"
    expect(page.get_by_text("supervised").first).to_be_visible()


def test_a_deleted_photo_is_a_sentence_and_not_a_traceback(
    mined_workspace: Workspace, scenes: Path, serve: Serve, page: Page, tmp_path: Path
) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    gone = scenes / "images" / "scene-007.jpg"
    kept = gone.read_bytes()
    gone.unlink()
    try:
        go(page, f"{serve(folder)}/pair?q=8&size=72")
        expect(page.get_by_text("the file is not there any more")).to_be_visible()
    finally:
        gone.write_bytes(kept)


def test_an_empty_workspace_offers_the_demo_and_ones_own_photos(serve: Serve, careful: Page, tmp_path: Path) -> None:
    page = careful
    go(page, serve(tmp_path / "fresh"))
    expect(page.get_by_role("button", name="Build the demo")).to_be_visible()
    page.get_by_label("Folder on this machine").fill(str(tmp_path / "nothing"))
    page.get_by_role("button", name="Add photos").click()
    expect(page.get_by_text(f"There is no folder {tmp_path / 'nothing'}.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_are_followed(site: tuple[str, Workspace], careful: Page, scheme: str) -> None:
    page = careful
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    go(page, f"{site[0]}/train")
    background = page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    brightness = sum(int(v) for v in re.findall(r"\d+", background)[:3]) / 3
    assert (brightness > 128) == (scheme == "light")


def test_no_page_has_a_serious_finding_or_is_wider_than_a_phone(
    site: tuple[str, Workspace], careful: Page, tmp_path: Path
) -> None:
    """By axe, in light and dark; at 390 pixels, and at 640, which is a window of 1280 at 200 %."""
    page = careful
    found: dict[str, list[str]] = {}
    for number, (name, drawn) in enumerate(PAGES.items()):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="dark" if number % 2 else "light")
        go(page, f"{site[0]}/{name}")
        page.locator(drawn).filter(visible=True).first.wait_for()
        page.locator(IDLE).wait_for()
        found[name] = findings(page)
        for width in (640, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_timeout(150)
            if (wider := overflow(page)) > 0:
                found[name].append(f"{wider} px wider than {width}")
    write_folder(choose(site[1], "demo-starter", ShareRequest()), tmp_path / "shared")
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for view, drawn in SHARED.items():
            page.goto(f"file://{tmp_path}/shared/index.html#view={view}")
            page.reload()
            page.locator(drawn).first.wait_for()
            found[f"shared {view} {width}"] = findings(page) + ["too wide"] * (overflow(page) > 0)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_shared_folder_opens_from_disk_and_is_used_by_keys(
    mined_workspace: Workspace, careful: Page, tmp_path: Path
) -> None:
    page = careful
    write_folder(choose(mined_workspace, "demo-starter", ShareRequest()), tmp_path / "shared")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{tmp_path}/shared/index.html")
    expect(page).to_have_title("demo-starter · matched regions of demo")
    expect(page.locator(".tile")).to_have_count(12)
    page.locator(".tile").nth(2).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Photo 3 of 12.")).to_be_visible()
    expect(page.locator(".caption-name").first).to_have_text("images/scene-002.jpg")
    expect(page.locator(".film")).to_have_count(4)
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile(r"#view=pair&q=2&nn=2"))
    page.keyboard.press("ArrowRight")
    expect(page.locator(".caption-name").first).to_have_text("images/scene-003.jpg")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile(r"pair=\d+-\d+"))
    expect(page.locator(".reasons dd").first).to_have_text(re.compile(r"0\.\d{3}"))
    page.get_by_role("link", name="Matches").click()
    first = page.locator(".cosine").first
    expect(page.locator(".match")).to_have_count(36)
    most = first.inner_text()
    page.get_by_label("Show first").select_option("Least similar")
    expect(first).not_to_have_text(most)
    page.go_back()
    expect(first).to_have_text(most)
    page.get_by_role("link", name="About the set").click()
    expect(page.get_by_text("orl mine --dataset demo")).to_be_visible()
    assert {url.split("/", 3)[0] for url in asked} <= {"file:", "data:"}
