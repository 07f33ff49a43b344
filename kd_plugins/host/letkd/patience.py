"""Work on rank 0 for which the other processes wait without a time-out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

AS_LONG_AS_IT_TAKES = timedelta(days=3650)
Result = TypeVar("Result")


def main_first(action: Callable[[], Result]) -> Result:
    """Run ``action`` on rank 0 only; return its result, or raise its error, in every process.

    Collectives time out with their process group, after half an hour by default. This one uses its own group with a
    time-out of years. If rank 0 dies, its connection closes and the waiting ends.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return action()
    group = dist.new_group(backend="gloo", timeout=AS_LONG_AS_IT_TAKES)
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if dist.get_rank() == 0:
        try:
            outcome[0] = action()
        except Exception as found:
            error, outcome = found, [None, f"{found} (in process 0)"]
    dist.broadcast_object_list(outcome, src=0, group=group)  # type: ignore[arg-type]
    dist.destroy_process_group(group)
    if error is not None:
        raise error
    result, message = outcome
    if message is not None:
        raise ValueError(message)
    return result
