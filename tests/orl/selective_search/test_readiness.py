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
    assert why_not_compiled() == "no folder of your own for compiled code can be written. Name one in $NUMBA_CACHE_DIR."


def test_without_numba_opencv_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not can_compile()
    assert not is_compiled()
    assert why_not_compiled().startswith("numba cannot be imported (")
    assert why_not_compiled().endswith("). Install it for a search that is ten times faster.")


def test_settings_of_numba_in_the_current_folder_never_name_the_folder_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: planted")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "numba", None)  # an import would have read them
    assert not can_compile()
    assert not compile_search()
    assert not is_compiled()
    assert why_not_compiled() == (
        "the current folder has a .numba_config.yaml, which could make numba run foreign code. Start in another folder."
    )


@pytest.mark.parametrize("whose", ["open to all", "in one open to all", "another account's"])
def test_code_is_never_loaded_from_a_folder_that_others_may_write_to(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "above"
    folder = above / "code"
    folder.mkdir(parents=True)
    monkeypatch.setattr(search, "segment", SimpleNamespace(stats=SimpleNamespace(cache_path=str(folder))))
    assert can_compile()
    readiness._place.cache_clear()
    if whose == "another account's":
        real = Path.stat
        monkeypatch.setattr(
            Path, "stat", lambda path: SimpleNamespace(st_uid=54321, st_mode=0o755) if path == folder else real(path)
        )
    else:
        (folder if whose == "open to all" else above).chmod(0o777)
    assert not can_compile()
    assert why_not_compiled() == "no folder of your own for compiled code can be written. Name one in $NUMBA_CACHE_DIR."


def test_the_scenes_of_the_comparison_have_ties_and_many_regions() -> None:
    found = [len(readiness.search_by_opencv(scene, 1)) for scene in readiness._scenes()]
    assert found[0] > 100
    assert found[1] > 10
    assert all(scene.dtype == np.uint8 and scene.flags.c_contiguous for scene in readiness._scenes())
