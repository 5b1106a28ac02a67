"""The document: the bytes of a file, decoded, told apart as YAML or JSON, and read into a tree."""

from __future__ import annotations

import codecs

from image_syncer.config.json_text import parse_json
from image_syncer.config.tree import MalformedText, Tree

__all__ = ["MAX_FILE_BYTES", "parse_document"]

MAX_FILE_BYTES = 16 * 2**20
"""The largest file that is read. 100 000 rules take about 10 MiB."""

_YAML_ENDINGS = (".yaml", ".yml")
_JSON_ENDINGS = (".json",)
_OTHER_UNICODE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_document(raw: bytes, name: str) -> Tree:
    """The tree of a file's content. The ending of `name` says whether it is YAML or JSON; without one of them, it is
    JSON when it begins with a brace or bracket. Raises MalformedText.
    """
    text = _decode(raw)
    ending = name.lower()
    is_yaml = ending.endswith(_YAML_ENDINGS) or not text.lstrip().startswith(("{", "["))
    if ending.endswith(_JSON_ENDINGS) or not is_yaml:
        return parse_json(text)
    from image_syncer.config.yaml_text import parse_yaml  # here: who has JSON only loads no YAML

    return parse_yaml(text)


def _decode(raw: bytes) -> str:
    mend = "save it as UTF-8 text"
    if raw.startswith(_OTHER_UNICODE):
        raise MalformedText("the file is UTF-16 or UTF-32", mend=mend)
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise MalformedText("the file is binary, with a NUL byte", line=line, mend="is it the right file?")
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MalformedText("the file is not UTF-8", line=line, mend=mend) from None
