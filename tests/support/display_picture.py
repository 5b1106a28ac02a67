"""The picture of the live display in docs/display.md: what a terminal of 100 columns shows of a run that is made up.

PYTHONPATH=tests python tests/support/display_picture.py docs/display.svg
"""

from __future__ import annotations

import io
import re
import sys
from html import escape
from pathlib import Path

import pyte

from image_syncer.telemetry import Outcome, RegistryRow, Snapshot, TransferRow, WorkerRow
from image_syncer_cli.display.live_display import Region
from image_syncer_cli.display.screen import Controls, screen_lines

COLUMNS, ROWS = 103, 16
CELL_W, CELL_H, EDGE = 8.43, 19, 14
COLOURS = {"default": "#d8dee9", "green": "#7fbf6a", "brown": "#e0b84c", "red": "#e0705f"}
MIB = 2**20

MOVING = (
    ("library/postgres", "mirror/postgres", 141, 152, 1.9, 22.0),
    ("team/model-server", "mirror/model-server", 801, 2212, 24.0, 31.4),
    ("library/node", "mirror/node", 13, 47, 0.4, 31.0),
)
SNAPSHOT = Snapshot(
    elapsed_s=312.0,
    images_total=1204,
    images_done=482,
    outcomes={Outcome.COPIED: 301, Outcome.UNCHANGED: 180, Outcome.FAILED: 1},
    blobs_total=9020,
    blobs_done=4310,
    bytes_total=int(40.1 * 2**30),
    bytes_done=int(16.3 * 2**30),
    bytes_per_s=118 * MIB,
    eta_s=206.0,
    eta_least_s=170.0,
    eta_most_s=250.0,
    registries=(
        RegistryRow("registry-1.docker.io", "source", 21.2 * MIB, 6, None, 1.67, 0, "paced to 1.67 requests/s"),
        RegistryRow("quay.io", "source", 96.8 * MIB, 10, None, None, 2),
        RegistryRow("harbor.example:8443", "destination", 118 * MIB, 16, 24),
        RegistryRow("backup.example", "destination", 0.0, 0, 12, None, 31, "down for 40 s"),
    ),
    workers=(WorkerRow(1, 61.0 * MIB, 8, 3), WorkerRow(3, 57.0 * MIB, 8, 0, restarts=1)),
    streams=8,
    rate_limit=200e6,
    slowest=tuple(
        TransferRow(
            f"sha256:{abs(hash_):064x}",
            f"quay.io/{source}",
            f"harbor.example:8443/{destination}",
            done * MIB,
            size * MIB,
            seconds,
            rate * MIB,
        )
        for hash_, (source, destination, done, size, seconds, rate) in zip(
            (0xB5F1A2C9 << 224, 0x1D0E47AA << 224, 0x77C3E910 << 224), MOVING, strict=True
        )
    ),
)
KEYS = "p pause · d drain · e errors · ? help"


def draw() -> str:
    """The picture, as SVG."""
    screen = pyte.Screen(COLUMNS, ROWS)
    written = io.StringIO()
    Region(written, lambda: (COLUMNS, ROWS), colors=True).draw(
        screen_lines(SNAPSHOT, COLUMNS, ROWS, Controls(keys=KEYS)), SNAPSHOT.elapsed_s
    )
    pyte.Stream(screen).feed(written.getvalue())
    rows = [index for index, line in enumerate(screen.display) if line.strip()]
    width, height = COLUMNS * CELL_W + 2 * EDGE, (rows[-1] + 1) * CELL_H + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        "<title>The live display of a run</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#20242c"/>',
        '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
    ]
    for row in rows:
        at = 0
        while at < COLUMNS:
            first = screen.buffer[row][at]
            end = at
            while end < COLUMNS and screen.buffer[row][end][1:] == first[1:]:
                end += 1
            text = "".join(screen.buffer[row][column].data for column in range(at, end))
            weight = ' font-weight="bold"' if first.bold else ""
            colour = COLOURS.get(first.fg, COLOURS["default"])
            for word in re.finditer(r"\S+", text):  # spaces of SVG are not those of a terminal
                parts.append(
                    f'<text x="{EDGE + (at + word.start()) * CELL_W:.2f}" y="{EDGE + (row + 0.75) * CELL_H:.2f}" '
                    f'textLength="{len(word[0]) * CELL_W:.2f}" fill="{colour}"{weight}>{escape(word[0])}</text>'
                )
            at = end
    return "\n".join([*parts, "</g>", "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
