"""Checks of a workspace: its database, and the files that the database names. Nothing is written, created or locked."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orl_explorer.app.doctor import Checked, sentence
from orl_explorer.train.errors import UserError
from orl_explorer.train.words import plural

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from orl_explorer.db.models import Dataset, Encoder
    from orl_explorer.db.store import Store
    from orl_explorer.train.workspace import Workspace

SAMPLE = 8  # photos that are read of each dataset
CHECKED_WHOLE = 500_000_000  # bytes of a SQLite file up to which every page is checked
BACKUP = "Restore a backup, or choose another workspace with --workspace DIR."


def check_workspace(path: Path) -> Iterator[Checked]:
    """Yield the results of all checks of a workspace."""
    url = os.environ.get("ORL_DATABASE_URL", "")
    file = path / "orl.sqlite"
    if not url and not file.is_file():
        advice = "If you expected one, name its folder with --workspace or $ORL_WORKSPACE."
        yield Checked("store", "database", "warning", f"there is no workspace in {path}", advice)
        return
    try:
        from sqlalchemy import make_url

        from orl_explorer.db.store import HEAD, Store

        if url and make_url(url).get_backend_name() == "sqlite":
            url, file = "", Path(make_url(url).database or "")
        engine = _engine(url, file)
        with engine.connect() as connection:
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    except Exception as error:  # a damaged file, an unreachable server, a missing driver
        advice = "Check $ORL_DATABASE_URL, and that the server runs." if url else BACKUP
        yield Checked("store", "database", "problem", f"cannot be read: {sentence(error)}", advice)
        return
    size = "" if url else f", {file.stat().st_size / 1e6:.1f} MB"
    yield Checked("store", "database", "ok", engine.dialect.name + size)
    if revision == HEAD:
        yield Checked("store", "schema", "ok", revision)
        if not url:
            yield _pages(engine, file)
        yield from _contents(Store(engine, read_only=True), path)
    else:
        advice = "The next command upgrades an older one. For a newer one, upgrade ORL Explorer."
        yield Checked("store", "schema", "warning", f"{revision}; this version uses {HEAD}", advice)
    engine.dispose()


def _engine(url: str, file: Path) -> Engine:
    """Return an engine that cannot write. url: of a server, or empty for a SQLite file."""
    from sqlalchemy import create_engine, make_url

    from orl_explorer.db.postgresql import postgresql_engine

    if url:
        return postgresql_engine(make_url(url), read_only=True)
    wal = Path(f"{file}-wal")
    live = wal.is_file() and wal.stat().st_size > 0
    # Without a write-ahead log nobody is writing, and an immutable file is opened without creating one.
    address = f"file:{quote(os.fsencode(file.absolute()))}?{'mode=ro' if live else 'immutable=1'}"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False))


def _pages(engine: Engine, file: Path) -> Checked:
    if file.stat().st_size > CHECKED_WHOLE:
        return Checked("store", "pages", "ok", "not checked: the file is large")
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except Exception as error:  # SQLite reports some damage as an error
        found = sentence(error)
    if found == "ok":
        return Checked("store", "pages", "ok", "whole")
    return Checked("store", "pages", "problem", found.splitlines()[-1], BACKUP)


def _contents(store: Store, path: Path) -> Iterator[Checked]:
    try:
        from orl_explorer.train.workspace import Workspace

        opened = Workspace(path, store)
    except Exception as error:  # a package is missing, which another check says
        yield Checked("workspace", "contents", "problem", sentence(error), "Repair the installation, then check again.")
        return
    parts: dict[str, Callable[[Workspace], Iterable[Checked]]] = {
        "encoders": _encoders,
        "datasets": _datasets,
        "features": _features,
        "runs": _runs,
        "files": _orphans,
        "missing files": _missing,
    }
    for area, check in parts.items():
        try:
            yield from check(opened)
        except Exception as error:  # one damaged table or missing package must not hide the other parts
            yield Checked(area, "all", "problem", f"cannot be checked: {sentence(error)}", "See the other problems.")


def _encoders(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.db.encoders import encoders

    for row in encoders(opened.store):
        yield _encoder(opened, row)


def _encoder(opened: Workspace, row: Encoder) -> Checked:
    from orl_explorer.db.encoders import VECTORS

    if row.kind == VECTORS:
        return _vectors(opened, row)
    file = opened.path / row.weights_path
    if not file.is_file():
        advice = "Copy the file back from a backup, or add the encoder again under another name."
        return Checked("encoders", row.name, "problem", f"{file} is missing", advice)
    try:
        from orl_explorer.train.encoders.weights import stored_weights

        stored_weights(opened, row)
    except ImportError as error:
        return Checked("encoders", row.name, "warning", f"not checked: {sentence(error)}", "Repair the installation.")
    except Exception as error:  # a damaged file may raise anything
        advice = "Copy the file back from a backup, or add the encoder again under another name."
        return Checked("encoders", row.name, "problem", sentence(error), advice)
    return Checked("encoders", row.name, "ok", f"{row.architecture}, as it was added")


def _vectors(opened: Workspace, row: Encoder) -> Checked:
    """Check the features of an encoder that is imported vectors: nothing can compute them again."""
    from orl_explorer.train.mining.features import Features

    advice = "Copy the folder back from a backup, or import the vectors again with `orl import features`."
    try:
        features = Features(opened, row)
        photos, boxes = features.images.rows, features.rois.rows
    except UserError as error:
        return Checked("encoders", row.name, "problem", sentence(error), advice)
    if not photos:
        return Checked("encoders", row.name, "problem", f"there are no vectors in {features.folder}", advice)
    return Checked("encoders", row.name, "ok", f"{plural(photos, 'vector')} of photos, {boxes:,} of boxes")


def _datasets(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.db.photos import datasets

    for row in datasets(opened.store):
        if row.layout != "union":  # its members are checked
            yield _dataset(opened, row)


def _dataset(opened: Workspace, row: Dataset) -> Checked:
    if not Path(row.root).is_dir():
        from orl_explorer.train.lost import moving

        advice = f"Mount {row.root}, or, if the photos are elsewhere, run `{moving(row.name)}`."
        return Checked("datasets", row.name, "problem", f"the folder {row.root} is missing", advice)
    from orl_explorer.db.photos import usable_images
    from orl_explorer.orl.pixels import UnreadableImage
    from orl_explorer.train.photos import Photos

    known, photos = [*usable_images(opened.store, row.id)], Photos.of(opened.store, row.id)
    sample = known[:: max(1, len(known) // SAMPLE)][:SAMPLE]
    bad: list[str] = []
    for image in sample:
        try:
            photos.read(image)
        except UnreadableImage as error:
            bad.append(f"{image.path}: {sentence(error)}")
    if bad:
        found = f"{len(bad)} of {plural(len(sample), 'photo')} tried cannot be read, such as {bad[0]}"
        return Checked("datasets", row.name, "problem", found, f"Run `orl ingest {row.root}` again.")
    found = f"{plural(len(known), 'photo')}, {len(sample)} of them read"
    found += f"; {plural(row.unreadable_count, 'photo')} unreadable when ingested"
    return Checked("datasets", row.name, "ok", found)


def _features(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.db.encoders import VECTORS, encoders

    every = encoders(opened.store)
    known = {row.name: row.weights_sha256 for row in every}
    imported = {row.name for row in every if row.kind == VECTORS}
    for header in sorted(opened.embeddings.glob("*/*.json")):
        name, kind = header.parent.name, header.stem
        trouble = _trouble(header, known.get(name))
        if trouble:
            then = "Import the vectors again." if name in imported else "The features are computed again when needed."
            yield Checked("features", f"{name}/{kind}", "problem", trouble, f"Move {header.parent} away. {then}")
        elif name not in known:
            advice = f"Delete {header.parent} if no other store uses it."
            yield Checked("features", f"{name}/{kind}", "warning", "there is no encoder of this name", advice)
        else:
            rows = header.with_suffix(".keys").stat().st_size // 8
            yield Checked("features", f"{name}/{kind}", "ok", f"{rows} rows")
    for path in sorted(opened.embeddings.glob("**/parts-*/*.part")):
        yield _part(path, path.relative_to(opened.embeddings).as_posix(), known)


def _part(path: Path, name: str, known: dict[str, str]) -> Checked:
    """Check an imported file of features."""
    from orl_explorer.train.mining.part_files import PartFile

    try:
        part = PartFile.read(path)
        if part.description["encoder"]["weights_sha256"] != known.get(name.split("/")[0]):
            raise UserError(f"{path} holds features of other weights than the encoder's.")
    except (UserError, KeyError, TypeError) as error:
        advice = f"Move {path} away. The features are computed again when they are needed."
        return Checked("features", name, "problem", sentence(error), advice)
    return Checked("features", name, "ok", f"part {part.description['part']} of {part.description['of']}")


def _trouble(header: Path, weights: str | None) -> str:
    """Return what is wrong with the three files of a kind of features, "" if nothing is."""
    try:
        about = json.loads(header.read_text())
        keys, vectors = (header.with_suffix(end).stat().st_size for end in (".keys", ".vectors"))
        row = int(about["width"]) * 4
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"cannot be read: {sentence(error)}"
    if weights is not None and about.get("weights_sha256") != weights:
        return "they are of other weights than the encoder's"
    if keys % 8 or vectors < keys // 8 * row:
        return f"{vectors} bytes of vectors are too few for {keys // 8} keys"
    return ""


def _runs(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.db.runs.runs import LIVE, runs
    from orl_explorer.train.jobs.launcher import is_alive

    every = runs(opened.store)
    for run in every:
        gone = run.status in LIVE and not is_alive(run)
        if run.status in ("crashed", "failed") or gone:
            found = "its process is gone" if gone else f"{run.status}: {(run.error or 'unknown reason').rstrip('.')}"
            advice = f"See `orl runs logs {run.id}`. Resume it with `orl runs resume {run.id}`."
            yield Checked("runs", f"run {run.id} ({run.kind})", "warning", found, advice)
    yield Checked("runs", "all", "ok", f"{plural(len(every), 'run')}, {sum(run.status in LIVE for run in every)} live")


def _orphans(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.db.encoders import encoders
    from orl_explorer.db.runs.runs import runs

    folders = {(opened.path / run.log_path).parent for run in runs(opened.store)}
    files = {opened.path / row.weights_path for row in encoders(opened.store)}
    found = [path for path in _list(opened.path / "runs") if path not in folders]
    found += [path for path in _list(opened.encoders) if path.suffix == ".pt" and path not in files]
    for path in found:
        advice = "Delete it if no other store or backup uses it."
        name = path.relative_to(opened.path).as_posix()
        yield Checked("files", name, "warning", "the store does not name it", advice)
    if not found:
        yield Checked("files", "all", "ok", "the store names every run folder and encoder file")


def _missing(opened: Workspace) -> Iterator[Checked]:
    from orl_explorer.train.missing import missing_files, missing_in_words

    missing = missing_files(opened)
    missing.pop("weights of", None)  # each encoder was checked
    if missing:
        advice = "Copy them here, or, if another folder belongs to this database, use that one: all must share it."
        yield Checked(
            "files", "named by the store", "warning", f"not in this folder: {missing_in_words(missing)}", advice
        )


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
