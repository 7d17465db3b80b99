"""Draws the terminal's text on standard input as an SVG on standard output.

export-edge gate FILE --probes PACK --baseline FILE 2>&1 | python docs/picture.py "export-edge gate …" > docs/gate.svg
"""

import io
import sys

from rich.console import Console
from rich.text import Text

VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
ENDS = ("Note:", "probe ", "Next")
COLORS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow", "✓": "green", "✗": "red"}

lines = sys.stdin.read().splitlines()
start = next(index for index, line in enumerate(lines) if line.startswith(tuple(f"{verdict}:" for verdict in VERDICTS)))
shown = lines[start:]
stop = next((index for index, line in enumerate(shown) if line.startswith(ENDS)), len(shown))
text = Text(f"$ {sys.argv[1]}\n\n" + "\n".join(shown[:stop]).rstrip() + "\n")
for word, style in COLORS.items():
    text.highlight_words([word], style)
console = Console(record=True, width=max(map(len, shown[:stop])) + 2, file=io.StringIO())
console.print(text, highlight=False)
sys.stdout.write(console.export_svg(title="edgeproof", clear=False))
