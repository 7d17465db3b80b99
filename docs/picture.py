"""Draws the terminal's text on standard input as an SVG on standard output.

export-edge quickstart 2>&1 | python docs/picture.py > docs/quickstart.svg
"""

import io
import sys

from rich.console import Console
from rich.text import Text

COLORS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow", "✓": "green", "✗": "red"}

lines = sys.stdin.read().splitlines()
start = next(index for index, line in enumerate(lines) if line.startswith("artifact "))
shown = [line for line in lines[start:] if not line.startswith("Files:")]
stop = next((index for index, line in enumerate(shown) if line.startswith("On your own")), len(shown))
text = Text("$ make quickstart\n\n" + "\n".join(shown[:stop]).rstrip() + "\n")
for word, style in COLORS.items():
    text.highlight_words([word], style)
console = Console(record=True, width=max(map(len, shown[:stop])) + 2, file=io.StringIO())
console.print(text, highlight=False)
sys.stdout.write(console.export_svg(title="edgeproof", clear=False))
