"""Whether the compiled search can be used here: its code is on disk, and it found what OpenCV finds.

Compiling takes about 20 s of one core, once per machine. The code lies where numba keeps it: beside these files, or in
the user's cache, or in $NUMBA_CACHE_DIR. A file beside it keeps the result of a comparison with OpenCV's search.

Whoever may write to that folder decides which code runs. So nothing is compiled or loaded if it is another account's
or open to all, or if the current folder, which may be somebody else's project, has settings of numba: they can name
such a folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from orl_explorer.orl.boxes import each_once
from orl_explorer.orl.selective_search.opencv import MIN_SIZE, search_by_opencv

EQUAL, DIFFERENT = "equal", "different"
SETTINGS = Path(".numba_config.yaml")  # in the current folder: numba reads it whenever it is imported


def is_compiled() -> bool:
    """Return whether the compiled search is ready and finds OpenCV's boxes in OpenCV's order."""
    return _result() == EQUAL


def can_compile() -> bool:
    """Return whether ``compile_search`` was never called here, but can be."""
    place = _place()
    return place is not None and not place.is_file()


def why_not_compiled() -> str:
    """Return why the compiled search cannot be used and what helps; "" if it can, or if it can be prepared."""
    if SETTINGS.exists():
        return f"the current folder has a {SETTINGS}, which could make numba run foreign code. Start in another folder."
    try:
        import numba  # noqa: F401
    except ImportError as error:  # not installed, or not for this version of numpy
        return f"numba cannot be imported ({error}). Install it for a search that is ten times faster."
    if _place() is None:
        return "no folder of your own for compiled code can be written. Name one in $NUMBA_CACHE_DIR."
    if _result() == DIFFERENT:
        return "the compiled search found other boxes than OpenCV on this machine. Please report this."
    return ""


def compile_search() -> bool:
    """Compile the search, compare it with OpenCV's, and keep the result. Returns whether they are equal.

    It changes libc's ``rand``: call it in a process of its own.
    """
    place = _place()
    if place is None:
        return False
    from orl_explorer.orl.selective_search.search import search

    equal = True
    for seed, scene in enumerate(_scenes()):
        ours, theirs = search(scene, seed, MIN_SIZE), search_by_opencv(scene, seed)
        equal &= np.array_equal(each_once(ours.astype(np.int16)), each_once(theirs.astype(np.int16)))
    place.write_text(EQUAL if equal else DIFFERENT, encoding="ascii")
    return equal


def _result() -> str | None:
    place = _place()
    try:
        return None if place is None else place.read_text(encoding="ascii")
    except OSError:
        return None


@cache
def _place() -> Path | None:
    """Return the file of the comparison's result; None if nothing can be compiled or kept, or others may write there.

    Its name holds all that the code and the boxes depend on: versions, the processor, and the sources, of which numba
    compares time and size, too.
    """
    if SETTINGS.exists():
        return None
    try:
        import llvmlite.binding as llvm
        import numba
    except ImportError:
        return None
    from orl_explorer.orl.selective_search import search

    folder = search.segment.stats.cache_path  # type: ignore[attr-defined]
    if not folder or not _is_ours(Path(folder)):
        return None
    of = [numba.__version__, cv2.__version__, platform.python_version(), llvm.get_host_cpu_name()]
    of.append(llvm.get_host_cpu_features().flatten())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        found = source.stat()
        of.append(f"{source.name} {found.st_size} {found.st_mtime_ns}")
    return Path(folder) / f"compared-{hashlib.sha256(chr(0).join(of).encode()).hexdigest()[:16]}.txt"


def _is_ours(folder: Path) -> bool:
    """Return whether only this account, or one that could also change the sources, can put files into a folder."""
    if os.name != "posix":
        return True
    trusted = {0, os.getuid(), Path(__file__).stat().st_uid}
    folder = folder.absolute()
    for place in (folder, folder.parent):  # who may rename the folder may replace it
        found = place.stat()
        open_to_all = found.st_mode & stat.S_IWOTH and not (place != folder and found.st_mode & stat.S_ISVTX)
        if found.st_uid not in trusted or open_to_all:
            return False
    return True


def _scenes() -> list[np.ndarray]:
    """Return composed photos: shapes on noise, and a checkerboard, whose equal edges and regions are all tied."""
    random = np.random.default_rng(0)
    scene = cv2.GaussianBlur(random.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 3)
    for x, y, side in random.integers(0, 200, (16, 3)):
        color = random.integers(0, 256, 3).tolist()
        cv2.rectangle(scene, (x, y), (x + side, y + side // 2), color, -1)
        cv2.circle(scene, (y, x), side // 4, color[::-1], -1)
    board = np.kron(np.indices((6, 8)).sum(axis=0) % 2 * 255, np.ones((20, 20))).astype(np.uint8)
    return [scene, np.dstack([board] * 3)]


if __name__ == "__main__":
    os.nice(19)
    compile_search()
