"""Owns the process: runs the command line and turns what escapes it into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

from runner.allocation import settle_allocation
from runner.cli.output import print_error, say
from runner.errors import RunnerError, UsageError

_INTERRUPTED = 130


def main() -> None:
    """Run `evalrunner` with the process's arguments and exit with its code."""
    os.umask(0o077)
    settle_allocation()
    from runner.cli.app import command_line  # noqa: PLC0415 - numpy and pyarrow come with it

    as_json = "--json" in sys.argv
    try:
        sys.exit(command_line(sys.argv[1:])(standalone_mode=not as_json))
    except RunnerError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except BaseExceptionGroup as group:
        sys.exit(_report_group(group, as_json=as_json))
    except KeyboardInterrupt:
        say("interrupted before anything was sent")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug becomes exit 1, not a lost run
        if as_json and hasattr(error, "format_message"):  # what typer raises for a wrong option or argument
            print_error(UsageError(error.format_message()), as_json=True)
            sys.exit(UsageError.exit_code)
        sys.exit(_report_bug(error, as_json=as_json))


def _report_group(group: BaseExceptionGroup[BaseException], *, as_json: bool) -> int:
    """Report the gravest error of a task group: anyio wraps what its tasks raise."""
    known, unknown = group.split(RunnerError)
    if unknown is not None:
        return _report_bug(unknown, as_json=as_json)
    errors: list[RunnerError] = []
    _flatten(known, errors)
    gravest = max(errors, key=lambda error: error.exit_code)
    print_error(gravest, as_json=as_json)
    return gravest.exit_code


def _flatten(error: BaseException | None, into: list[RunnerError]) -> None:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            _flatten(inner, into)
    elif isinstance(error, RunnerError):
        into.append(error)


def _report_bug(error: BaseException, *, as_json: bool) -> int:
    """Report a bug. The traceback shows places only: the values in an exception may hold a key or model output."""
    places = traceback.extract_tb(_innermost(error).__traceback__)
    last = places[-1] if places else None
    where = f" at {os.path.basename(last.filename)}:{last.lineno}" if last else ""  # noqa: PTH119 - a frame's file
    kind = type(_innermost(error)).__name__
    bug = RunnerError(
        f"internal error: {kind}{where}",
        hint="every answer that was received is safe in the run folder; running again continues it. Please report this",
    )
    print_error(bug, as_json=as_json)
    if "--debug" in sys.argv:
        sys.stderr.write("".join(traceback.format_tb(_innermost(error).__traceback__)))
    return bug.exit_code


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
