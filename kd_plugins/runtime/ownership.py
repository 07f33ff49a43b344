"""One process owns a run folder at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
TEMPORARY = ".*.tmp"


class OwnedError(ValueError):
    """Another process works in the folder."""


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; the system lets it go when the process dies.

    Temporary files of a process that was killed are removed. A folder that is empty at the end is removed too.

    Args:
        folder: made when needed.

    Raises:
        OwnedError: when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OwnedError(
            f"another process is at work in {folder}: wait until it ends, or name another --run-dir"
        ) from None
    try:
        for left in folder.glob(TEMPORARY):
            left.unlink(missing_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
