"""What is taken out of every text for people: what may be a secret, and what a terminal would obey.

Both are done where a text is made, an error first of all, and once more where it leaves (logs, standard error).
"""

from __future__ import annotations

import re

__all__ = ["keep_out", "redact", "visible"]

# These are texts: `re` compiles each when it is first used, and a run without errors uses none. Where repetitions are
# bounded, it is because strangers write some of the texts: time must not grow with their square.
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
"""One of them is in whatever `_ASSIGNMENT` matches, once the case is folded as `re.IGNORECASE` does. None has an i: the
dotless one counts as one for `re` alone.
"""

LEAST_SECRET_CHARS = 8
"""A shorter one is in too many words that have nothing to do with it; and so is one of letters alone, whose absence
would give it away.
"""
MOST_LASTING, MOST_PASSING = 1000, 64
_lasting: list[str] = []
_passing: list[str] = []


def keep_out(*secrets: str | None, passing: bool = False) -> None:
    """From now on `redact` takes these texts out of everything, whatever stands around them: registries, proxies and
    programs may tell back in any words what they were told. Of those that are `passing` (tokens) the newest count.
    """
    store, most = (_passing, MOST_PASSING) if passing else (_lasting, MOST_LASTING)
    for secret in secrets:
        if secret is None or len(secret) < LEAST_SECRET_CHARS or secret.isalpha() or secret in store:
            continue
        store.append(secret)  # threads look up credentials: a list may grow while another one reads it
        if len(store) > most:
            del store[0]


def redact(text: str) -> str:
    """`text` without what may be a secret: user names in URLs, query strings (signed URLs), tokens, passwords, and what
    `keep_out` was told.

    >>> redact("GET https://u:p@h/v2/?X-Amz-Signature=abc")
    'GET https://…@h/v2/?…'
    """
    for store in (_lasting, _passing):
        for secret in store:
            if secret in text:
                text = text.replace(secret, "…")
    # Most texts are names and digests. The expressions are asked only where there is what each of them needs: a log has
    # a dozen texts for each image, and would otherwise cost more than all else that is done for one.
    folded = text.casefold()
    if any(word in folded for word in _NEEDED_WORDS):
        text = re.sub(_ASSIGNMENT, r"\g<head>\g<quote>…", text)  # first: what else is in a quoted secret says nothing
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
    r"""`text` with everything that is no visible character written out, as JSON does: escape sequences that would paint
    or rewrite a terminal, ends of line that would begin a line of their own, marks that turn the direction of writing.
    Characters of `keep` stay.

    >>> visible("ends here\n\x1b[2J")
    'ends here\\n\\u001b[2J'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _written(char) for char in text)


def _written(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
