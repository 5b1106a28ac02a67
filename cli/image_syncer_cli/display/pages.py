"""The parts of HTML pages: escaped text, tiles, tables, sections, and the whole page.

Texts of a report come from strangers: what a terminal or a browser would obey is removed, and long texts are cut.
`page.css` has the style for light, dark and paper, with the colours of Okabe and Ito (2008, "Color Universal Design").
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files
from typing import TYPE_CHECKING

from image_syncer_cli.display.output import printable
from image_syncer_cli.display.timeline_words import keep_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_MAX_CHARACTERS = 240
"""Of one text of a report; of a longer one, both ends are shown."""
_MAX_LINES = 8
"""Of a cell of a table."""
_MAX_ABOUT = 900
"""Characters of the text below a heading."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
{meta}<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
_NO_REFERRER = '<meta name="referrer" content="no-referrer">\n'


def page(title: str, body: str) -> bytes:
    """Return a page without a script, in UTF-8."""
    style = page_part("page.css")
    policy = f"style-src '{source_hash(style)}'"
    return fill_page(title=escape(title), body=body, style=style, policy=policy, meta=_NO_REFERRER)


def fill_page(**parts: str) -> bytes:
    """Return a page in UTF-8. Its policy (CSP 3) allows only what `policy` names, and loads nothing."""
    # Half of a surrogate pair in a name is no text, and is replaced.
    return _PAGE.format(**parts).encode("utf-8", errors="replace")


def page_part(name: str) -> str:
    """Return the style or the script in the file `name`, as it is inside its element."""
    return "\n" + files(__package__).joinpath(name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Return the name by which a policy allows an inline script or style (CSP 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def escape(text: str, most: int = _MAX_CHARACTERS) -> str:
    """Return `text` for an element or an attribute, without secrets, and cut to `most` characters."""
    from image_syncer.errors import redact

    text = redact(text)
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most // 2) :]}"
    return html.escape("\n".join(map(printable, text.split("\n"))))


def tile(label: str, value: str, note: str, kind: str = "") -> str:
    """Return a number with its label, and a remark below it."""
    mark = f' class="{kind}"' if kind else ""
    number, remark = (keep_numbers(escape(text)) for text in (value, note))
    return f"<div{mark}><dt>{escape(label)}</dt><dd>{number}<small>{remark}</small></dd></div>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), words: Sequence[int] = ()
) -> str:
    """Return a table of texts; columns in `numbers` are right-aligned, those in `words` are not wrapped."""
    kinds = {**dict.fromkeys(numbers, ' class="n"'), **dict.fromkeys(words, ' class="w"')}
    right = [kinds.get(place, "") for place in range(len(head))]
    first = "".join(f"<th{mark}>{escape(cell)}</th>" for mark, cell in zip(right, head, strict=True))
    lines = (
        "<tr>"
        + "".join(
            f"<td{mark}>{'<br>'.join(_line(line) for line in cell.splitlines()[:_MAX_LINES])}</td>"
            for mark, cell in zip(right, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{first}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _line(text: str) -> str:
    """Return a line of a cell: an arrow stays with its word, and an indent is kept."""
    inset = "&emsp;" if text.startswith("  ") else ""
    return inset + escape(text.lstrip(" ")).replace("→ ", "→&nbsp;")


def section(title: str, about: str, body: str, name: str = "") -> str:
    """Return a part of the page under its own heading."""
    place = f' id="{name}"' if name else ""
    said = f"<p>{escape(about, _MAX_ABOUT)}</p>" if about else ""
    return f"<section{place}><h2>{escape(title)}</h2>{said}{body}</section>"
