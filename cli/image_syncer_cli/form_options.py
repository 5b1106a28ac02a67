"""The options that say in which form images arrive."""

from __future__ import annotations

import click

__all__ = ["FORM_OPTIONS"]

FORM_OPTIONS = (
    click.option(
        "--foreign-layers",
        type=click.Choice(["leave", "copy", "refuse"]),
        help="Layers that a registry need not have, since the manifest names their URLs: left there, copied from the "
        "source registry, or the image fails. [default: leave]",
    ),
    click.option(
        "--format",
        "manifest_format",
        type=click.Choice(["keep", "oci", "docker"]),
        help="Manifests as they are, or converted to OCI's or Docker's media types, under new digests. [default: keep]",
    ),
)
