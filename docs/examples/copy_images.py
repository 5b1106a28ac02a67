"""Copy images without any file: `python copy_images.py SOURCE DESTINATION [INSECURE_REGISTRY …]`.

SOURCE is a repository, with a tag, tags, a digest or a regular expression; without, every tag is copied. A name and a
password for the destination come from PUSH_USER and PUSH_PASSWORD; without them, docker's logins are used.
"""

from __future__ import annotations

import os
import sys

from image_syncer import (
    Configuration,
    ConfigurationError,
    Credential,
    ImageResult,
    RegistryBook,
    RegistryEntry,
    Settings,
    SyncError,
    rule_from_arguments,
    sync,
)


def main(source: str, destination: str, insecure: list[str]) -> int:
    name = source.rpartition("/")[2]
    rule = rule_from_arguments(source, destination, all_tags=":" not in name and "@" not in name)
    user, password = os.environ.get("PUSH_USER"), os.environ.get("PUSH_PASSWORD")
    credential = Credential(user, password) if user and password else None
    host = destination.partition("/")[0]
    # An entry for each registry of which there is something to say.
    entries = [
        RegistryEntry(registry, credential if registry == host else None, insecure=registry in insecure)
        for registry in dict.fromkeys([host, *insecure])
    ]
    configuration = Configuration(rules=(rule,), registries=RegistryBook(entries))
    report = sync(configuration, Settings(workers=2), on_image=show)
    print(report.summary_line())
    return report.exit_code


def show(result: ImageResult) -> None:
    """One line for each image and destination."""
    print(f"{result.outcome}: {result.source} → {result.pinned or result.destination}")
    if result.error is not None:
        error = SyncError.from_data(result.error)
        print(f"  {error.message}" + (f" ({error.hint})" if error.hint else ""))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
    except ConfigurationError as error:
        sys.exit(f"{error}")
