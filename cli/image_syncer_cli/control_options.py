"""The option that says where others may control a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_values import file_name

if TYPE_CHECKING:
    from image_syncer import RunControl

__all__ = ["NO_SOCKET", "control_option", "make_control"]

NO_SOCKET = "none"
_OWN = "own"
"""The default: a socket at the place of this process."""

control_option = click.option(
    "--control",
    callback=file_name,
    default=_OWN,
    metavar="SOCKET",
    help="Where `image-syncer top` reaches the run, or none. [default: PID.sock in $XDG_RUNTIME_DIR/image-syncer]",
)


def make_control(option: str | None) -> RunControl | None:
    """What the run is controlled by; None where the verb has no such option."""
    if option is None:
        return None
    from image_syncer import RunControl, default_control_socket

    if option == NO_SOCKET:
        return RunControl()
    return RunControl(default_control_socket(os.environ, os.getpid()) if option == _OWN else os.path.abspath(option))  # noqa: PTH100
