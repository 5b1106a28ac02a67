"""The network between us and one registry, as the user wants it used. Pure data; `net/handles.py` tells libcurl."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import orjson

__all__ = ["DIRECT", "Network"]


@dataclass(frozen=True)
class Network:
    """How the host of a registry is reached, beyond its name. The defaults are libcurl's own."""

    @property
    def is_default(self) -> bool:
        """Whether the user wants nothing special."""
        return self == DIRECT

    def to_text(self) -> str | None:
        """What is set, as JSON for another process; None where nothing is."""
        return _text_of(self)

    @staticmethod
    def from_text(text: str | None) -> Network:
        """The network that `to_text` described."""
        return DIRECT if text is None else _network_of(text)


@lru_cache(maxsize=256)
def _text_of(network: Network) -> str | None:
    return None if network.is_default else orjson.dumps(asdict(network)).decode()


@lru_cache(maxsize=256)
def _network_of(text: str) -> Network:
    data: dict[str, Any] = orjson.loads(text)
    known = {field.name for field in fields(Network)}
    return Network(**{name: _frozen(value) for name, value in data.items() if name in known})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


DIRECT = Network()
"""Nothing special."""
