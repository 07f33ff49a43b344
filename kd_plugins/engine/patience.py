"""Work that one process does while the others wait, however long it takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist

from .distributed import Processes

AS_LONG_AS_IT_TAKES = timedelta(days=3650)


def main_first(processes: Processes, action: Callable[[], None]) -> None:
    """Run ``action`` on rank 0 alone; the others return when it is done.

    The usual collectives give up after the time-out of the process group, half an hour. This one has a group of its
    own, whose time-out is years; the death of rank 0 still ends the waiting, as it closes the connection.

    Args:
        processes: of the run.
        action: what to do; an error of it is raised in every process.

    Raises:
        ValueError: what ``action`` raised.
    """
    if not processes.distributed:
        action()
        return
    group = dist.new_group(backend="gloo", timeout=AS_LONG_AS_IT_TAKES)
    outcome: list[str | None] = [None]
    error: Exception | None = None
    if processes.is_main:
        try:
            action()
        except Exception as found:
            error, outcome = found, [f"{found} (in process 0)"]
    dist.broadcast_object_list(outcome, src=0, group=group)  # type: ignore[arg-type]
    dist.destroy_process_group(group)
    if error is not None:
        raise error
    if outcome[0] is not None:
        raise ValueError(outcome[0])
