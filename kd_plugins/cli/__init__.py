"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .commands import list_names, recipe
from .parser import build_parser

USER_ERROR, INTERRUPTED = 2, 130

KEPT = {"fit": "parts", "demo": "runs", "sweep": "points", "synthesize": "shards"}
"""What a command keeps when it stops, except for train."""

GO_ON = {
    "train": "the last complete checkpoint is kept: fix the problem and add --resume to continue",
    **{name: f"finished {kept} are kept: fix the problem and run the command again" for name, kept in KEPT.items()},
}
"""Advice after an error of the operating system, by command."""

INTERRUPTED_TO = {
    "train": "; add --resume to continue after the last finished epoch (with --seeds, repeat the command)",
    **{name: f"; finished {kept} are kept, repeat the command to continue" for name, kept in KEPT.items()},
}
"""How to continue after Ctrl-C, by command; other commands keep nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; for a user error, print one message and return 2.

    Args:
        argv: command-line arguments; ``sys.argv[1:]`` by default.

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
        if command not in (list_names, recipe):  # they do without torch, whose import is slow
            from ..registry import register_all

            register_all()
        return command(arguments)
    except BrokenPipeError:
        # The reader of the output, such as `| head`, has exited.
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
    """Return a message with the file, the reason and what to do."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    way_on = GO_ON.get(arguments.command.__name__, "fix the problem and run the command again")
    return f"{error.filename}: {reason}; {way_on}" if error.filename else f"{reason}; {way_on}"
