"""`export-edge` that tells on stdout which call it is about to make, and makes it once a line comes on stdin.

    python stoppable.py '["edgeproof.export.gguf.writer:GgufWriter.finish", "os:link@2"]' --base …

`@2` waits at the second call only. At the end of stdin it waits no more.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys

from edgeproof.cli import main


def stop_at(step: str) -> None:
    name, _, at = step.partition("@")
    module, _, path = name.partition(":")
    owner = importlib.import_module(module)
    *owners, attribute = path.split(".")
    for inner in owners:
        owner = getattr(owner, inner)
    real, calls = getattr(owner, attribute), 0

    @functools.wraps(real)
    def waiting(*arguments, **options):
        nonlocal calls
        calls += 1
        if not at or calls == int(at):
            sys.stdout.write(step + "\n")
            sys.stdout.flush()
            sys.stdin.readline()
        return real(*arguments, **options)

    setattr(owner, attribute, waiting)


for step in json.loads(sys.argv[1]):
    stop_at(step)
main(sys.argv[2:])
