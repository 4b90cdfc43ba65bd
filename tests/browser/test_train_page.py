"""The parts of the Train page that need a browser."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.probes import Probe, keep_probes
from orl_explorer.db.runs.runs import LIVE, add_metrics, add_run, run_by_id, runs, update_run
from orl_explorer.db.sets.read import find_set, pair_rows
from orl_explorer.train.jobs.launcher import kill
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.browser.conftest import IDLE, SVG, Serve, saved_figure

TINY = {"backbone": "resnet18", "batch_size": 4, "image_size": 32, "patch_size": 32, "hidden": 32, "projection": 16}


@pytest.fixture(scope="module")
def site(
    mined_workspace: Workspace, serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Workspace]]:
    """A server on a copy of the mined demo, and the workspace it serves."""
    folder = tmp_path_factory.mktemp("train") / "workspace"
    shutil.copytree(mined_workspace.path, folder)
    opened = open_workspace(folder)
    yield serve(folder), opened
    for run in runs(opened.store, LIVE):
        kill(opened, run.id)


@pytest.fixture
def idler() -> Iterator[subprocess.Popen]:
    """Start a process group leader that ignores all signals but SIGKILL, like a training that hangs."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def go(page: Page, address: str) -> None:
    """Open a page and wait until its script has run."""
    page.goto(address)
    page.locator(IDLE).wait_for()


def report(workspace: Workspace, run_id: int, steps: range, slope: float = 0.01) -> None:
    """Write the numbers of a training as its process would."""
    values = {"loss": 4.0, "learning_rate": 0.1, "images_per_second": 8.0, "feature_spread": 0.6}
    rows = [(step, name, value * float(np.exp(-slope * step))) for name, value in values.items() for step in steps]
    add_metrics(workspace.store, run_id, rows)


def enter(workspace: Workspace, name: str, status: str, process: subprocess.Popen | None = None) -> int:
    """Write the row of a training run, which is alive if it has a process."""
    mined = find_set(workspace.store, "demo-starter")
    assert mined is not None
    settings = train_preset("orl", "small").model_dump() | TINY | {"epochs": 300, "workers": 0}
    run = Run(
        kind="train",
        name=name,
        params={"correspondence": "demo-starter", "processes": 1, "config": settings},
        dataset_id=mined.dataset_id,
        correspondence_set_id=mined.id,
    )
    run_id = add_run(workspace.store, run).id
    state: dict = {"status": status, "started_at": now(), "heartbeat_at": now(), "phase": "Training", "total": 900}
    if process is not None:
        started = psutil.Process(process.pid).create_time()
        state |= {"pid": process.pid, "pid_started_at": started, "host": platform.node()}
    update_run(workspace.store, run_id, **state)
    return run_id


def drag(page: Page, chart: Locator, start: float, stop: float) -> None:
    """Drag across a chart, between two shares of its width."""
    box = chart.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + stop * box["width"], y, steps=6)
    page.mouse.up()


