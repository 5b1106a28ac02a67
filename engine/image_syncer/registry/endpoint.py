"""Where a registry's API is, and the order in which its addresses are tried."""

from __future__ import annotations

from hashlib import sha256

from image_syncer.registry.network import DIRECT, Network
from image_syncer.registry.profiles import GENERIC, Profile, profile_from_text, profile_to_text, recognise_host
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy
from image_syncer.values import Value, replace

__all__ = ["Endpoint", "candidate_endpoints"]

_PLACE_HEX = 16


class Endpoint(Value, frozen=True):
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
            profile_to_text(self.profile),
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
            profile_from_text(profile),
            Network.from_text(network),
            RedirectPolicy(*redirects),
        )


def candidate_endpoints(
    registry: str,
    *,
    insecure: bool,
    skip_tls_verify: bool,
    ca_file: str | None = None,
    network: Network = DIRECT,
    profile: Profile | None = None,
    host: str = "",
) -> tuple[Endpoint, ...]:
    """The addresses of `registry` in the order of trial.

    HTTPS with verification, and nothing else, unless the user said otherwise: `skip_tls_verify` leaves
    verification out, `insecure` leaves it out and allows plain HTTP where HTTPS does not answer, as dockerd's
    `insecure-registries` does. `profile` is what the user says of the registry; otherwise its name tells. `host`
    ("mirror.example:5000") is asked instead of the registry's own API host
    where it is given. Over a Unix socket it is plain HTTP, and the host is none (RFC 2606, section 2), but one of its
    own.
    """
    if network.unix_socket is not None:
        own = sha256(registry.encode()).hexdigest()[:_PLACE_HEX]
        return (Endpoint(registry, f"http://{own}.invalid", profile=profile or GENERIC, network=network),)
    by_name = recognise_host(registry)
    host = host or by_name.api_host or registry
    secure = Endpoint(
        registry,
        f"https://{host}",
        verify=not (insecure or skip_tls_verify),
        ca_file=ca_file,
        profile=profile or by_name,
        network=network,
    )
    if not insecure:
        return (secure,)
    return (secure, replace(secure, base_url=f"http://{host}", ca_file=None))
