"""No version that pyproject.toml allows, and none that constraints.txt pins, has a hole of tests/advisories.csv."""

from __future__ import annotations

import csv
import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import audit

ROOT = Path(__file__).resolve().parents[1]


def rows() -> list[dict[str, str]]:
    with (ROOT / "tests" / "advisories.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def allowed() -> dict[str, Requirement]:
    """Return what the project and its extras require, by name. Requirements of the project itself are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(t for extra in project["optional-dependencies"].values() for t in extra)]
    return {r.name.lower(): r for r in map(Requirement, texts) if r.name != project["name"]}


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower(): Version(version) for name, version in pairs}


def least(requirement: Requirement) -> Version:
    return max(Version(s.version) for s in requirement.specifier if s.operator in (">=", "=="))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['name']}-{row['advisory']}")
def test_no_allowed_and_no_pinned_version_has_a_known_hole(row: dict[str, str]) -> None:
    good = Version(row["first_good"])
    if (requirement := allowed().get(row["name"])) is not None:
        assert least(requirement) >= good, f"pyproject.toml allows {requirement}: {row['hole']}"
    assert pinned()[row["name"]] >= good, f"constraints.txt pins a version before {good}: {row['hole']}"


def test_every_requirement_has_a_lower_bound_below_its_pin() -> None:
    pins = pinned()
    assert [n for n, r in allowed().items() if not any(s.operator == ">=" for s in r.specifier)] == []
    assert [n for n, r in allowed().items() if n in pins and not r.specifier.contains(pins[n])] == []


def answered(*found: dict) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1, json.dumps({"dependencies": list(found), "fixes": []}), "")


def test_an_audit_that_the_registry_answers_names_each_hole() -> None:
    hole = {"id": "PYSEC-2026-249", "fix_versions": ["1.3.1"], "aliases": [], "description": ""}
    safe = {"name": "rich", "version": "15.0.0", "vulns": []}
    bad = {"name": "starlette", "version": "1.3.0", "vulns": [hole]}
    assert audit.verdict(answered(safe)) == (0, "1 package audited: no known holes.")
    assert audit.verdict(answered(safe, bad)) == (
        1,
        "starlette 1.3.0: PYSEC-2026-249, fixed in 1.3.1\n2 packages audited.",
    )


def test_an_audit_without_data_never_says_that_all_is_well() -> None:
    """pip-audit itself ends with "No known vulnerabilities found" if the registry knows none of the packages."""
    unknown = {"name": "rich", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    only_bounds = "Only the bounds of pyproject.toml and the pins of constraints.txt were checked."
    assert audit.verdict(answered(unknown)) == (0, f"The registry has no data on any package. {only_bounds}")
    failed = subprocess.CompletedProcess([], 1, "", "ConnectionError: …\n")
    assert audit.verdict(failed) == (0, f"pip-audit failed (ConnectionError: …). {only_bounds}")


def test_an_audit_names_packages_that_the_registry_does_not_know() -> None:
    safe = {"name": "rich", "version": "15.0.0", "vulns": []}
    unknown = {"name": "own", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    assert audit.verdict(answered(safe, unknown)) == (1, "own: not audited\n2 packages audited.")
