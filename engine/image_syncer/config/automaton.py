"""Whether a regular expression matches, in a time that grows with the length of the text and no faster.

Python's `re` tries one way after the other, and some expressions have exponentially many: `(a+)+$` on forty letters is
never done. The Go tool's engine has no such expressions, and a file of rules may be somebody else's. So what stands in
rules is turned into an automaton that goes every way at once (K. Thompson, "Regular Expression Search Algorithm",
1968), whose sets of states are kept as they are met, so that each character of a name costs a look into a table.

Texts are names: ASCII, without ends of line. Python's own parser reads the expression.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

try:
    from re import _constants, _parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_constants as _constants
    import sre_parse as _parser

__all__ = ["MAX_STATES", "Automaton", "automaton_of"]

MAX_STATES = 20_000
"""Of one expression, counted repetitions written out. RE2 has its bound in bytes, at about as many."""
MAX_SETS = 10_000
"""Sets of states that are kept of one expression; then they are found anew."""

_ALPHABET = 128
_ALL = (1 << _ALPHABET) - 1
_WORD = sum(1 << ord(char) for char in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_DIGIT = sum(1 << ord(char) for char in "0123456789")
_SPACE = sum(1 << ord(char) for char in " \t\n\r\f\v")
_CATEGORIES = {
    "CATEGORY_DIGIT": _DIGIT,
    "CATEGORY_NOT_DIGIT": _ALL & ~_DIGIT,
    "CATEGORY_SPACE": _SPACE,
    "CATEGORY_NOT_SPACE": _ALL & ~_SPACE,
    "CATEGORY_WORD": _WORD,
    "CATEGORY_NOT_WORD": _ALL & ~_WORD,
}
_EDGE = -1
"""Before the first and after the last character."""
_MATCHED = -1

_Set = tuple[frozenset[int], int]
"""States, and the character before."""


class Automaton:
    """Of one expression, in the spelling of `re`. Raises OverflowError where it has more than MAX_STATES."""

    def __init__(self, pattern: str) -> None:
        self._free: list[list[tuple[int, str]]] = []  # by state: where it leads without a character, and on what
        self._taking: list[list[tuple[int, int]]] = []  # by state: where it leads, with which characters (a bit each)
        parsed = _parser.parse(pattern)
        self._start = self._new_state()
        self._end = self._add(parsed, self._start, bool(parsed.state.flags & re.IGNORECASE))
        self._forget()

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in `text`."""
        return self._run(text, anywhere=True)

    def fullmatch(self, text: str) -> bool:
        """Whether it matches the whole of `text`."""
        return self._run(text, anywhere=False)

    def _run(self, text: str, *, anywhere: bool) -> bool:
        steps = self._steps[anywhere]
        at = 0
        for char in text.encode("ascii", "replace"):
            following = steps.get((at, char))
            if following is None:
                if len(self._sets) > MAX_SETS:
                    current = self._sets[at]
                    self._forget()
                    steps, at = self._steps[anywhere], self._number(current)
                following = steps[at, char] = self._step(at, char, anywhere=anywhere)
            if following == _MATCHED:
                return True
            at = following
        return self._ends_in(at)

    def _forget(self) -> None:
        self._sets: list[_Set] = []
        self._numbers: dict[_Set, int] = {}
        self._steps: dict[bool, dict[tuple[int, int], int]] = {False: {}, True: {}}
        self._number((frozenset((self._start,)), _EDGE))

    def _number(self, states: _Set) -> int:
        number = self._numbers.get(states)
        if number is None:
            number = self._numbers[states] = len(self._sets)
            self._sets.append(states)
        return number

    def _step(self, at: int, char: int, *, anywhere: bool) -> int:
        states, before = self._sets[at]
        reached = self._closure(states, before, char)
        if anywhere and self._end in reached:
            return _MATCHED
        bit = 1 << char
        following = {target for state in reached for target, chars in self._taking[state] if chars & bit}
        if anywhere:
            following.add(self._start)
        return self._number((frozenset(following), char))

    def _ends_in(self, at: int) -> bool:
        states, before = self._sets[at]
        return self._end in self._closure(states, before, _EDGE)

    def _closure(self, states: frozenset[int], before: int, after: int) -> set[int]:
        reached = set(states)
        waiting = list(states)
        while waiting:
            for target, condition in self._free[waiting.pop()]:
                if target not in reached and (not condition or _holds(condition, before, after)):
                    reached.add(target)
                    waiting.append(target)
        return reached

    def _new_state(self) -> int:
        if len(self._free) >= MAX_STATES:
            raise OverflowError("too many states")
        self._free.append([])
        self._taking.append([])
        return len(self._free) - 1

    def _add(self, parts: Any, begin: int, any_case: bool) -> int:
        """States for `parts`, one after the other, from `begin` on; the last of them."""
        for op, argument in parts:
            begin = self._add_one(str(op), argument, begin, any_case)
        return begin

    def _add_one(self, op: str, argument: Any, begin: int, any_case: bool) -> int:
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            return self._add_repeat(least, most, inner, begin, any_case)
        if op == "SUBPATTERN":
            _, on, off, inner = argument
            return self._add(inner, begin, (any_case or bool(on & re.IGNORECASE)) and not off & re.IGNORECASE)
        end = self._new_state()
        if op == "BRANCH":
            for branch in argument[1]:
                first = self._new_state()
                self._free[begin].append((first, ""))
                self._free[self._add(branch, first, any_case)].append((end, ""))
        elif op == "AT":
            self._free[begin].append((end, str(argument)))
        else:
            self._taking[begin].append((end, _characters(op, argument, any_case)))
        return end

    def _add_repeat(self, least: int, most: int, inner: Any, begin: int, any_case: bool) -> int:
        for _ in range(least):
            begin = self._add(inner, begin, any_case)
        if most == _constants.MAXREPEAT:
            again, end = self._new_state(), self._new_state()
            self._free[begin].append((again, ""))
            self._free[self._add(inner, again, any_case)].append((again, ""))
            self._free[again].append((end, ""))
            return end
        end = self._new_state()
        for _ in range(most - least):
            self._free[begin].append((end, ""))
            begin = self._add(inner, begin, any_case)
        self._free[begin].append((end, ""))
        return end


