"""What Dask would say beside us, in the process of a command or of a program: kept back as long as we use it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["quiet_dask"]

_LOGGERS = ("distributed", "distributed.client")
"""Those to which Dask gives a level of their own."""
_VERSIONS = "Mismatched versions found"
"""A table of packages, such as numpy, that a run uses nowhere; of image-syncer's own version a message tells."""


@contextlib.contextmanager
def quiet_dask() -> Iterator[None]:
    """Inside, Dask logs nothing and warns of no versions; afterwards its loggers and the filters of warnings are as the
    program had them.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=f"\\s*{_VERSIONS}")
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the program has made its filters anew
            warnings.filters.remove(ours)  # type: ignore[attr-defined]
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
