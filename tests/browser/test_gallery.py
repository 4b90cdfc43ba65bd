"""Choosing, tagging, filtering and judging in a real browser, and a download."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image as Picture
from playwright.sync_api import Page, expect

from orl_explorer.app.explorer.author import author
from orl_explorer.db.findings import Finding, replace_findings
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.people.tags import tags_of, tags_of_pairs
from orl_explorer.db.people.verdicts import verdicts_on
from orl_explorer.db.sets.pairs import matches_at
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.demo.scenes import compose_scene
from orl_explorer.train.mining.judging import PairSample, sample_keys
from orl_explorer.train.mining.orders import MatchOrder, make_matches, match_keys, match_rows
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, Serve, saved_figure


@pytest.fixture(scope="module")
def site(mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Workspace]:
    """A server on a copy of the mined demo, and the workspace it serves."""
    folder = tmp_path_factory.mktemp("gallery") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    return serve(folder), open_workspace(folder)


def go(page: Page, address: str, first: str) -> None:
    """Open a page and wait until its script has run and its component is drawn."""
    page.goto(address)
    page.locator(first).first.wait_for()
    page.locator(IDLE).wait_for()


def test_photos_are_chosen_tagged_filtered_and_kept_as_a_selection(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    go(page, address, ".tile")
    expect(page.get_by_role("toolbar", name="Selected photos")).to_be_hidden()
    page.locator(".tile").nth(1).focus()
    page.keyboard.press("x")
    page.get_by_label("Select scene-003.jpg").check()
    page.get_by_label("Select scene-005.jpg").click(modifiers=["Shift"])  # and all between
    expect(page.get_by_text("4 photos selected")).to_be_visible()
    page.get_by_label("Tag", exact=True).fill("night")
    page.keyboard.press("Enter")
    expect(page.locator(".badge.tag")).to_have_count(4)
    assert tags_of(workspace.store, range(1, 13)) == dict.fromkeys([2, 4, 5, 6], ("night",))
    expect(page.get_by_text("4 photos selected")).to_be_visible()
    page.get_by_role("button", name="Keep out of mining").click()
    expect(page.locator(".badge.tag")).to_have_count(8)
    assert kept_out(workspace.store, 1).tolist() == [2, 4, 5, 6]
    page.get_by_role("button", name="Let into mining again").click()
    expect(page.locator(".badge.tag")).to_have_count(4)

    page.get_by_role("button", name="Keep as a selection").click()
    expect(page).to_have_url(re.compile(r"selection=1"))
    expect(page.locator(".tile")).to_have_count(4)
    expect(page.get_by_text("4 of 12 photos")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.locator(".tile")).to_have_count(12)
    expect(page).not_to_have_url(re.compile("selection"))


def test_a_shuffle_is_in_the_url_and_can_be_rolled_again(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/?sort=Random&seed=5", ".tile")
    first = page.locator(".tile").evaluate_all("all => all.map(tile => tile.dataset.id)")
    assert sorted(map(int, first)) == list(range(1, 13))
    page.get_by_role("button", name="Shuffle").click()
    expect(page).not_to_have_url(re.compile(r"seed=5(&|$)"))
    page.locator(IDLE).wait_for()
    page.reload()
    page.locator(".tile").first.wait_for()
    assert page.locator(".tile").evaluate_all("all => all.map(tile => tile.dataset.id)") != first


def test_a_page_of_photos_and_one_of_matches_are_saved_as_figures(site: tuple[str, Workspace], careful: Page) -> None:
    address, page = site[0], careful
    go(page, f"{address}/?sort=Pairs&desc=true&least=1", ".tile")
    figure = saved_figure(page)
    assert figure.name == "photos-demo-1.svg"
    assert [picture[:11] for picture in figure.pictures] == ["data:image/"] * 12
    names = [word for word in figure.words if word.startswith("scene-")]
    assert sorted(names) == [f"scene-{n:03d}.jpg" for n in range(12)]
    caption = "Photos 1 to 12 of 12 of demo, set demo-starter: by pairs, descending; pairs at least 1."
    assert caption in " ".join(figure.words)
    assert figure.words[-1].endswith("/?sort=Pairs&desc=true&least=1&data=demo&set=demo-starter")

    go(page, f"{address}/matches?by=Least+similar&floor=0.5", ".match")
    cards = page.locator(".match").count()
    first = page.locator(".cosine").first.inner_text()
    figure = saved_figure(page)
    assert figure.name == "matches-demo-starter-1.svg"
    assert len(figure.pictures) == 2 * cards
    assert figure.words[0] == first
    said = " ".join(figure.words)
    assert f"Pairs 1 to {cards} of " in said
    assert "of the set demo-starter, least similar; similarity at least 0.500." in said


def test_matches_are_judged_and_tagged_by_keyboard_and_lead_to_their_pair(
    site: tuple[str, Workspace], careful: Page
) -> None:
    address, workspace = site
    page = careful
    mined = find_set(workspace.store, "demo-starter")
    assert mined is not None
    found = make_matches(workspace, mined)
    order = MatchOrder("cycle", False)
    keys = match_keys(found, match_rows(workspace, mined, found, order), 0, 3)
    pairs = [(m.query_roi_id, m.key_roi_id) for m in matches_at(workspace.store, mined.id, keys)]
    go(page, f"{address}/matches?by=Inconsistent+first", ".match")
    cards = page.locator(".match")
    assert cards.nth(0).get_attribute("data-id") == f"{mined.id}-{keys[0]}"
    cards.nth(0).focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("t")
    page.keyboard.type("text x g i")  # letters of a word judge nothing
    page.keyboard.press("Enter")
    expect(page.locator(".badge.tag")).to_have_text("text x g i")
    expect(page.locator(".card.wrong")).to_have_count(1)
    expect(page.locator(".card.good")).to_have_count(1)
    expect(page.locator(".match:focus")).to_have_attribute("data-id", f"{mined.id}-{keys[2]}")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(verdicts_on(workspace.store, pairs, author())) < 2:
        page.wait_for_timeout(200)
    assert verdicts_on(workspace.store, pairs, author()) == {pairs[0]: "wrong", pairs[1]: "good"}
    assert tags_of_pairs(workspace.store, pairs) == {pairs[2]: ("text x g i",)}

    page.goto(f"{address}/matches?by=Inconsistent+first&verdict=wrong")
    expect(page.locator(".match")).to_have_count(1)
    page.locator(".match").focus()
    page.keyboard.press("x")  # the same key takes it back, and the filter lets nothing through any more
    expect(page.get_by_text("No pair matches these filters. Clear a filter.")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    page.locator(".match").first.wait_for()
    page.locator(IDLE).wait_for()
    page.locator(".match").first.click()
    expect(page.locator(".stage-svg")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/pair\?.*q=\d+.*nn=\d.*pair=\d+-\d+"))


def test_pairs_are_judged_by_keys_alone_and_stay_judged(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    mined = find_set(workspace.store, "demo-starter")
    assert mined is not None
    keys = sample_keys(workspace, mined, make_matches(workspace, mined), PairSample(count=6, seed=9))
    pairs = [(m.query_roi_id, m.key_roi_id) for m in matches_at(workspace.store, mined.id, keys)]
    go(page, f"{address}/judge?pairs=6&draw=9", ".act.good")
    expect(page.locator(".here")).to_have_text("pair 1")
    expect(page.locator(".side img")).to_have_count(4)
    for key in "gsxgu":  # the second is skipped, the fourth is taken back
        page.keyboard.press(key)
    expect(page.locator(".count")).to_have_text("2 of 6 judged")
    expect(page.locator(".here")).to_have_text("pair 4")
    expect(page.get_by_role("status").filter(has_text="Pair 4")).to_have_text("Pair 4: no verdict again.")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="Wrong")).to_have_attribute("aria-pressed", "true")
    deadline, judged = time.monotonic() + 20, {pairs[0]: "good", pairs[2]: "wrong"}
    while time.monotonic() < deadline and verdicts_on(workspace.store, pairs, author()) != judged:
        page.wait_for_timeout(200)
    assert verdicts_on(workspace.store, pairs, author()) == judged
    go(page, f"{address}/judge?pairs=6&draw=9", ".act.good")
    expect(page.locator(".count")).to_have_text("2 of 6 judged")
    expect(page.locator(".here")).to_have_text("pair 2")


def test_an_export_is_downloaded_by_a_click(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/sets", "[data-testid=stDataFrame]")
    with page.expect_download() as download:
        page.get_by_role("link", name="RoIs, COCO json").click()
    assert download.value.suggested_filename == "demo-starter-rois.json"
    assert len(json.loads(Path(download.value.path()).read_text())["images"]) == 12


def test_an_ingest_report_leads_to_its_photos_and_its_csv(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    found = [Finding("clipped", f"images/scene-00{n}.jpg", 1, "by <b>9</b> pixels", n + 1) for n in (4, 6)]
    replace_findings(workspace.store, 1, found + [Finding("hidden", f".{n}") for n in range(12)])
    go(page, f"{address}/ingest", "table.findings")
    hidden = page.locator("table.findings", has_text=".0")
    expect(hidden.locator("tr")).to_have_count(10)
    page.get_by_label("Page 2").or_(page.get_by_role("button", name="2", exact=True)).first.click()
    expect(page.locator("table.findings", has_text=".11").locator("tr")).to_have_count(2)
    expect(page.get_by_text("by <b>9</b> pixels").first).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download CSV").click()
    assert waiting.value.suggested_filename == "demo-ingest.csv"
    page.get_by_role("button", name="Show 2 in the gallery").click()
    expect(page).to_have_url(re.compile("found=clipped"))
    expect(page.locator(".tile")).to_have_count(2)


def test_a_picture_and_a_drawn_box_are_searched_with(
    site: tuple[str, Workspace], careful: Page, tmp_path: Path
) -> None:
    address, _ = site
    page = careful
    Picture.fromarray(compose_scene(77, 3).image).save(tmp_path / "picture.png")
    go(page, address, ".tile")
    page.get_by_role("button", name="Search by example").click()
    page.locator("input.file").set_input_files(tmp_path / "picture.png")
    expect(page).to_have_url(re.compile(r"/search\?photo=[0-9a-f]{32}$"))
    expect(page.locator(".results .open")).to_have_count(48)  # the server loads the encoder first
    page.locator(IDLE).wait_for()
    place = page.locator("svg.photo").bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 4, place["y"] + place["height"] / 4)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 3 / 4, place["y"] + place["height"] * 3 / 4, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"box=\d+-\d+-\d+-\d+"))
    page.locator(IDLE).wait_for()
    page.locator(".results .open").first.focus()
    page.keyboard.press("s")
    expect(page).to_have_url(re.compile(r"q=\d+"))
    expect(page.get_by_text("is a RoI of the set")).to_be_visible()
    page.locator(IDLE).wait_for()  # then the answer is that to the new query
    page.locator(".results .open").nth(1).press("Enter")
    expect(page).to_have_url(re.compile(r"/pair\?q=\d+&nn=\d.*pair=\d+-\d+"))
    page.locator(".link").first.wait_for()
