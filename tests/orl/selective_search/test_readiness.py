"""Whether the compiled search is used: it is compiled, and it finds what OpenCV finds on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from orl_explorer.orl.selective_search import readiness, search
from orl_explorer.orl.selective_search.readiness import can_compile, compile_search, is_compiled, why_not_compiled


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for compiled code in which nothing was compared yet."""
    stats = SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path)))
    monkeypatch.setattr(search, "segment", stats)
    readiness._place.cache_clear()
    yield tmp_path
    readiness._place.cache_clear()


def test_a_search_that_finds_opencvs_boxes_is_ready_from_then_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_compiled()
    assert can_compile()
    monkeypatch.setattr(search, "search", lambda bgr, seed, size: readiness.search_by_opencv(bgr, seed, size))
    assert compile_search()
    assert is_compiled()
    assert not can_compile()
    assert why_not_compiled() == ""
    assert [path.read_text() for path in folder.iterdir()] == ["equal"]


def test_a_search_that_finds_other_boxes_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "search", lambda bgr, seed, size: readiness.search_by_opencv(bgr, seed, size)[1:])
    assert not compile_search()
    assert not is_compiled()
    assert not can_compile()
    assert (
        why_not_compiled() == "the compiled search found other boxes than OpenCV on this machine. Please report this."
    )


def test_another_order_of_the_same_boxes_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "search", lambda bgr, seed, size: readiness.search_by_opencv(bgr, seed, size)[::-1])
    assert not compile_search()


@pytest.mark.parametrize("changed", ["OpenCV", "numba", "processor"])
def test_a_comparison_counts_for_its_versions_and_processor_only(
    changed: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = readiness._place()
    readiness._place.cache_clear()
    assert readiness._place() == before
    readiness._place.cache_clear()
    if changed == "OpenCV":
        monkeypatch.setattr(cv2, "__version__", "99.0")
    elif changed == "numba":
        monkeypatch.setattr("numba.__version__", "99.0")
    else:
        monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "another")
    assert readiness._place() not in (before, None)


def test_without_a_folder_for_compiled_code_opencv_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "segment", SimpleNamespace(stats=SimpleNamespace(cache_path=None)))
    assert not can_compile()
    assert not compile_search()
    assert not is_compiled()
    assert why_not_compiled() == "no folder for compiled code can be written. Name one in $NUMBA_CACHE_DIR."


def test_without_numba_opencv_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not can_compile()
    assert not is_compiled()
    assert why_not_compiled().startswith("numba cannot be imported (")
    assert why_not_compiled().endswith("). Install it for a search that is ten times faster.")


def test_the_scenes_of_the_comparison_have_ties_and_many_regions() -> None:
    found = [len(readiness.search_by_opencv(scene, 1)) for scene in readiness._scenes()]
    assert found[0] > 100
    assert found[1] > 10
    assert all(scene.dtype == np.uint8 and scene.flags.c_contiguous for scene in readiness._scenes())
