"""Every page of the explorer over a store in PostgreSQL, and a page that fails."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import make_url

from orl_explorer.db.people.tags import tag_pair, tag_photos
from orl_explorer.db.sets.read import pair_rows
from orl_explorer.db.store import Store, open_store
from orl_explorer.db.transfer.copying import copy_store
from orl_explorer.train.mining.maps import make_map
from orl_explorer.train.workspace import Workspace
from tests.browser.conftest import IDLE, Served
from tests.named import photos_map
from tests.postgres import PostgresServer

# What each page shows of the demo, which is there only if its questions to the database were answered.
PAGES = {
    "": (".tile", 12),
    "?tag=night": (".tile", 2),
    "ingest": ("[data-testid=stMain] h1", 1),
    "matches": (".card", 36),
    "matches?ptag=odd": (".card", 1),
    "pair?q=3": (".stage-svg", 1),
    "tune": ("[data-testid=stSlider]", 2),
    "compare": ("[data-testid=stMain] >> text=Compare", 1),
    "attention?q=3": ("canvas, .stage-svg, img", 1),
    "map": ("canvas", 1),
    "sets": ("[data-testid=stMain] >> text=demo-starter", 1),
    "train": ("form, [data-testid=stForm], [data-testid=stMain] button", 1),
    "train?view=runs": ("[data-testid=stDataFrame]", 1),
    "train?run=1": ("h3:has-text('Run 1 · demo-starter')", 1),
    "train?view=lineage": ("svg", 1),
    "train?view=results": ("[data-testid=stMain] >> text=evaluation", 1),
}


@pytest.fixture(scope="module")
def site(
    mined_workspace: Workspace, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Store]]:
    """A server on a copy of the mined demo whose store is in PostgreSQL, and that store."""
    folder = tmp_path_factory.mktemp("postgresql") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    url = postgres.create()
    copy_store(mined_workspace.store, make_url(url))
    (folder / "orl.sqlite").unlink()
    store = open_store(url)
    make_map(Workspace(folder, store), photos_map(Workspace(folder, store), "demo", "starter"))
    tag_photos(store, [1, 2], "night", "ann")
    pair = next(rows[0] for rows in pair_rows(store, 1, [*range(1, 13)]).values() if rows)
    tag_pair(store, pair.query_roi_id, pair.key_roi_id, "odd", "ann")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ORL_DATABASE_URL", url)
        served = Served(folder, ("--no-login",), tmp_path_factory.mktemp("server") / "log.txt")
    yield served.address, store
    served.end()
    store.close()


def test_every_page_shows_its_content(site: tuple[str, Store], careful: Page) -> None:
    for name, (selector, least) in PAGES.items():
        careful.goto(f"{site[0]}/{name}")
        careful.locator(IDLE).wait_for()
        expect(careful.locator(selector).nth(least - 1), name).to_be_attached()
        for trouble in ("stException", "stAlertContentError"):
            expect(careful.get_by_test_id(trouble), name).to_have_count(0)


def test_an_address_with_an_impossible_id_is_a_sentence(site: tuple[str, Store], page: Page) -> None:
    page.goto(f"{site[0]}/pair?q=99999999999")
    expect(page.get_by_text("Photo not found.")).to_be_visible()


def test_a_page_that_fails_says_why(site: tuple[str, Store], page: Page) -> None:
    with site[1].engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE pair_tag RENAME TO lost")
    page.goto(f"{site[0]}/matches")
    said = 'This page cannot be shown: The database reported an error: relation "pair_tag" does not exist'
    expect(page.get_by_text(re.compile(re.escape(said)))).to_be_visible()
    with site[1].engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO pair_tag")
    page.reload()
    expect(page.locator(".card").nth(35)).to_be_attached()
