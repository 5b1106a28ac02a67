"""Redaction: secrets and control characters are removed from every text for people.

It happens where a text is made, first of all an error, and again where it leaves (logs, standard error).
"""

from __future__ import annotations

import re

# These are texts: `re` compiles each at its first use, and a run without errors uses none. Repetitions are bounded
# because some texts are untrusted: time must not grow with their square.
_USERINFO = r"(?i)(?P<scheme>[a-z][a-z0-9+.-]{0,31}://)[^/\s]*@"
_QUERY = r"(?i)(?P<head>[a-z][a-z0-9+.-]{0,31}://[^\s?\"'<>]{0,2048})\?[^\s\"'<>]*"
_RELATIVE_QUERY = r"\?[\w.~%+-]{1,64}=[^\s\"'<>]*"
_AUTHORIZATION = (
    r"(?i)(?P<head>\b(?:Basic|Bearer)\s+)(?!(?:authentication|authorization|credentials)\b)[A-Za-z0-9._~+/=-]{8,}"
)
_JWT = r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"
_ASSIGNMENT = r"""(?ix)
    (?P<head>
        (?<![\w/.-])[\w.-]{0,60}?   # the word's beginning; in a path the words below are mostly names of images
        (?:
            (?:pass(?:word|wd|phrase)|secret|(?<!get\ )token|api[_-]?key|credential)[\w-]{0,40}
          | (?<![a-z])auth(?:orization)?
        )
        (?: \\*["']?\s*=\s* | \\*["']\s*:\s* | :\s+ | :(?: (?=\\*["']) | (?<=password:) | (?<=passwd:) ) )
    )
    (?! (?:null|none|true|false)(?![^\s"'&,;}\])]) )
    (?:
        (?P<quote>\\*["']) (?: \\\\\\["'] | (?!(?P=quote)) (?:\\.|[^\\\n]) )*
      | (?:(?:basic|bearer)\s+)? [^\s"'&,;{\[(] (?: [^\s"'&}\])] | ["'](?=\w) )*
    )
    """

_SIGNED = r"(?i)(?P<head>(?:signature|cookie|(?<![a-z])sig|_state)=)[^\s\"'&;,<>]+"

_NEEDED_WORDS = ("pass", "secret", "token", "key", "cred", "auth")
"""Every match of `_ASSIGNMENT` has one of them after case folding. None has an i, which for `re` is also dotless."""
LEAST_SECRET_CHARS = 8
"""Shorter secrets, and those of letters alone, are part of ordinary words, and their absence would reveal them."""
MOST_LASTING, MOST_PASSING = 1000, 64
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MOST_CHARACTERS = 100
_MOST_SEARCHED = 2048
"""The search for secrets takes a time that is quadratic in an untrusted text."""
_lasting: list[str] = []
_passing: list[str] = []


def keep_out(*secrets: str | None, passing: bool = False) -> None:
    """Make `redact` remove these texts in any context: registries, proxies and programs may echo them.

    Of those that are `passing` (tokens) the newest are kept.
    """
    store, most = (_passing, MOST_PASSING) if passing else (_lasting, MOST_LASTING)
    for secret in secrets:
        if secret is None or len(secret) < LEAST_SECRET_CHARS or secret.isalpha() or secret in store:
            continue
        store.append(secret)  # threads look up credentials: a list may grow while another thread reads it
        if len(store) > most:
            del store[0]


def redact(text: str) -> str:
    """Return `text` without user names in URLs, queries (signed URLs), tokens, passwords, and secrets of `keep_out`.

    >>> redact("GET https://u:p@h/v2/?X-Amz-Signature=abc")
    'GET https://…@h/v2/?…'
    """
    for store in (_lasting, _passing):
        for secret in store:
            if secret in text:
                text = text.replace(secret, "…")
    # Most texts are names and digests, and a log has a dozen for each image: each expression runs only where a cheap
    # test allows a match.
    folded = text.casefold()
    if ("=" in text or ":" in text) and any(word in folded for word in _NEEDED_WORDS):
        text = re.sub(_ASSIGNMENT, r"\g<head>\g<quote>…", text)  # first: a quoted secret may look like others
    if "://" in text:
        text = re.sub(_USERINFO, r"\g<scheme>…@", text)
        text = re.sub(_QUERY, r"\g<head>?…", text)
    if "=" in text:
        text = re.sub(_RELATIVE_QUERY, "?…", text)
        text = re.sub(_SIGNED, r"\g<head>…", text)
    if "bas" in folded or "bear" in folded:
        text = re.sub(_AUTHORIZATION, r"\g<head>…", text)
    return re.sub(_JWT, "…", text) if "eyJ" in text else text


def visible(text: str, *, keep: str = "") -> str:
    r"""Return `text` with invisible characters escaped as in JSON: terminal sequences, ends of line, direction marks.

    Characters of `keep` stay.

    >>> visible("ends here\n\x1b[2J")
    'ends here\\n\\u001b[2J'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def quoted(text: str) -> str:
    r"""Return `text` in quotes, on one line, without control characters or secrets, cut where it is long.

    >>> quoted("a\n" + 200 * "b")[-5:]
    "bbb…'"
    """
    text = redact(text[:_MOST_SEARCHED])
    return repr(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…")
