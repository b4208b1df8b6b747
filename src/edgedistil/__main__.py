"""Commands that read what runs left, use their models, and keep the store small: ``python -m edgedistil COMMAND``."""

import os
import sys

from . import credentials
from .commands import (
    agreement,
    compare,
    dashboard,
    embedded_model,
    goals,
    keep,
    listing,
    package,
    pass_time,
    predict,
    push,
    recommend,
    report,
    reproduce,
    sensitivity,
    status,
    store_upkeep,
    training_speed,
)
from .errors import EXIT_INTERRUPTED, OneLineParser, StepError, UserError, error_line, of_a_path, refusal

_COMMANDS = {
    "report": report,
    "goals": goals,
    "reproduce": reproduce,
    "keep": keep,
    "sensitivity": sensitivity,
    "agreement": agreement,
    "recommend": recommend,
    "compare": compare,
    "status": status,
    "package": package,
    "predict": predict,
    "push": push,
    "dashboard": dashboard,
    "list": listing,
    "store": store_upkeep,
    "training-speed": training_speed,
    "pass-time": pass_time,
    "embedded-model": embedded_model,
}


# As of a command that the signal has ended: 128 + SIGPIPE.
_PIPE_CLOSED = 141


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2: bad input)."""
    parser = OneLineParser(prog="python -m edgedistil", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in _COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.HELP))
    chosen = parser.parse_args(arguments)
    try:
        words = sys.argv[1:] if arguments is None else arguments
        # Texts that a model is asked about are kept nowhere.
        if chosen.command != "predict" and (found := credentials.in_words(words)):
            raise UserError(credentials.refusal(*found))
        code: int = _COMMANDS[chosen.command].run(chosen)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(error_line(error), file=sys.stderr)
        return 2
    except StepError as error:
        print(error_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who reads has seen enough (| head); what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except (OSError, MemoryError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        if isinstance(error, OSError) and of_a_path(error):
            print(error_line(f"{error.filename!r} can't be used: {error.strerror}"), file=sys.stderr)
            return 2
        what = refusal(error)
        if what is None:
            raise
        print(error_line(what), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
