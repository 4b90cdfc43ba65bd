"""Ask the registry for known holes of the pinned packages: ``make audit``.

pip-audit comes into a temporary environment, because it would add a dozen packages to the one that it audits.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from orl_explorer.train.words import plural

ROOT = Path(__file__).resolve().parents[1]
AUDITOR = "pip-audit==2.10.1"
OFFLINE = "Only the bounds of pyproject.toml and the pins of constraints.txt were checked."


def asked(pins: Path) -> subprocess.CompletedProcess[str]:
    """Install pip-audit and let it read pins."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bin = Path(folder) / "bin"
        install = [f"{bin}/pip", "install", "--quiet", "-c", f"{ROOT}/constraints.txt", AUDITOR]
        installed = subprocess.run(install, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if installed.returncode:
            return installed
        # The pins name every package, so nothing needs to be resolved or installed.
        command = [f"{bin}/pip-audit", "-r", str(pins), "--no-deps", "--disable-pip", "--format", "json"]
        return subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True)


def verdict(ran: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Return the exit code and the report. Without an answer of the registry, the code is 0 and the report says so."""
    try:
        found = json.loads(ran.stdout or "")["dependencies"]
    except ValueError:
        reason = (ran.stderr or "").strip().rpartition("\n")[2] or f"exit code {ran.returncode}"
        return 0, f"pip-audit failed ({reason}). {OFFLINE}"
    audited = [package for package in found if "skip_reason" not in package]
    if not audited:
        return 0, f"The registry has no data on any package. {OFFLINE}"
    lines = [f"{package['name']}: not audited" for package in found if "skip_reason" in package]
    for package in audited:
        for hole in package["vulns"]:
            fixed = ", ".join(hole["fix_versions"]) or "no version"
            lines.append(f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}")
    if not lines:
        return 0, f"{plural(len(found), 'package')} audited: no known holes."
    return 1, "\n".join([*lines, f"{plural(len(found), 'package')} audited."])


if __name__ == "__main__":
    code, report = verdict(asked(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "constraints.txt"))
    print(report, file=sys.stderr if code else sys.stdout)
    sys.exit(code)
