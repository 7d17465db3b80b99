"""`python -m edgeproof.cli` is `export-edge`."""

from edgeproof.cli import main

main()
