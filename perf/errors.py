"""What a person did wrong, or what the machine lacks: said in a sentence, exit code 2, no traceback."""

from __future__ import annotations

__all__ = ["Mistake"]


class Mistake(Exception):  # noqa: N818 - it is nobody's error but the user's
    """A sentence for people that says what is wrong and what to do instead."""
