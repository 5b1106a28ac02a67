"""The pieces of which pages are made: escaped text, tiles, tables, sections.

Whatever comes from a report is written by strangers: it becomes text here, without marks that a terminal or a browser
would obey, and is cut where it is too long.
"""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING

from image_syncer_cli.output import printable
from image_syncer_cli.timeline_words import keep_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["escape", "page", "section", "table", "tile"]

MOST_CHARACTERS = 240
"""Of one text of a report that a page shows; of what is longer, both ends."""
_MOST_LINES = 8
"""Of a cell of a table."""
_MOST_ABOUT = 900
"""Characters of what is said below a heading."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{policy}'; base-uri 'none'; \
form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, body: str, style: str) -> bytes:
    """A whole page, in UTF-8, whose own policy (CSP 3) lets no script run and nothing be loaded."""
    policy = "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = _PAGE.format(title=escape(title), policy=policy, style=style, body=body)
    return text.encode("utf-8", errors="replace")


def escape(text: str, most: int = MOST_CHARACTERS) -> str:
    """`text` as it may stand in an element or in an attribute, cut to `most` characters.

    Pages are passed on: what an old report, or one of a stranger, has of secrets does not get into them.
    """
    from image_syncer.errors import redact

    text = redact(text)
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most // 2) :]}"
    return html.escape("\n".join(map(printable, text.split("\n"))))


def tile(label: str, value: str, note: str, kind: str = "") -> str:
    """A number with what it is, and a remark below it."""
    mark = f' class="{kind}"' if kind else ""
    number, remark = (keep_numbers(escape(text)) for text in (value, note))
    return f"<div{mark}><dt>{escape(label)}</dt><dd>{number}<small>{remark}</small></dd></div>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), words: Sequence[int] = ()
) -> str:
    """A table of texts; the columns `numbers` stand to the right, and those in `words` are not broken."""
    kinds = {**dict.fromkeys(numbers, ' class="n"'), **dict.fromkeys(words, ' class="w"')}
    right = [kinds.get(place, "") for place in range(len(head))]
    first = "".join(f"<th{mark}>{escape(cell)}</th>" for mark, cell in zip(right, head, strict=True))
    lines = (
        "<tr>"
        + "".join(
            f"<td{mark}>{'<br>'.join(_line(line) for line in cell.splitlines()[:_MOST_LINES])}</td>"
            for mark, cell in zip(right, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{first}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _line(text: str) -> str:
    """A line of a cell; an arrow does not stand alone, and what is set in stays so."""
    inset = "&emsp;" if text.startswith("  ") else ""
    return inset + escape(text.lstrip(" ")).replace("→ ", "→&nbsp;")


def section(title: str, about: str, body: str, name: str = "") -> str:
    """A part of the page under its own heading."""
    place = f' id="{name}"' if name else ""
    said = f"<p>{escape(about, _MOST_ABOUT)}</p>" if about else ""
    return f"<section{place}><h2>{escape(title)}</h2>{said}{body}</section>"
