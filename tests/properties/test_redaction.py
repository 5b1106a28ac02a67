"""What is taken out of a text does not depend on how soon `redact` sees that there is nothing to take out."""

from __future__ import annotations

import re
import sys

from hypothesis import given
from hypothesis import strategies as st

from image_syncer import redaction
from image_syncer.redaction import redact

# Letters that `re.IGNORECASE` counts as s, k and i: where folding saw it otherwise, a secret would stay.
ALIKE = {"s": "sSſ", "k": "kK\u212a", "i": "iIıİ"}
WORDS = ["password", "passphrase", "passwd", "secret", "token", "api-key", "apikey", "credential", "auth", "_state"]
WORDS += ["authorization", "signature", "cookie", "sig", "Basic", "Bearer", "https", "eyJhbGciOi", "get token"]
OTHERS = ["=", ": ", ":", "://", "?", "&", "@", '"', "'", "\\", " ", "/", "x", "hunter2hunter2", "a.b-c", "0123456789"]


def spelled(word: str) -> st.SearchStrategy[str]:
    """A word in any case, with the letters that count as its own."""
    letters = [st.sampled_from(ALIKE.get(char, char + char.upper() + char.lower())) for char in word]
    return st.tuples(*letters).map("".join)


TEXTS = st.lists(st.one_of(st.sampled_from(WORDS).flatmap(spelled), st.sampled_from(OTHERS), st.text(max_size=3)))


def redact_by_all(text: str) -> str:
    """Every expression, asked whatever the text is."""
    text = re.sub(redaction._ASSIGNMENT, r"\g<head>\g<quote>…", text)
    text = re.sub(redaction._USERINFO, r"\g<scheme>…@", text)
    text = re.sub(redaction._QUERY, r"\g<head>?…", text)
    text = re.sub(redaction._RELATIVE_QUERY, "?…", text)
    text = re.sub(redaction._SIGNED, r"\g<head>…", text)
    text = re.sub(redaction._AUTHORIZATION, r"\g<head>…", text)
    return re.sub(redaction._JWT, "…", text)


@given(TEXTS.map("".join))
def test_nothing_is_overlooked(text: str) -> None:
    assert redact(text) == redact_by_all(text)


def test_every_letter_that_counts_as_one_of_a_word_is_folded_to_it() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    for letter in sorted({*"".join(redaction._NEEDED_WORDS), *"bas", *"bear"}):
        alike = re.compile(letter, re.IGNORECASE).findall(everything)
        assert len(alike) >= 2
        assert all(char.casefold() == letter for char in alike), alike
