"""The attention page and the map in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from orl_explorer.db.people.selections import selected_ids, selections
from orl_explorer.train.encoders import weights
from orl_explorer.train.mining import maps
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, Serve, patient_context, saved_figure
from tests.named import photos_map

PLACES = np.array([[x, y] for y in (-0.75, -0.25, 0.25, 0.75) for x in (-1.0, 0.0, 1.0)], np.float32)


@pytest.fixture(scope="module")
def site(mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Workspace]:
    """A server on a copy of the mined demo: a second encoder, and a map with its photos in four rows of three."""
    folder = tmp_path_factory.mktemp("site") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    workspace = open_workspace(folder)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), folder / "random.pth")
    weights.add(workspace, str(folder / "random.pth"), "random")
    shown = photos_map(workspace, "demo", "starter")
    points = maps.points_of(workspace, shown)
    made = maps.Map(points, PLACES, np.eye(12, dtype=np.float16), maps.map_state(shown, points), fresh=True)
    maps.keep_map(workspace, shown, made)
    return serve(folder), workspace


@pytest.fixture(scope="module")
def browsing(browser: Browser) -> Iterator[BrowserContext]:
    """One context for the module, whose cache keeps Streamlit's own files between tests."""
    context = patient_context(browser, 1600, 1000)
    yield context
    context.close()


@pytest.fixture
def page(browsing: BrowserContext) -> Iterator[Page]:
    """A page of that context."""
    opened = browsing.new_page()
    yield opened
    opened.close()


def go(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(IDLE).wait_for()


def heats(page: Page) -> list[str]:
    """Return the URLs of the maps on screen, without the server."""
    return [
        unquote(a.split("/attention/")[1]) for a in page.locator(".heat").evaluate_all("all => all.map(e => e.src)")
    ]


def all_there(page: Page) -> None:
    page.wait_for_function(
        """() => { const roots = [...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean);
        const all = roots.flatMap(r => [...r.querySelectorAll('.query .heat')]);
        return all.length && all.every(e => e.complete && e.naturalWidth > 0); }""",
        timeout=180_000,
    )


def test_a_click_in_any_panel_changes_the_map_of_all_panels_of_all_encoders(
    site: tuple[str, Workspace], careful: Page
) -> None:
    page = careful
    go(page, f"{site[0]}/attention?q=3&neighbours=2")
    expect(page.locator(".column")).to_have_count(2)
    expect(page.locator(".column").first.locator(".note.supervised")).to_have_count(1)
    assert sorted(a.split("/")[0] for a in heats(page)) == ["1", "1", "1", "2", "2", "2"]
    assert not any("?" in a for a in heats(page))
    near = page.locator(".panel.neighbor").first
    size = near.bounding_box()
    assert size
    near.click(position={"x": size["width"] / 2, "y": size["height"] / 2})
    expect(page).to_have_url(re.compile(r"to=\d+-\d+-\d+"))
    [target] = {a.split("?")[1] for a in heats(page)}
    assert re.fullmatch(r"point=\d+-\d+-\d+", target)
    neighbor = int(heats(page)[1].split("/")[1].split("?")[0])
    assert target.startswith(f"point={neighbor}-")
    all_there(page)
    expect(page.locator(".marks circle")).to_have_count(4)  # two rings in that neighbour, for each encoder
    expect(page.get_by_text("one scale for all maps; values below 0 are shown as 0")).to_be_visible()
    page.locator(".roi").nth(1).click()
    expect(page).to_have_url(re.compile(r"to=3-\d+-\d+-\d+-\d+"))
    assert {a.split("?")[1].split("=")[0] for a in heats(page)} == {"roi"}
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("to="))
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("q=4"))
    expect(page.get_by_text("scene-003.jpg").first).to_be_visible()


