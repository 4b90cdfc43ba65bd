"""Checks of the installation: versions, imports, devices, folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orl_explorer.app.doctor import Checked, sentence
from orl_explorer.train.disks import network_disk

# By name of the distribution: the module to import.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv-contrib-python": "cv2",
    "faiss-cpu": "faiss",
    "SQLAlchemy": "sqlalchemy",
    "alembic": "alembic",
    "pydantic": "pydantic",
    "streamlit": "streamlit",
}
SYSTEM_LIBRARIES = ("libGL.so", "libgthread", "libglib")  # in the error of an import of OpenCV
SCARCE = 2_000_000_000  # bytes of free space below which a training may not be able to write its checkpoints


def check_installation() -> Iterator[Checked]:
    """Yield the version of the project and of Python, and of each package that the project needs."""
    try:
        yield Checked("versions", "orl-explorer", "ok", version("orl-explorer"))
    except PackageNotFoundError:
        advice = "Install it with: make install"
        yield Checked("versions", "orl-explorer", "warning", "not installed, only copied", advice)
    yield Checked("versions", "Python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Checked("versions", "system", "ok", platform.platform())
    for name, module in PACKAGES.items():
        yield _imported(name, module)


def _imported(name: str, module: str) -> Checked:
    try:
        import_module(module)
        return Checked("versions", name, "ok", version(name))
    except PackageNotFoundError:  # imported from another distribution, such as faiss-gpu
        return Checked("versions", name, "ok", str(getattr(sys.modules[module], "__version__", "version unknown")))
    except ModuleNotFoundError as error:
        missing = name if error.name == module else error.name or name
        return Checked("versions", name, "problem", sentence(error), f"Install it with: pip install {missing}")
    except Exception as error:  # a broken installation may raise anything
        advice = f"Install it again with: pip install --force-reinstall {name}"
        if any(library in str(error) for library in SYSTEM_LIBRARIES):
            advice = "Install the system libraries with: apt-get install libgl1 libglib2.0-0"
        return Checked("versions", name, "problem", f"cannot be imported: {sentence(error)}", advice)


def check_devices() -> Iterator[Checked]:
    """Yield the processor, and what torch can compute on."""
    yield Checked("devices", "CPU", "ok", f"{os.cpu_count() or 1} cores")
    try:
        import torch

        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            yield Checked("devices", f"cuda:{index}", "ok", f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
        if torch.cuda.is_available():
            yield Checked("devices", "CUDA", "ok", f"{torch.version.cuda}, driver {_driver()}")
        elif shutil.which("nvidia-smi"):
            advice = "Install torch for CUDA and a driver that is new enough for it."
            yield Checked("devices", "CUDA", "warning", "nvidia-smi exists, but torch finds no GPU", advice)
        else:
            yield Checked("devices", "CUDA", "ok", "none")
        yield Checked("devices", "MPS", "ok", "available" if torch.backends.mps.is_available() else "none")
    except Exception as error:  # no torch, or a driver that does not answer
        yield Checked("devices", "torch", "problem", sentence(error), "Install torch again; see pytorch.org.")


def check_search() -> Iterator[Checked]:
    """Yield which selective search runs use."""
    name = "selective search"
    try:
        from orl_explorer.orl.selective_search.readiness import is_compiled, why_not_compiled

        if is_compiled():
            yield Checked("devices", name, "ok", "compiled; finds what OpenCV finds")
        elif reason := why_not_compiled():
            yield Checked("devices", name, "warning", "by OpenCV, which takes ten times as long", f"Reason: {reason}")
        else:
            yield Checked("devices", name, "ok", "by OpenCV; the next run with many photos compiles a faster one")
    except Exception as error:  # OpenCV itself cannot be imported
        yield Checked("devices", name, "problem", sentence(error), "Mend the packages above first.")


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    words = path.read_text().split("Kernel Module", 1)[-1].split() if path.is_file() else []
    return next((word for word in words if word[:1].isdigit()), "unknown")


def check_disk(workspace: Path) -> Iterator[Checked]:
    """Yield the free space of the workspace and of the temporary folder, and whether they can be written."""
    yield _folder("workspace", workspace, "Choose another with --workspace DIR, or set $ORL_WORKSPACE.")
    if kind := network_disk(workspace):
        advice = (
            "SQLite works there for one machine at a time. For several: orl workspace copy --to postgresql+psycopg://…"
        )
        yield Checked("disk", "workspace", "warning", f"{workspace} is on a network disk ({kind})", advice)
    try:
        yield _folder("temporary files", Path(tempfile.gettempdir()), "Set $TMPDIR to a folder that can be written.")
    except OSError as error:
        advice = "Set $TMPDIR to a folder that can be written."
        yield Checked("disk", "temporary files", "problem", error.strerror or sentence(error), advice)


def _folder(name: str, folder: Path, advice: str) -> Checked:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return Checked("disk", name, "problem", f"{there} is not a folder", advice)
    if not os.access(there, os.W_OK | os.X_OK):
        return Checked("disk", name, "warning", f"{folder} is read-only", advice)
    free = shutil.disk_usage(there).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < SCARCE:
        return Checked("disk", name, "warning", found, "Free some space: checkpoints need up to 2 GB.")
    return Checked("disk", name, "ok", found)
