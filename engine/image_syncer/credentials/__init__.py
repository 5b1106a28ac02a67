from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Found:
    credential: object
    source: str
def find_credential(repository, book):
    e=book.entry_for(repository)
    return Found(e.credential if e else None, "auth file" if e else "anonymous")
