"""Start-up: each tool writes its `--help`, and nothing is copied.

What a shell's completion, a script that asks for a version and every short run wait for. `python` is the same
interpreter with nothing to do (`python -c pass`).
"""

from perf.scenario import Scenario
from perf.tools import bare_python

VARIANTS = {
    "": Scenario(sources=(), destinations=(), work="`--help`", references={"python": bare_python}),
}
