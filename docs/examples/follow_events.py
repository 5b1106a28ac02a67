"""Copy in an event loop, tell what happens, and stop after a while: `python follow_events.py AUTH IMAGES SECONDS`.

AUTH and IMAGES are files as the command takes them.
"""

from __future__ import annotations

import asyncio
import os
import sys

from image_syncer import (
    Event,
    ImageEnded,
    ProgressMade,
    RegistryBack,
    RegistryDown,
    RegistryGivenUp,
    Report,
    RunEnded,
    Settings,
    Warned,
    load_configuration,
    sync_async,
)
from image_syncer.units import format_rate, format_size


def tell(event: Event) -> None:
    """One line for what people want to know; events of other classes are passed over."""
    if isinstance(event, ImageEnded):
        print(f"{event.result.outcome}: {event.result.destination}")
    elif isinstance(event, ProgressMade):
        now = event.snapshot
        print(f"{now.images_done}/{now.images_total}, {format_size(now.bytes_done)}, {format_rate(now.bytes_per_s)}")
    elif isinstance(event, RegistryDown):
        print(f"{event.registry} does not answer since {event.since}")
    elif isinstance(event, RegistryBack):
        print(f"{event.registry} is back")
    elif isinstance(event, RegistryGivenUp):
        print(event.reason)
    elif isinstance(event, Warned):
        print(f"warning: {event.text}")
    elif isinstance(event, RunEnded):
        print(event.report.summary_line())


async def main(auth: str, images: str, seconds: float) -> Report:
    configuration = load_configuration(auth=auth, images=images, environ=os.environ)
    settings = Settings(workers=2, progress_interval_s=1.0, report_path="report.json")
    async with sync_async(configuration, settings) as run:
        # The run ends early, with a report of what it did; cancelling this task does the same.
        timer = asyncio.get_running_loop().call_later(seconds, run.interrupt)
        async for event in run:
            tell(event)
        timer.cancel()
        return await run.report()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))).exit_code)
