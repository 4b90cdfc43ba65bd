"""A set as a folder of static files: pages, data and pictures, which a browser opens from disk.

Browsers refuse to load JSON and ES modules from disk. So the data are scripts that each leave one value in a global
object, and the pages are one classic script, bundled from the components of the explorer.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orl_explorer.app.components.bundle import classic_script, style
from orl_explorer.app.share.about import about_of
from orl_explorer.app.share.choice import SMALL, ShareChoice
from orl_explorer.app.share.pictures import jpeg_of
from orl_explorer.app.share.rows import CHUNK, index_of, matches_of, rows_of_photos
from orl_explorer.db.photos import datasets
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import said_plainly, whole_file
from orl_explorer.train.interchange.pieces import zipped
from orl_explorer.train.progress import Progress

HERE = Path(__file__).parent
APP = HERE.parent
STYLES = {"photos": "pages/explore/gallery", "matches": "pages/matches/grid", "pair": "pages/pair/view"}


def write_folder(choice: ShareChoice, out: Path, progress: Progress | None = None) -> tuple[int, int]:
    """Write the folder. Returns the number of photos without a picture, and the bytes written.

    It appears when it is complete. Raises UserError if ``out`` is a file or a folder that is not empty.
    """
    with said_plainly(out):
        if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
            out.rmdir()
    size, lacking = 0, 0
    with whole_file(out) as folder:
        for name, content in files(choice, progress):
            if content is None:
                lacking += 1
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            size += len(content)
    return lacking, size


def stream_folder(choice: ShareChoice) -> tuple[str, Iterator[bytes]]:
    """Return a file name and the bytes of a zip of the folder, in pieces."""
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in choice.mined.name).lstrip(".") or "set"
    return f"{stem}-shared.zip", zipped((f"{stem}/{name}", [made]) for name, made in files(choice) if made is not None)


def files(choice: ShareChoice, progress: Progress | None = None) -> Iterator[tuple[str, bytes | None]]:
    """Yield the path of each file in the folder, and its content: None for a picture that cannot be made."""
    progress = progress or Progress()
    progress.phase("Digesting the set", 1)
    about = about_of(choice)
    progress.advance()
    yield "index.html", _page(about["set"], about["dataset"]).encode()
    yield "share.css", style(HERE / "share.css").encode()
    styles = {name: style(APP / f"{view}.css") for name, view in STYLES.items()}
    yield "share.js", f"self.orlStyles = {json.dumps(styles)};\n{classic_script(HERE / 'view.js')}".encode()
    yield _data("about", about)
    progress.phase("Writing pictures", len(choice.images))
    pictured = set[int]()
    for at, image in enumerate(choice.images):
        small = jpeg_of(choice.photos, image, SMALL)
        yield f"pictures/small/{at}.jpg", small
        if small is not None:
            pictured.add(at)
            if about["full"]:
                yield f"pictures/full/{at}.jpg", jpeg_of(choice.photos, image, None)
        progress.advance()
    progress.phase("Writing pairs", len(choice.images))
    rows = {}
    for at, own in rows_of_photos(choice):
        rows[at] = own
        progress.advance()
    for start in range(0, len(rows), CHUNK):
        yield _data(f"rows-{start // CHUNK}", [rows[at] for at in range(start, min(start + CHUNK, len(rows)))])
    yield _data("index", index_of(choice, pictured, rows))
    yield _data("matches", matches_of(rows))


def _data(name: str, value: Any) -> tuple[str, bytes]:
    text = json.dumps(value, separators=(",", ":"))
    return f"data/{name}.js", f'(self.orlData ??= {{}})["{name}"] = {text};\n'.encode()


def _page(name: str, dataset: str) -> str:
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return page.replace("{set}", html.escape(name)).replace("{dataset}", html.escape(dataset))


def refuse_folder(store: Store, out: Path) -> None:
    """Raise UserError if there is something where the folder is to be written, or if it lies among photos."""
    for dataset in datasets(store):
        if dataset.layout != "union" and out.resolve().is_relative_to(dataset.root):
            raise UserError(
                f"{out} lies in the folder of the dataset '{dataset.name}', whose next ingest would take its pictures "
                "in as photos. Choose another --out."
            )
    if out.is_symlink() or out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"{out} already exists and is not empty. Choose another --out, or remove it.")