@lru_cache(maxsize=1024)
def automaton_of(pattern: str) -> Automaton:
    """The automaton of `pattern`, made once."""
    return Automaton(pattern)


def _characters(op: str, argument: Any, any_case: bool) -> int:
    if op == "ANY":
        return _ALL
    if op == "LITERAL":
        found = _bit(argument)
    elif op == "NOT_LITERAL":
        return _ALL & ~_folded(_bit(argument), any_case)
    elif op == "IN":
        items = [(str(name), value) for name, value in argument]
        found = 0
        for name, value in items:
            if name == "LITERAL":
                found |= _bit(value)
            elif name == "RANGE":
                found |= sum(1 << code for code in range(value[0], min(value[1], _ALPHABET - 1) + 1))
            elif name == "CATEGORY":
                found |= _CATEGORIES[str(value)]
        if items[0][0] == "NEGATE":
            return _ALL & ~_folded(found, any_case)
    else:
        raise RuntimeError(f"an expression that was let through has {op}")
    return _folded(found, any_case)


def _bit(code: int) -> int:
    return 1 << code if code < _ALPHABET else 0


def _folded(chars: int, any_case: bool) -> int:
    if not any_case:
        return chars
    for code in range(_ALPHABET):
        if chars >> code & 1:
            chars |= 1 << ord(chr(code).lower()) | 1 << ord(chr(code).upper())
    return chars


def _holds(condition: str, before: int, after: int) -> bool:
    """Whether a place between two characters is what `condition` says."""
    if condition in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        return before == _EDGE
    if condition in ("AT_END", "AT_END_STRING"):
        return after == _EDGE
    turns = _is_word(before) != _is_word(after)
    return turns if condition == "AT_BOUNDARY" else not turns


def _is_word(char: int) -> bool:
    return char != _EDGE and bool(_WORD >> char & 1)
