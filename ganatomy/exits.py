"""How the command line ends: its exit codes, and errors in one line."""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import click

DONE, SOME_FAILED, WRONG_USE, CRASHED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES = (
    "Exit codes: 0 done, 1 done but some scans failed (each is named), 2 wrong use, "
    "3 a fault of the program, 130 interrupted."
)

click.ClickException.exit_code = WRONG_USE


def plain_errors(command: Callable) -> Callable:
    """Turn the errors that a user can mend into one line on standard error and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from ganatomy.errors import WrongUse
        from ganatomy.scans import ScanError

        # MLflow sets its log level from here when it is imported.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

        try:
            with warnings.catch_warnings():
                # What Python's users are warned of, a verb says in a line of its own.
                warnings.filterwarnings("ignore", r"\d+ of \d+ scans do not look like")
                return command(*args, **kwargs)
        except (WrongUse, ScanError, FloatingPointError, OSError) as error:
            # A fault of the program is another error, and keeps its traceback.
            raise click.ClickException(" ".join(str(error).split())) from error

    return run


def run_to_exit(command: click.Command) -> None:
    """Run the command line of this process to its end, and exit by one of the codes above.

    Click and Python end by 1 on an interrupt and on a fault, which says here that scans failed.
    """
    try:
        code = command.main(standalone_mode=False) or DONE
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = CRASHED
    sys.exit(code)
