"""Try the files of ``make dist`` like a new user: install the wheel, build the demo, open the explorer.

    python tests/check_dist.py dist [--index URL of torch's builds]

The wheel must hold only the package ``orl_explorer``, with every file of its subpackages and no link. It is installed
into a clean environment, and used from a folder outside the repository whose files have the names of our subpackages.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # tests are a package of the repository

from tests.browser.conftest import chromium_options, wait_until_healthy  # noqa: E402

PACKAGE = "orl_explorer"
ROOMS = ("app", "db", "orl", "train")
RELATIVE = re.compile(r"(?:\]\(|(?:src|href|srcset)=\")(?!https?:|mailto:)[^)\"]*")
FOREIGN = ("train", "app", "db", "orl", "tests")


def check_contents(wheel: Path) -> None:
    """Check that the wheel holds exactly the packages' files, without the types for checking scripts."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    kept = (path for path in files if "__pycache__" not in path.parts and not path.name.endswith(".d.ts"))
    expected = {f"{PACKAGE}/{path.relative_to(ROOT)}" for path in kept}
    expected |= {f"{PACKAGE}/__init__.py", f"{PACKAGE}/__main__.py"}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected, f"missing: {sorted(expected - found)}; not ours: {sorted(found - expected)}"


def check_description(wheel: Path) -> None:
    """The description is the README, and each of its links and pictures has an absolute address."""
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        content = BytesParser().parsebytes(archive.read(metadata))
    description = content.get_payload(decode=True).decode()
    assert content["Description-Content-Type"] == "text/markdown"
    assert "ORL Explorer" in description
    assert (found := RELATIVE.findall(description)) == [], f"relative links: {found}"


def install(wheel: Path, folder: Path, index: str) -> Path:
    """Make a clean environment with the wheel and its pinned dependencies; return the folder of its commands."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    if index:
        subprocess.run([*pip, "--no-deps", "--index-url", index, "torch", "torchvision"], check=True)
    subprocess.run([*pip, wheel], check=True)
    return folder / "bin"


def look_at(orl: Path, folder: Path, environment: dict[str, str]) -> None:
    """Start the explorer in the folder, and open the demo's pairs in a real browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, address = folder / "explorer.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        words = [orl, "explore", "--no-login", "--port", str(port)]
        server = subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(address, server, log)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**chromium_options())
            page = browser.new_page()
            page.goto(f"{address}/pair?q=3")
            expect(page.locator(".stage-svg")).to_be_visible(timeout=90_000)
            crop = page.get_by_role("img", name="query region").first
            expect(crop).to_be_visible(timeout=60_000)
            page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=crop.element_handle())
            browser.close()
    finally:
        server.terminate()
        server.wait(15)


def main() -> None:
    """Check the one wheel of a folder."""
    parser = argparse.ArgumentParser(description="Try the wheel that was built.")
    parser.add_argument("dist", type=Path)
    parser.add_argument("--index", default="", help="Where torch comes from, if not from PyPI.")
    arguments = parser.parse_args()
    [wheel] = arguments.dist.resolve().glob("*.whl")
    check_contents(wheel)
    check_description(wheel)
    with tempfile.TemporaryDirectory(prefix="orl-dist-") as made:
        project = Path(made) / "project"
        project.mkdir()
        for name in FOREIGN:
            (project / f"{name}.py").write_text("raise SystemExit('a file of the user was run')\n")
        bin_folder = install(wheel, Path(made) / "venv", arguments.index)
        ours = ("ORL_WORKSPACE", "ORL_DATABASE_URL", "PYTHONPATH", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        for words in (["demo"], ["quality", "demo-starter"], ["runs", "list"]):
            done = subprocess.run(
                [bin_folder / "orl", *words], cwd=project, env=environment, capture_output=True, text=True
            )
            print(f"orl {' '.join(words)}\n{done.stdout}")
            assert done.returncode == 0, done.stderr
        assert re.search(r"demo-starter\s.*done", done.stdout), "the run of the demo is not done"
        look_at(bin_folder / "orl", project, environment)
    print(f"{wheel.name}: the demo was built and shown from a clean environment.")


if __name__ == "__main__":
    main()
