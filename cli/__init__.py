"""The command line: one module a verb, loaded when it is called, so that `--help` answers at once.

Exit codes: 0 done, or PASS · 1 FAIL, and nothing else · 2 unknown or missing options · 3 could not do it ·
4 INCONCLUSIVE · 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import io
import signal
import sys
import traceback
from typing import TYPE_CHECKING, cast

import click
from edgeproof.cli import streams
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.contracts.visible import message_of

if TYPE_CHECKING:
    from types import FrameType

EXIT_COULD_NOT = 3
EXIT_INTERRUPTED = 130
INTERRUPTED = "Interrupted; what has its final name is whole."

VERBS: dict[str, str] = {
    "export": "Merge adapters into a base and write what ships (the default).",
    "probe": "Ask a model what it knows of a pack: numbers, no verdict.",
    "baseline": "Record what base and merged model answer at float precision, for the gate.",
    "gate": "Probe an artifact: PASS, FAIL or INCONCLUSIVE.",
    "verify": "Check a report against what was gated, and judge its scores again.",
    "waive": "Sign that a file may be released although it did not pass, until a date.",
    "compare": "Compare the reports of two releases.",
    "history": "Show the reports of a folder, a line a release, and their trends.",
    "table": "Make rows of reports, and a table over methods and formats.",
    "card": "Print what a model card should say of gated files.",
    "evaluate": "Measure MUSE's or TOFU's metrics on an artifact: numbers, no verdict.",
    "unlearn": "Train a LoRA adapter, or all weights, so that a model forgets.",
    "pack": "Make a pack of probes from data; check it against the base.",
    "inspect": "Say what a file is, and how much of an adapter is left in it.",
    "judge": "Judge what a device answered to a job: PASS, FAIL or INCONCLUSIVE.",
    "phone": "Gate on a phone by a job: write it, install the app, run it, judge the answers.",
    "demo": "Show in the browser what a model forgot: ask it, probe it, compare files.",
    "quickstart": "All of it on a small embedded model, offline.",
}
"""Name and summary of each verb; the module of the same name holds `command`."""

DEFAULT_VERB = "export"
FEWEST_ADDRESSES = 300 * 2**20
"""Bytes of address space below which no command starts: numpy's OpenBLAS, where it gets none, ends its process by
itself with exit code 1, which is FAIL's."""


class VerbGroup(click.Group):
    """A group whose verbs are modules, and whose first option without a verb means `export`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Name the verbs in the order in which they are used."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Load a verb's module."""
        if cmd_name not in VERBS:
            return None
        return cast("click.Command", importlib.import_module(f"edgeproof.cli.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which verb was meant where the word is unknown."""
        if args and args[0] not in VERBS:
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such verb: {args[0]!r}.{hint} Verbs: {', '.join(VERBS)}.", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`export-edge --base …` is `export-edge export --base …`."""
        if args and args[0].startswith("-") and args[0] not in {"--help", "-h", "--version"}:
            args = [DEFAULT_VERB, *args]
        return super().parse_args(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Read the options; `--help` and `--version` answer here."""
        with streams.broken_pipe_told():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        with streams.broken_pipe_told():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs without loading them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="edgeproof", prog_name="export-edge")
def group() -> None:
    """Ship an unlearned model to a device, and test, on the very file that ships, whether it stayed unlearned.

    \b
    export-edge --base DIR --adapter DIR --format gguf-q4 --out DIR
    export-edge baseline --base DIR --adapter DIR --format gguf-q4 --probes PACK --out baseline.json
    export-edge gate FILE.gguf --probes PACK --baseline baseline.json --report DIR

    Exit codes: 0 done or PASS, 1 FAIL, 2 wrong options, 3 could not do it, 4 INCONCLUSIVE, 130 interrupted.
    """  # noqa: D301 (\b is click's)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code that the outcome has."""
    interruptions: list[int] = []
    running = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        interruptions.append(number)
        if running:  # early and impatient signals must break neither into the lines below nor into the exit
            signal.default_int_handler(number, frame)

    # A job whose terminal is closed ends as one that Ctrl-C ends, where nohup has not had that ignored.
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == usual:
            signal.signal(getattr(signal, name), interrupt)
    # So does one that CI cancels: its temporary files go with it.
    signal.signal(signal.SIGTERM, interrupt)
    sys.unraisablehook = _told_later
    heard = sys.stderr is not None and (sys.stdout is not None or "--json" not in sys.argv)
    streams.hold_closed()
    code = EXIT_COULD_NOT
    try:
        running = True
        if heard and not interruptions:
            code = run(arguments)
    except KeyboardInterrupt:  # while `run` told an earlier interruption or an error: its words may be cut off
        pass
    running = False
    if interruptions and code != EXIT_INTERRUPTED:
        # Python swallows what is raised in a finalizer: the job went on, and must not end as if nobody had stopped it.
        code = _ended(EXIT_INTERRUPTED, INTERRUPTED)
    sys.exit(code if streams.flush() else EXIT_COULD_NOT)


def _told_later(what: sys.UnraisableHookArgs) -> None:
    """Print what Python cannot raise, except an interruption: the exit code and the last line tell that."""
    if not isinstance(what.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(what)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code. Only a verdict can give 1; an error never does."""
    try:
        given = tuple(sys.argv[1:] if arguments is None else arguments)
        _refuse_few_addresses()
        result = group.main(args=list(given), prog_name="export-edge", standalone_mode=False, obj=given)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        return _ended(error.exit_code, _shown(error))
    except (KeyboardInterrupt, click.Abort) as stop:
        notes: tuple[str, ...] = getattr(stop.__cause__ or stop, "__notes__", ())
        return _ended(EXIT_INTERRUPTED, " ".join((INTERRUPTED, *notes)))
    except EdgeproofError as error:
        return _ended(error.exit_code, f"Error: {error}")
    except click.ClickException as error:
        return _ended(EXIT_COULD_NOT, _shown(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in {errno.EMFILE, errno.ENFILE}
        next_step = "allow more open files: ulimit -n 1024" if full else "check that path, its permissions and its disk"
        return _ended(EXIT_COULD_NOT, f"Error: {message_of(f'{where}{error.strerror or error}')}\n  → {next_step}")
    except MemoryError as error:
        next_step = "use fewer threads (--threads 1) or a larger machine"
        what = f"out of memory ({error})" if str(error) else "out of memory"
        return _ended(EXIT_COULD_NOT, f"Error: {what}\n  → {next_step}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the last door: what comes here must not look like a verdict)
        if _interrupted(error):
            return _ended(EXIT_INTERRUPTED, f"{INTERRUPTED} (At its end: {message_of(str(error))}.)")
        return _ended(
            EXIT_COULD_NOT,
            f"{traceback.format_exc()}\nError: internal error in edgeproof.\n"
            "  → no verdict was reached; please report the lines above",
        )


def _refuse_few_addresses() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < FEWEST_ADDRESSES:
        found, needed = (f"{size / 2**20:.0f}" for size in (allowed, FEWEST_ADDRESSES))
        raise EdgeproofError(
            f"this process may have {found} MiB of address space, and needs {needed}",
            next_step="raise the limit: ulimit -v unlimited",
        )


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption led to the error: one within a lock of `threading` raises RuntimeError at its release."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _ended(code: int, message: str) -> int:
    """Tell why, and return the exit code; what cannot be told is an error of its own."""
    return code if streams.tell(message) else EXIT_COULD_NOT


def _shown(error: click.ClickException) -> str:
    """Return what click would print of an error."""
    file = io.StringIO()
    error.show(file=file)
    return file.getvalue().rstrip("\n")
