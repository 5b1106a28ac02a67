"""What of a configuration is on this machine only, and what workers elsewhere make of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.net.host_certificates import certificate_folders, find_host_certificates
from image_syncer.oci import is_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer.config import Configuration

__all__ = ["certificate_files", "check_cluster_run"]


def check_cluster_run(configuration: Configuration) -> None:
    """Raises ConfigurationError where something that a rule names is served on this machine alone: a directory or an
    archive, a Unix socket.
    """
    problems = [
        Problem(name, None, None, "is on this machine, where the workers of --cluster are not", "leave out --cluster")
        for name in dict.fromkeys(_registries_of(configuration))
        if is_place(name)
    ]
    problems += [
        Problem(entry.prefix, None, None, "is reached by a Unix socket of this machine", "leave out --cluster")
        for entry in configuration.registries.entries
        if entry.network.unix_socket is not None and not is_place(entry.prefix)
    ]
    if problems:
        raise ConfigurationError(problems)


def certificate_files(configuration: Configuration, environ: Mapping[str, str]) -> dict[str, str]:
    """The PEM files that workers read, each with the registry for which they do: those of registries' entries, and
    those in docker's folders of certificates.
    """
    found: dict[str, str] = {}
    for entry in configuration.registries.entries:
        network = entry.network
        for path in (entry.ca_file, network.client_cert, network.client_key, *network.authorities):
            if path is not None:
                found.setdefault(path, entry.prefix)
    folders = certificate_folders(environ)
    for registry in dict.fromkeys(_registries_of(configuration)):
        kept = find_host_certificates(registry, folders)
        for path in (*kept.authorities, kept.client_cert, kept.client_key):
            if path is not None:
                found.setdefault(path, registry)
    return found


def _registries_of(configuration: Configuration) -> Iterator[str]:
    for rule in configuration.rules:
        yield rule.source.registry
        yield from (each.repository.registry for each in rule.destinations)
    for catalog in configuration.catalogs:
        yield catalog.registry
        yield from (each.registry for each in catalog.destinations)
