"""Lock a run folder, so that only one process uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
TEMPORARY = ".*.tmp"


class OwnedError(ValueError):
    """Another process uses the folder."""


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Create and lock a folder within the block; the operating system releases the lock if the process dies.

    Temporary files of killed processes are removed, and so is the folder if it is empty at the end.

    Raises:
        OwnedError: if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OwnedError(f"another process is using {folder}: wait until it ends, or name another --run-dir") from None
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
