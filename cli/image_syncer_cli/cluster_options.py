"""The options of a run whose workers are in a Dask cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_syncer_cli.option_values import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from image_syncer import ClusterAddress

__all__ = ["ClusterOptions", "cluster_options"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")
_FILES = {"cluster_ca": "--cluster-ca", "cluster_cert": "--cluster-cert", "cluster_key": "--cluster-key"}


@dataclass(frozen=True)
class ClusterOptions:
    """The values of these options."""

    cluster: str | None
    cluster_ca: str | None
    cluster_cert: str | None
    cluster_key: str | None

    @classmethod
    def take(cls, options: MutableMapping[str, Any]) -> ClusterOptions:
        """Takes them out of a verb's options."""
        return cls(**{name: options.pop(name) for name in ("cluster", *_FILES)})

    def build(self) -> ClusterAddress | None:
        """The cluster, where one is wanted. Raises UsageError for an address that cannot be used."""
        if self.cluster is None:
            alone = [option for name, option in _FILES.items() if getattr(self, name) is not None]
            if alone:
                raise click.UsageError(f"{alone[0]} goes with --cluster, which was not given.")
            return None
        from image_syncer import ClusterAddress, parse_cluster_address

        try:
            address = parse_cluster_address(self.cluster)
        except ValueError as error:
            raise click.UsageError(f"--cluster: {error}.") from None
        return ClusterAddress(address, self.cluster_ca, self.cluster_cert, self.cluster_key)


_OPTIONS = (
    click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Have the workers in the Dask workers of this scheduler, such as tls://scheduler:8786.",
    ),
    click.option(
        "--cluster-ca",
        callback=file_name,
        metavar="FILE",
        help="The authority of the cluster's certificates, PEM. [default: as Dask's configuration says]",
    ),
    click.option(
        "--cluster-cert",
        callback=file_name,
        metavar="FILE",
        help="Our certificate for the cluster, PEM. [default: as above]",
    ),
    click.option(
        "--cluster-key",
        callback=file_name,
        metavar="FILE",
        help="Its key, where that is another file. [default: as above]",
    ),
)


def cluster_options(command: _Command) -> _Command:
    """Gives a verb these options, in the order in which `--help` shows them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
