"""A program for tests: a run with settings that the command has no options for. Its argument says which, as JSON."""

from __future__ import annotations

import json
import os
import sys

from image_syncer import Settings, configure_logging, load_configuration, prepare_workers, sync


def run(auth: str, images: str, log: str, settings: dict[str, object]) -> int:
    prepare_workers()
    configure_logging(log_format="json", log_file=log)
    configuration = load_configuration(auth=auth, images=images, environ=os.environ)
    report = sync(configuration, Settings(**settings))  # type: ignore[arg-type]
    print(report.summary_line())
    return report.exit_code


if __name__ == "__main__":
    sys.exit(run(**json.loads(sys.argv[1])))
