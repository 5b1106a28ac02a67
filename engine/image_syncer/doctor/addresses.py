"""The way to the registry: which proxy, if any, the addresses behind the name, and whether somebody listens there."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

from image_syncer.doctor.check import Check, failed, fine, warned
from image_syncer.doctor.connection import connect
from image_syncer.errors import Origin
from image_syncer.net import transport_error
from image_syncer.registry import NO_PROXY, build_ping, origin_of, shown_proxy

if TYPE_CHECKING:
    from image_syncer.doctor.examined import Subject

__all__ = ["probe_addresses", "probe_listening", "probe_way"]

_SPELLING = "Check the spelling of the host, and the name servers of this machine (/etc/resolv.conf)."
_LISTENING = "Check that the registry runs, its port, and the firewall between."
_PROXY_LISTENING = "Check that the proxy runs, and its port; it comes from {where}."
_ENVIRONMENT, _ENTRY = "the environment", "the registry's entry"
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
_MOST_SHOWN = 6


async def probe_way(examined: Subject) -> Check:
    """Which proxy is used for this host and why, and whether it lets us through. Connects once, as a run does, and
    chooses between the registry's addresses (`insecure`) as a run does.
    """
    timeouts = examined.transport.timeouts
    for candidate in examined.candidates:
        examined.endpoint = candidate
        seen = await connect(examined.driver, candidate, connect_timeout_s=timeouts.connect_s)
        examined.learnt.connection = seen
        if seen.code == 0:
            break
    network = examined.endpoint.network
    proxy = network.proxy_for(examined.endpoint.base_url)
    if not seen.uses_proxy or proxy is None:
        kept = network.environment_proxy and proxy not in (None, NO_PROXY)
        return fine("none is used" + (", because no_proxy names the host" if kept else ""), proxy=None)
    shown, where = shown_proxy(proxy), _whose(examined)
    facts: dict[str, Any] = {"proxy": shown, "comes_from": where}
    if seen.code and not seen.reached:
        request = build_ping(examined.endpoint)
        error = transport_error(seen.code, seen.words, request, Origin.LOCAL, network)
        return failed(error, proxy_status=seen.proxy_status or None, **facts)
    return fine(f"{shown}, from {where}, lets us through", **facts)


async def probe_addresses(examined: Subject) -> Check:
    """Every address of the host that is connected to: the registry's own, or that of the proxy."""
    host, port, whose = _next_hop(examined)
    network = examined.endpoint.network
    seconds = examined.transport.timeouts.connect_s
    given = [] if whose else _given_addresses(network.resolve, host, port)
    try:
        found = given or await asyncio.wait_for(_look_up(host, port, _FAMILIES[network.ip_version]), seconds)
    except asyncio.TimeoutError:
        return failed(f"the name servers say nothing about {host} for {seconds:g} s", _SPELLING, host=host)
    except OSError as error:
        text = f"{whose}{host} has no address: {error.strerror or error}"
        return failed(text, _SPELLING, host=host, code=error.errno)
    examined.learnt.addresses = found
    names = [address for address, _ in found]
    said = ", as `resolve` of the registry's entry says" if given else ""
    return fine(f"{whose}{host} is {_shown(names)}{said}", host=host, addresses=names)


async def probe_listening(examined: Subject) -> Check:
    """Whether somebody listens at each of the addresses."""
    seconds = examined.transport.timeouts.connect_s
    found = examined.learnt.addresses
    said = await asyncio.gather(*(_try_connect(address, port, seconds) for address, port in found))
    port = found[0][1]
    dead = [f"{address} ({why})" for (address, _), why in zip(found, said, strict=True) if why is not None]
    facts: dict[str, Any] = {"port": port, "addresses": len(found), "dead": dead}
    if len(dead) == len(found):
        seen = examined.learnt.connection
        cure = _PROXY_LISTENING.format(where=_whose(examined)) if seen and seen.uses_proxy else _LISTENING
        return failed(f"nobody takes connections on port {port} of {_shown(dead)}", cure, **facts)
    if dead:
        alive = len(found) - len(dead)
        text = f"port {port} takes connections at {alive} of {len(found)} addresses, not at {_shown(dead)}"
        if examined.is_on_loopback:  # localhost has an address of each kind, and servers listen at one of them
            return fine(text, **facts)
        return warned(text, "Each connection may try these addresses first: have the dead ones removed.", **facts)
    return fine(f"port {port} takes connections", **facts)


def _whose(examined: Subject) -> str:
    return _ENVIRONMENT if examined.endpoint.network.environment_proxy else _ENTRY


def _next_hop(examined: Subject) -> tuple[str, int, str]:
    seen, base_url = examined.learnt.connection, examined.endpoint.base_url
    proxy = examined.endpoint.network.proxy_for(base_url) if seen is not None and seen.uses_proxy else None
    if proxy is not None:
        host, _, port = proxy.rpartition("@")[2].rpartition("//")[2].rpartition(":")
        return host.strip("[]"), int(port), "the proxy "
    origin = origin_of(base_url)
    assert origin is not None
    return origin[1].strip("[]"), origin[2], ""


def _given_addresses(resolve: tuple[str, ...], host: str, port: int) -> list[tuple[str, int]]:
    """What the user says that the addresses are, as libcurl reads it (CURLOPT_RESOLVE)."""
    for text in resolve:
        for name in (host, f"[{host}]"):
            prefix = f"{name}:{port}:"
            if text.removeprefix("+").startswith(prefix):
                addresses = text.removeprefix("+")[len(prefix) :].split(",")
                return [(address.strip("[]"), port) for address in addresses]
    return []


async def _look_up(host: str, port: int, family: int) -> list[tuple[str, int]]:
    """`getaddrinfo` in a thread of its own: nobody waits for one that gets no answer."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[tuple[str, int]]] = loop.create_future()

    def tell(value: list[tuple[str, int]] | OSError) -> None:
        if found.done():
            return
        if isinstance(value, OSError):
            found.set_exception(value)
        else:
            found.set_result(value)

    def ask() -> None:
        value: list[tuple[str, int]] | OSError
        try:
            answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            value = list(dict.fromkeys((str(address[0]), port) for *_, address in answers))
        except (OSError, UnicodeError) as error:
            value = error if isinstance(error, OSError) else OSError(str(error))
        try:
            loop.call_soon_threadsafe(tell, value)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=ask, daemon=True).start()
    return await found


async def _try_connect(address: str, port: int, seconds: float) -> str | None:
    """Why no connection came about, None where one did."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), seconds)
    except asyncio.TimeoutError:
        return f"silent for {seconds:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    writer.close()
    return None


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
