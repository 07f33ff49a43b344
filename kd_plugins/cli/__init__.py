"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .commands import recipe
from .parser import build_parser

USER_ERROR, INTERRUPTED = 2, 130

GO_ON = {
    "train": "the last whole checkpoint is still there: mend that and add --resume to go on",
    "fit": "finished parts are kept: mend that and run the command again",
    "demo": "finished runs are kept: mend that and run the command again",
}
"""What to do after the operating system refused something, by command."""

INTERRUPTED_TO = {
    "train": "; the training goes on from its last epoch with --resume (with --seeds, by the same command)",
    "fit": "; finished parts are kept, and the same command goes on",
    "demo": "; finished runs are kept, and the same command goes on with the others",
}
"""How to go on after Ctrl-C, by command; nothing is kept by the others."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake prints one message and returns 2.

    Args:
        argv: the arguments; those of the process by default.

    Example:
        >>> main(["list", "transforms"])
        transforms
          standardize     Z-score of every sample's logits  [LSKD, Sun et al., CVPR 2024]
        ...
        0
    """
    arguments = build_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        if command is not recipe:
            # Slow, as it imports torch; done already unless the console command started us.
            from ..registry import register_all

            register_all()
        return command(arguments)
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("KD_PLUGINS_TRACEBACK"):
            raise
        message = _os_message(error, arguments) if isinstance(error, OSError) else str(error)
        rank = os.environ.get("RANK", "0")
        print(f"kd-plugins: error: {message}" + (f" [process {rank}]" if rank != "0" else ""), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"kd-plugins: interrupted{INTERRUPTED_TO.get(command.__name__, '')}", file=sys.stderr)
        return INTERRUPTED


def _os_message(error: OSError, arguments: argparse.Namespace) -> str:
    """Return what the operating system refused, at which file, and how to go on."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    way_on = GO_ON.get(arguments.command.__name__, "mend that and run the command again")
    return f"{error.filename}: {reason}; {way_on}" if error.filename else f"{reason}; {way_on}"
