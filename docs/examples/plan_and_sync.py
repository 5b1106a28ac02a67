"""Look first, copy if it is not too much, and check: `python plan_and_sync.py CONFIG MOST`.

CONFIG is a file in our own format or the Go tool's, MOST a size such as "20GiB".
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from image_syncer import Outcome, Settings, load_configuration, plan, sync, verify
from image_syncer.units import format_size, parse_size


def main(config: str, most: str) -> int:
    configuration = load_configuration(config=config, environ=os.environ)
    for problem in configuration.warnings:
        print(f"warning: {problem}")
    settings = Settings(retries=3)
    planned = plan(configuration, settings)
    size_bytes = planned.totals.bytes_planned
    print(f"{planned.totals.outcomes.get(Outcome.PLANNED, 0)} to copy, {format_size(size_bytes)}")
    if planned.exit_code or size_bytes > parse_size(most):
        print("nothing is copied")
        return planned.exit_code or 1
    copied = sync(configuration, replace(settings, report_path="report.json"))
    print(copied.summary_line())
    checked = verify(configuration, settings, deep=True)
    print(checked.summary_line())
    return copied.exit_code or checked.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