def test_a_live_chart_keeps_its_zoom_and_its_place_in_the_page(
    site: tuple[str, Workspace], careful: Page, idler: subprocess.Popen
) -> None:
    address, workspace = site
    page = careful
    run_id = enter(workspace, "live", "running", idler)
    report(workspace, run_id, range(1, 101))
    go(page, f"{address}/train?run={run_id}")
    chart = page.locator(".curves .chart").first
    expect(chart).to_have_attribute("aria-label", re.compile("total from 3.96 to 1.472"))
    drag(page, chart, 0.3, 0.6)
    curves = page.locator(".curves")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    zoomed = curves.get_attribute("data-range")
    low, high = map(float, (zoomed or "").split())
    assert 0 < low < high < 100
    # Every frame from here on: is the very same chart there, with its line?
    chart.evaluate(
        """chart => {
          window.blank = 0;
          window.chart = chart;
          const look = () => {
            if (!chart.isConnected || !chart.querySelector(".curve")) window.blank += 1;
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    for last in (150, 200):
        report(workspace, run_id, range(last - 49, last + 1))
        newest = 4 * float(np.exp(-0.01 * last))
        expect(chart).to_have_attribute("aria-label", re.compile(f"to {newest:.4g}"))
        assert curves.get_attribute("data-range") == zoomed
    assert chart.evaluate("chart => chart === window.chart && chart.isConnected")
    assert page.evaluate("window.blank") == 0
    figure = saved_figure(page)
    assert figure.name == f"curves-{run_id}.svg"
    assert {"Loss", "Learning rate", "Photos per second", f"Run {run_id} · live."} < set(figure.words)
    assert figure.words[-1].endswith(f"&run={run_id}") or f"run={run_id}" in figure.words[-1]
    assert any(word.startswith("Curves: steps ") for word in figure.words)
    drawn = [node for node in figure.root.iter(f"{SVG}path") if (node.get("d") or "").count("L") > 50]
    assert len(drawn) == 4  # as many as there are numbers
    chart.dblclick()
    expect(curves).to_have_attribute("data-range", "0 200")
    page.get_by_role("button", name="By epoch").click()
    expect(curves).to_have_attribute("data-unit", "epoch")
    assert (curves.get_attribute("data-range") or "").startswith("0 66.6")  # 900 steps are 300 epochs
    page.get_by_role("slider", name="Smoothing").fill("0.9")
    page.get_by_role("button", name="Log scale").click()
    drag(page, chart, 0.3, 0.6)
    for part in (r"smooth=0\.9", "unit=epoch", "scale=log", r"span=[\d.]+-[\d.]+"):
        expect(page).to_have_url(re.compile(f"&{part}(&|$)"))
    seen = [float(x) for x in (curves.get_attribute("data-range") or "").split()]
    go(page, page.url)  # whoever follows the link sees the same
    expect(page.get_by_role("button", name="Log scale")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("slider", name="Smoothing")).to_have_value("0.9")
    assert [float(x) for x in (curves.get_attribute("data-range") or "").split()] == pytest.approx(seen, rel=1e-4)
    update_run(workspace.store, run_id, status="cancelled", ended_at=now())
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_two_runs_lie_over_one_another_and_one_can_be_put_aside(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    slow, fast = enter(workspace, "slow", "failed"), enter(workspace, "fast", "failed")
    report(workspace, slow, range(1, 61))
    report(workspace, fast, range(1, 61), slope=0.05)
    go(page, f"{address}/train?view=runs&compare={slow}-{fast}")
    lines = page.locator(".panel").first.locator(".line")
    expect(lines).to_have_count(2)
    looks = lines.evaluate_all(
        "found => found.map(g => { const s = getComputedStyle(g.querySelector('.curve'));"
        " return [s.stroke, s.strokeDasharray].join() })"
    )
    assert len(set(looks)) == 2
    page.get_by_role("button", name=f"{slow} · slow", exact=True).click()
    expect(lines).to_have_count(1)
    expect(lines.first).to_have_attribute("data-run", str(fast))
    page.get_by_role("button", name=f"Open run {fast} · fast").click()
    expect(page.get_by_role("heading", name=f"Run {fast} · fast")).to_be_visible()
    expect(page).to_have_url(re.compile(f"run={fast}"))


def test_smoothing_and_the_logarithmic_axis_need_no_server(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    run_id = enter(workspace, "looked-at", "failed")
    report(workspace, run_id, range(1, 61), slope=0.1)
    go(page, f"{address}/train?run={run_id}")
    panel = page.locator(".panel").first
    before = panel.locator(".curve").get_attribute("d")
    slider = page.get_by_label("Smoothing")
    slider.focus()
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    expect(panel.locator(".raw")).to_have_attribute("d", before or "")
    assert panel.locator(".curve").get_attribute("d") != before
    page.get_by_role("button", name="Log scale").click()
    labels = panel.locator(".tick:not(.x)").all_text_contents()
    assert labels == ["0.01", "0.1", "1"]


def test_the_probe_slider_moves_through_the_checkpoints(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    run_id, mined = enter(workspace, "probed", "failed"), find_set(workspace.store, "demo-starter")
    report(workspace, run_id, range(1, 4))
    assert mined is not None
    rows = [row for row in pair_rows(workspace.store, mined.id, [3])[3] if row.neighbor_rank == 1]
    neighbor = rows[0].neighbor_id
    # Two checkpoints: another pair than the set's best, then the set's best.
    first = np.array([rows[-1].query_roi_id]), np.array([rows[0].key_roi_id]), np.array([0.25], np.float32)
    last = np.array([rows[0].query_roi_id]), np.array([rows[0].key_roi_id]), np.array([0.5], np.float32)
    keep_probes(workspace.store, run_id, 3, [Probe(3, neighbor, *first)])
    keep_probes(workspace.store, run_id, 6, [Probe(3, neighbor, *last)])
    go(page, f"{address}/train?run={run_id}&show=probes")
    found = page.locator(".probes .found")
    expect(found).to_have_attribute("data-q", " ".join(map(str, rows[0].query_box)))
    expect(page.locator(".probes .summary")).to_have_text(
        re.compile("Of the 1 pair found at this checkpoint, 1 is also")
    )
    expect(page.locator(".probes output")).to_have_text("epoch 2 · step 6")
    figure = saved_figure(page)
    assert figure.name == f"probes-{run_id}-6.svg"
    assert len(figure.pictures) == 2
    assert figure.words[-1].endswith("&show=probes&couple=0&at=6")
    page.get_by_label("Checkpoint").focus()
    page.keyboard.press("ArrowLeft")
    expect(found).to_have_attribute("data-q", " ".join(map(str, rows[-1].query_box)))
    expect(page).to_have_url(re.compile("at=3"))
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".probes output")).to_have_text("epoch 2 · step 6")
    page.get_by_label("pairs of the set demo-starter").uncheck()
    expect(page.locator(".probes .own")).to_have_count(0)


def test_a_run_that_hangs_is_killed_and_goes_on_after(
    site: tuple[str, Workspace], careful: Page, idler: subprocess.Popen
) -> None:
    address, workspace = site
    page = careful
    run_id = enter(workspace, "hung", "running", idler)
    go(page, f"{address}/train?run={run_id}")
    page.get_by_role("button", name="Stop run").click()
    kill = page.get_by_role("button", name="Kill run")
    expect(kill).to_be_disabled()
    expect(page.get_by_text(re.compile(r"If the run does not stop within \d+ s"))).to_be_visible()
    update_run(workspace.store, run_id, heartbeat_at=now() - timedelta(seconds=45))
    expect(page.get_by_text(re.compile(r"No heartbeat for \d+ s"))).to_be_visible()
    expect(kill).to_be_enabled()
    kill.click()
    expect(page.get_by_text("cancelled").first).to_be_visible()
    assert idler.wait(10) == -signal.SIGKILL
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".curves .curve").first).to_be_attached()
    page.get_by_role("button", name="Stop run").click()
    expect(page.get_by_text("cancelled").first).to_be_visible()
    assert run_by_id(workspace.store, run_id).exit_code == 0


def test_lineage_leads_to_runs_and_sets(site: tuple[str, Workspace], careful: Page) -> None:
    address, workspace = site
    page = careful
    run_id = enter(workspace, "from-the-set", "failed")
    go(page, f"{address}/train?view=lineage&run={run_id}")
    nodes = page.locator(".lineage .node")
    expect(page.locator(".lineage .focus")).to_have_attribute("data-name", f"run-{run_id}")
    page.locator(".lineage [data-name=encoder-1]").click()
    expect(page.locator(".lineage .focus")).to_have_attribute("data-name", "encoder-1")
    figure = saved_figure(page)
    assert figure.name == "lineage-encoder-1.svg"
    assert {"starter", "Highlighted: sources and results of starter. Broken outlines: not done."} < set(figure.words)
    boxes = [node for node in figure.root.iter(f"{SVG}rect") if node.get("rx") in ("6", "6px")]
    assert len(boxes) >= 2  # an encoder, a set
    expect(page).to_have_url(re.compile("node=encoder-1"))
    nodes.filter(has_text="from-the-set").click()
    expect(page.get_by_role("heading", name=f"Run {run_id} · from-the-set")).to_be_visible()
    page.get_by_role("button", name="Lineage").first.click()
    expect(nodes.first).to_be_visible()
    page.locator(IDLE).wait_for()
    page.locator(".lineage [data-name=set-1]").click()
    expect(page.locator(".tile").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"/(explore)?(\?|$)"))


@pytest.mark.parametrize("width", [1280, 1920])
def test_nothing_sticks_out_of_the_page(site: tuple[str, Workspace], careful: Page, width: int) -> None:
    address, workspace = site
    page = careful
    page.set_viewport_size({"width": width, "height": 1000})
    run_id = enter(workspace, "a-name-that-is-longer-than-most-names-of-encoders-are", "failed")
    report(workspace, run_id, range(1, 40))
    for query in (f"run={run_id}", f"view=runs&compare={run_id}", f"view=lineage&run={run_id}", "stage=3", "stage=1"):
        go(page, f"{address}/train?{query}")
        page.wait_for_timeout(300)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("m => m.scrollWidth - m.clientWidth") <= 0
