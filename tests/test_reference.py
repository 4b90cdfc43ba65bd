"""The pages of reference hold every command, option and setting, each with a help text; links work on the site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

import setup
from docs.site import links, reference
from orl_explorer.app.cli import app
from orl_explorer.train.evaluate.protocols import PROTOCOLS, EvaluateConfig
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.settings import Settings
from orl_explorer.train.training.adapt_config import AdaptConfig
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {name: (command, context) for name, command, context in reference.commands()}
CLASSES = {heading: type(next(iter(presets.values()))) for heading, _, presets, _ in reference.settings()}


def sections(page: str) -> dict[str, str]:
    """The text under each heading."""
    parts = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def concrete(kind: type[Settings]) -> set[type[Settings]]:
    """Subclasses without subclasses of their own."""
    below = kind.__subclasses__()
    return set().union(*map(concrete, below)) if below else {kind}


def names(command: Any, before: str) -> list[str]:
    found = [before]
    for name, inner in getattr(command, "commands", {}).items():
        found += [] if inner.hidden else names(inner, f"{before} {name}")
    return found


def test_the_pages_are_those_of_the_code() -> None:
    """`make docs` writes them anew."""
    assert {path.name: path.read_text(encoding="utf-8") == text for path, text in reference.pages().items()} == {
        "commands.md": True,
        "settings.md": True,
        "glossary.md": True,
    }


def test_every_command_has_a_section() -> None:
    assert list(COMMANDS) == names(typer.main.get_command(app), "orl")
    assert {*COMMANDS} == {*sections(reference.commands_page())} - {"Commands"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_all_it_takes(name: str) -> None:
    command, _ = COMMANDS[name]
    section = sections(reference.commands_page())[name]
    assert (command.help or "").split("\n")[0].split(".")[0] in section
    assert command.help
    rows = re.findall(r"^\| (`.+?`) \|.*\| (.*) \|$", section, re.MULTILINE)
    for option in reference.parameters(command):
        shown = option.opts[0] if option.param_type_name == "option" else (option.metavar or option.name.upper())
        [meaning] = [said for flags, said in rows if f"`{shown}`" in flags]
        assert meaning.strip(), f"{name} {option.opts[0]} has no help text"
    assert len(rows) == len(reference.parameters(command))


def test_choices_defaults_and_ranges_are_said() -> None:
    found = sections(reference.commands_page())
    assert "| `--preset` | `paper`, `object` | `paper` |" in found["orl mine"]
    assert "| `--port` | integer, 1 to 65535 | `8501` |" in found["orl explore"]
    assert "| `--dataset` | text, repeatable | required |" in found["orl mine"]
    assert "orl ingest [OPTIONS] PATH\n" in found["orl ingest"]


def test_every_class_of_settings_has_a_section() -> None:
    assert {*CLASSES.values()} == {MineConfig, *concrete(TrainConfig), AdaptConfig, *concrete(EvaluateConfig)}
    assert len(CLASSES) == 2 + len(PRESETS) + len(PROTOCOLS)
    assert {*CLASSES} == {*sections(reference.settings_page())} - {"Settings"}


@pytest.mark.parametrize("heading", CLASSES)
def test_a_class_lists_every_field_with_its_help(heading: str) -> None:
    section = sections(reference.settings_page())[heading]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", section, re.MULTILINE))
    fields = {
        name: field for name, field in CLASSES[heading].model_fields.items() if name not in ("method", "protocol")
    }
    assert {*rows} == {*fields}
    assert [name for name, said in rows.items() if not fields[name].description or len(said) < 2] == []


def test_presets_are_listed_where_they_differ() -> None:
    found = sections(reference.settings_page())
    assert "| `max_rois` | `100` | object: `36` | 1 to 1000 |" in found["Mining"]
    assert "| `steps` | `8,16,24` | places205: `4,8,12`, inat18: `24,48,72`" in found["Evaluation: linear probes"]
    assert "| `leave_out_wrong` | `false` |" in found["Training: ORL"]


def test_arrays_of_a_docstring_are_a_list() -> None:
    from docs.site.arrays import as_list

    written = (
        "Match: the best.\n\nquery, key: float32 [B], rows\nof unit length.\nbonus: added.\nEqual entries: by row."
    )
    expected = "Match: the best.\n\n- `query, key`: float32 [B], rows\nof unit length.\n- `bonus`: added.\n\n"
    assert as_list(written) == f"{expected}Equal entries: by row."


FILES: Mapping[str, bool] = {"LICENSE": True, "research": False}


@pytest.mark.parametrize(
    ("file", "written", "expected"),
    [
        ("README.md", "[a](docs/method.md#stages)", "[a](method.md#stages)"),
        ("README.md", "![a](docs/curves.png)", "![a](curves.png)"),
        ("README.md", '<img alt="a" src="docs/curves.png">', '<img alt="a" src="curves.png">'),
        ("README.md", "[a](docs/decisions)", f"[a]({links.DECISIONS})"),
        ("README.md", "[a](LICENSE)", f"[a]({links.SOURCE}/blob/main/LICENSE)"),
        ("README.md", "[a](CONTRIBUTING.md)", "[a](contributing.md)"),
        ("README.md", "[a](#start)", "[a](#start)"),
        ("README.md", "[a](https://arxiv.org/abs/2106.11952)", "[a](https://arxiv.org/abs/2106.11952)"),
        ("README.md", "`[a](LICENSE)`", "`[a](LICENSE)`"),
        ("CHANGELOG.md", "[a](docs/reference/python.md)", "[a](reference/python.md)"),
        ("docs/method.md", "[a](../README.md)", "[a](index.md)"),
        ("docs/method.md", "[a](../research)", f"[a]({links.SOURCE}/tree/main/research)"),
        ("docs/decisions/0001-x.md", "[a](../performance.md)", "[a](../performance.md)"),
        ("docs/decisions/0001-x.md", "[a](../../CHANGELOG.md)", "[a](../changelog.md)"),
        ("docs/reference/method-api.md", "[a](../method.md)", "[a](../method.md)"),
    ],
)
def test_links_of_the_repository_work_on_the_site(file: str, written: str, expected: str) -> None:
    assert links.rewritten(written, file, lambda path: FILES.get(path, True)) == expected


def test_a_list_after_a_paragraph_is_a_list_on_the_site() -> None:
    written = "So:\n- `a`\n  more\n- b\n\n```\nc\n- d\n```\n"
    assert links.rewritten(written, "docs/method.md", bool) == written.replace("So:\n", "So:\n\n")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[a](docs/method.md#stages)", f"[a]({links.SOURCE}/blob/main/docs/method.md#stages)"),
        ("![a](docs/curves.png)", f"![a]({links.SOURCE}/raw/main/docs/curves.png)"),
        ('<img alt="a" src="docs/curves.png">', f'<img alt="a" src="{links.SOURCE}/raw/main/docs/curves.png">'),
        ("[a](#start)", f"[a]({links.SOURCE}#start)"),
        ("[a](https://arxiv.org/abs/2106.11952)", "[a](https://arxiv.org/abs/2106.11952)"),
        ("[a](mailto:a@example.org)", "[a](mailto:a@example.org)"),
    ],
)
def test_links_of_the_readme_are_absolute_in_the_package(written: str, expected: str) -> None:
    assert setup.absolute(written, links.SOURCE) == expected


def test_the_site_names_the_same_addresses_as_the_package() -> None:
    lines = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").splitlines()
    assert f"repo_url: {links.SOURCE}" in lines
    assert f"site_url: {links.URLS['Documentation']}" in lines
    assert all(address.startswith(links.SOURCE) for name, address in links.URLS.items() if name != "Documentation")
