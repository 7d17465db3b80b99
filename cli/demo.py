"""`export-edge demo`: a page in the browser that shows what a model forgot, and lets people try to get it out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import InputError, UnsupportedError, UsageError

QUICKSTART = Path("quickstart-out")
"""Where the quickstart leaves its files, and what the demo shows without an ARTIFACT."""


@click.command("demo")
@click.argument("artifacts", type=opt.PATH, nargs=-1, metavar="[ARTIFACT]...")
@click.option("--original", type=opt.PATH, metavar="ARTIFACT", help="The model that knows it all, to ask beside.")
@click.option("--probes", type=opt.PATH, metavar="PACK", help="Folder with pack.toml, or one file encrypted with age.")
@opt.PACK_KEY
@click.option("--baseline", type=opt.PATH, metavar="FILE", help="What `export-edge baseline` recorded.")
@click.option("--policy", type=opt.PATH, metavar="FILE", help="Limits; the defaults are in docs/verdict.md.")
@click.option(
    "--report", type=opt.PATH, metavar="DIR", help="The gate's reports on these files: the first screen shows them."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to serve on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port; a free one by default.")
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@opt.THREADS
def command(
    artifacts: tuple[Path, ...],
    *,
    original: Path | None,
    probes: Path | None,
    pack_key: Path | None,
    baseline: Path | None,
    policy: Path | None,
    report: Path | None,
    host: str,
    port: int,
    no_browser: bool,
    threads: int | None,
) -> int:
    """Show in the browser what ARTIFACT forgot: ask it beside the original, run the probes, compare several files.

    Without ARTIFACT it shows what `export-edge quickstart` left in quickstart-out. The page is served from this machine
    only. The demo ends when the page is closed.
    """
    import importlib.util

    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"the demo needs {' and '.join(missing)}", next_step='pip install "edgeproof[demo]"')
    from edgeproof.demo.opening import Given, open_show
    from edgeproof.demo.serving.serve import serve
    from edgeproof.release.steps.judging.criteria import Judging

    with ExitStack() as stack:
        if not artifacts:
            if original or probes or baseline or policy or report:
                raise UsageError("the demo needs an ARTIFACT with these options", next_step="name the file that ships")
            artifacts, original, probes, baseline = _quickstart(stack)
            report = QUICKSTART / "report"
        if probes is None or baseline is None:
            raise UsageError("the demo needs --probes and --baseline", next_step="give those that gate ARTIFACT")
        judging = Judging(probes, baseline, pack_key, policy, threads=threads, command=opt.given_command())
        show = open_show(Given(artifacts, original, judging, report))
        serve(show, host=host, port=port, browser=not no_browser)
    return 0


def _quickstart(stack: ExitStack) -> tuple[tuple[Path, ...], Path, Path, Path]:
    """Return the files that the quickstart left here, its original, and the example's pack and baseline."""
    from importlib import resources

    from edgeproof.release.quickstart import MODEL

    names = (f"{MODEL}-unlearned-Q4_K_M.gguf", f"{MODEL}-unlearned-Q4_1.gguf", f"{MODEL}-Q4_K_M.gguf")
    *shipped, original = (QUICKSTART / "artifacts" / name for name in names)
    missing = [path for path in (*shipped, original) if not path.is_file()]
    if missing:
        raise InputError(
            f"there is no {missing[0]}, which the quickstart makes",
            next_step="run `make quickstart` first, or name an ARTIFACT with --probes and --baseline",
        )
    files = resources.files("edgeproof.examples") / "capitals"
    pack, baseline = (stack.enter_context(resources.as_file(files / name)) for name in ("pack", "baseline.json"))
    return tuple(shipped), original, pack, baseline
