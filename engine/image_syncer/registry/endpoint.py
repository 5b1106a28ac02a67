"""Where a registry's API is, and the order in which its addresses are tried."""

from __future__ import annotations

from dataclasses import dataclass

from image_syncer.oci import DOCKER_HUB
from image_syncer.registry.network import DIRECT, Network
from image_syncer.registry.profiles import GENERIC, PROFILES, Profile
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy

__all__ = ["DOCKER_HUB_API_HOST", "Endpoint", "api_host", "candidate_endpoints"]

DOCKER_HUB_API_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a registry's API.

    `registry` is the name that references use ("docker.io"), `base_url` has no slash at its end
    ("https://registry-1.docker.io"). `verify` False accepts any certificate; `ca_file` is a PEM file of
    authorities to trust beside the system's directory of them. Blobs of more than `pieces_above` bytes are uploaded in
    pieces from the start; None: none are. `profile` says what kind of registry it is, `network` how it is reached,
    `redirects` where it may send us.
    """

    registry: str
    base_url: str
    verify: bool = True
    ca_file: str | None = None
    pieces_above: int | None = None
    profile: Profile = GENERIC
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT

    def to_data(self) -> tuple[str, str, bool, str | None, int | None, str, str | None, bool, bool]:
        """What another process needs to know: plain values that can be hashed."""
        network = None if self.network is DIRECT else self.network.to_text()
        return (
            self.registry,
            self.base_url,
            self.verify,
            self.ca_file,
            self.pieces_above,
            self.profile.name,
            network,
            *self.redirects,
        )

    @classmethod
    def from_data(
        cls,
        registry: str,
        base_url: str,
        verify: bool,
        ca_file: str | None,
        pieces_above: int | None,
        profile: str,
        network: str | None,
        *redirects: bool,
    ) -> Endpoint:
        """The endpoint that `to_data` described."""
        return cls(
            registry,
            base_url,
            verify,
            ca_file,
            pieces_above,
            PROFILES[profile],
            Network.from_text(network),
            RedirectPolicy(*redirects),
        )


def api_host(registry: str) -> str:
    """The host that serves the API of `registry`: its own name, but for Docker Hub."""
    return DOCKER_HUB_API_HOST if registry == DOCKER_HUB else registry


def candidate_endpoints(
    registry: str,
    *,
    insecure: bool,
    skip_tls_verify: bool,
    ca_file: str | None = None,
    network: Network = DIRECT,
    host: str = "",
) -> tuple[Endpoint, ...]:
    """The addresses of `registry` in the order of trial.

    HTTPS with verification, and nothing else, unless the user said otherwise: `skip_tls_verify` leaves
    verification out, `insecure` leaves it out and allows plain HTTP where HTTPS does not answer, as dockerd's
    `insecure-registries` does. `host` ("mirror.example:5000") is asked instead of the registry's own API host
    where it is given.
    """
    host = host or api_host(registry)
    secure = Endpoint(
        registry, f"https://{host}", verify=not (insecure or skip_tls_verify), ca_file=ca_file, network=network
    )
    if not insecure:
        return (secure,)
    return (secure, Endpoint(registry, f"http://{host}", verify=False, network=network))
