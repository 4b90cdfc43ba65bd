"""Work of the explorer beside its pages: compiling selective search for the first run, and collecting garbage."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from asyncio.subprocess import DEVNULL, create_subprocess_exec

from orl_explorer.orl.selective_search.readiness import can_compile
from orl_explorer.train.interpreter import module_command, without_secrets

PAUSE = 30.0  # seconds after the start, when the first page has been drawn
COLLECT = 20.0  # seconds between collections of garbage
COMPILER = module_command("orl_explorer.orl.selective_search.readiness")


async def compile_search_later() -> None:
    """Compile the search after a pause, in a process of lowest priority that ends with this task."""
    await asyncio.sleep(PAUSE)
    if not await asyncio.to_thread(can_compile):
        return
    process = await create_subprocess_exec(*COMPILER, env=without_secrets(os.environ), stdout=DEVNULL, stderr=DEVNULL)
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def collect_garbage() -> None:
    """Collect garbage now and then.

    Streamlit would do so after each run of a page's script, and look each time at all that was ever loaded: more work
    than the run itself. What modules have loaded stays, so it is set aside when there are new ones.
    """
    modules = 0
    while True:
        gc.collect()
        if len(sys.modules) != modules:
            gc.freeze()
            modules = len(sys.modules)
        await asyncio.sleep(COLLECT)
