"""Work of the explorer while nobody waits for it: compiling selective search, so that the first run need not."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, create_subprocess_exec

from orl_explorer.orl.selective_search.readiness import can_compile
from orl_explorer.train.interpreter import module_command, without_secrets

PAUSE = 30.0  # seconds after the start, when the first page has been drawn
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