def test_opacity_and_layers_need_no_picture_and_are_in_the_url(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/attention?q=3&neighbours=1&encoders=starter")
    all_there(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider = page.get_by_label("Opacity of the map")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    heat = page.locator(".panel.query .heat")
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "0.8"
    page.get_by_role("button", name="Photo", exact=True).click()
    assert heat.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.get_by_role("button", name="Map", exact=True).click()
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "1"
    expect(page).to_have_url(re.compile(r"alpha=80.*layer=map|layer=map.*alpha=80"))
    pictures = [url for url in asked if "/app/static/" in url and "/crop/" not in url]  # those of the strip may be late
    assert pictures == []
    page.reload()
    page.locator(IDLE).wait_for()
    expect(page.get_by_role("button", name="Map", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Opacity of the map")).to_have_value("80")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_says_what_it_shows(site: tuple[str, Workspace], careful: Page, kind: str) -> None:
    page = careful
    go(page, f"{site[0]}/attention?q=3&neighbours=2&to=3-100-80&own=1")
    all_there(page)
    figure = saved_figure(page, kind)
    assert figure.name == f"attention-scene-002.{kind}"
    if kind == "png":
        with Image.open(figure.path) as picture:
            assert picture.width > 1500
            assert len(np.unique(np.asarray(picture.convert("L").resize((64, 64))))) > 50  # it has pictures in it
        return
    words = " ".join(figure.words)
    for said in (
        "Photo: scene-002.jpg. Below: 2 neighbours from the set demo-starter.",
        "starter (efficientnet_lite0, supervised)",
        "random (resnet18, imported, supervised)",
        "cosine of the last layer to the point (100, 80) of scene-002.jpg",
        "Scale: min to max, each map has its own scale.",
    ):
        assert said in words
    assert [picture[:11] for picture in figure.pictures] == ["data:image/"] * 12  # three photos, maps, two encoders
    link = parse_qs(urlsplit(figure.words[-1]).query)
    assert link["encoders"] == ["starter", "random"]
    assert {"data": ["demo"], "set": ["demo-starter"], "to": ["3-100-80"], "alpha": ["60"]}.items() <= link.items()


def test_a_photo_gone_from_disk_is_a_sentence_in_its_panel(
    mined_workspace: Workspace, scenes: Path, serve: Serve, page: Page, tmp_path: Path
) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    gone = scenes / "images" / "scene-007.jpg"
    kept = gone.read_bytes()
    gone.unlink()
    try:
        go(page, f"{serve(folder)}/attention?q=8&neighbours=1")
        problem = page.locator(".panel.query .problem")
        expect(problem).to_contain_text("the file is not there any more")
        expect(page.locator(".panel.neighbor .problem")).to_be_hidden()
    finally:
        gone.write_bytes(kept)


def surface(page: Page) -> tuple[float, float, float, float]:
    """Return the centre of the map on screen, and the pixels of a unit to the right and up."""
    expect(page.locator(".entry, .ends").first).to_be_visible()
    expect(page.locator(".map-view .message")).to_be_hidden()
    box = page.locator(".surface").bounding_box()
    assert box
    unit = min(box["width"] / 1, box["height"] / 0.75) / 2 * 0.94
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, unit, -unit


def draw(page: Page, *corners: tuple[float, float]) -> None:
    """Press at the first corner, in units of the map, move through the others, and release."""
    x, y, right, up = surface(page)
    spots = [(x + a * right, y + b * up) for a, b in corners]
    page.mouse.move(*spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*spot, steps=5)
    page.mouse.up()


def test_a_lasso_chooses_the_points_inside_and_opens_them_in_the_gallery(
    site: tuple[str, Workspace], careful: Page
) -> None:
    page, (address, workspace) = careful, site
    go(page, f"{address}/map")
    surface(page)
    assert page.locator(".map-view").get_attribute("data-painter") == "GlPoints"
    page.get_by_role("button", name="Lasso").click()
    # Around 4, 7, 8 and 5 with a bay that leaves 5 out: photos are numbered from the lower left.
    draw(page, (-1.04, -0.4), (-0.4, -0.4), (-0.4, 0.1), (0.3, 0.1), (0.3, 0.4), (-1.04, 0.4))
    expect(page.get_by_text("3 of 12 photos selected")).to_be_visible()
    page.get_by_role("button", name="Open 3 selected photos in Explore").click()
    expect(page).to_have_url(re.compile(r"/(explore)?\?.*selection=\d+"))
    expect(page.locator(".tile")).to_have_count(3)
    newest = selections(workspace.store, 1)[0][0]
    assert selected_ids(workspace.store, newest).tolist() == [4, 7, 8]


def test_the_map_is_saved_with_its_points_its_colours_and_what_they_mean(
    site: tuple[str, Workspace], careful: Page
) -> None:
    page = careful
    go(page, f"{site[0]}/map?colour=cluster&clusters=3")
    left, top, right, up = surface(page)
    figure = saved_figure(page)
    assert figure.name == "map-demo-starter.svg"
    said = " ".join(figure.words)
    assert "12 photos of demo by features of starter (efficientnet_lite0, supervised): 12 principal components" in said
    assert "Colour: Cluster, k = 3, k-means of the principal components." in said
    assert "cluster 3" in said and "Click to isolate" not in said
    link = parse_qs(urlsplit(figure.words[-1]).query)
    assert {
        "by_encoder": ["starter"],
        "colour": ["cluster"],
        "clusters": ["3"],
        "data": ["demo"],
    }.items() <= link.items()
    with Image.open(saved_figure(page, "png").path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    frame = page.locator(".map-view .stage").bounding_box()
    assert frame
    colours = set()
    for x, y in PLACES.tolist():
        across, down = left + x * right - frame["x"] + 12, top + y * up - frame["y"] + 12
        colours.add(tuple(pixels[round(2 * down), round(2 * across)] // 16))
    assert len(colours) == 3  # a colour for each cluster, at the points' places
    ground = pixels[2 * 12 + 60, 2 * 12 + 60] // 16
    assert tuple(ground) not in colours


def test_a_box_chooses_too_and_an_isolated_label_alone_can_be_chosen(
    site: tuple[str, Workspace], careful: Page
) -> None:
    page = careful
    go(page, f"{site[0]}/map?colour=cluster&clusters=2")
    surface(page)
    page.get_by_role("button", name="Box").click()
    draw(page, (-1.04, -0.79), (0.4, 0.4))
    expect(page.get_by_text("6 of 12 photos selected")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("12 photos", exact=True)).to_be_visible()
    count = int(page.locator(".entry").nth(1).locator(".muted").inner_text())
    page.locator(".entry").nth(1).click()
    expect(page).to_have_url(re.compile(r"only=cluster"))
    draw(page, (-1.05, -0.79), (1.05, 0.79))
    expect(page.get_by_text(f"{count} of 12 photos selected")).to_be_visible()
    page.reload()
    page.locator(IDLE).wait_for()
    expect(page.locator(".entry").nth(1)).to_have_attribute("aria-pressed", "true")


def test_a_point_shows_its_photo_and_a_click_opens_the_pair_page(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/map")
    x, y, _, up = surface(page)
    page.mouse.move(x, y + 0.25 * up)  # the middle of the third row
    expect(page.locator(".tip-name")).to_have_text("images/scene-007.jpg")
    expect(page.locator(".tip img")).to_have_js_property("complete", True)
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"/pair\?.*q=8"))


def test_zoom_is_in_the_url_and_colours_change_without_the_page(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    go(page, f"{site[0]}/map")
    x, y, _, _ = surface(page)
    page.mouse.move(x + 80, y)
    page.mouse.wheel(0, -500)
    expect(page).to_have_url(re.compile(r"at="))
    page.get_by_label("Colour by").select_option("similarity")
    expect(page.locator(".legend")).to_contain_text("of a photo's pairs in demo-starter")
    expect(page.locator(".legend .ends")).to_contain_text("≥ 0.")
    expect(page).to_have_url(re.compile(r"colour=similarity"))
    page.get_by_role("button", name="Whole map").click()
    expect(page).not_to_have_url(re.compile(r"at="))


def test_without_webgl_a_plain_canvas_draws_the_same_points(site: tuple[str, Workspace], careful: Page) -> None:
    page = careful
    page.add_init_script(
        """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === "webgl2" ? null : real.call(this, kind, ...more); };"""
    )
    go(page, f"{site[0]}/map")
    surface(page)
    assert page.locator(".map-view").get_attribute("data-painter") == "PlainPoints"
    drawn = page.locator("canvas.points").evaluate(
        """async (canvas) => {
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.filter((value, at) => at % 4 === 3 && value > 0).length; }"""
    )
    assert drawn > 12 * 30  # twelve squares of some ten pixels each way
