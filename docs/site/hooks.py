"""What MkDocs calls while it builds the site: pages that are not files of ``docs/``, and links."""

from __future__ import annotations

from typing import Any

import links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DECISIONS = links.ROOT / "docs/decisions"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every decision in the navigation."""
    pages = [links.DECISIONS, *(f"decisions/{path.name}" for path in sorted(DECISIONS.glob("0*.md")))]
    nav: list[Any] = config.nav or []
    config.nav = [{"Decisions": pages} if entry == {"Decisions": "decisions/index.md"} else entry for entry in nav]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the repository's root."""
    pages = {page: (links.ROOT / file).read_text(encoding="utf-8") for file, page in links.AT_ROOT.items()}
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, "icon.svg", abs_src_path=str(links.ROOT / "app/pages/icon.svg")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links work that are relative to the repository."""
    sources = {page: file for file, page in links.AT_ROOT.items()}
    name = page.file.src_uri
    return links.rewritten(markdown, sources.get(name, f"docs/{name}"), lambda path: (links.ROOT / path).is_file())
