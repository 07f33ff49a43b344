"""Weights whose names differ from the model's, but whose order and shapes agree."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from .content import is_counter

logger = logging.getLogger(__name__)

BY_ORDER = "by_order"


def by_order(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path, *, keep: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Return a state dict under the model's names: its n-th entry gets the model's n-th name.

    Every pair is logged, since order and shapes cannot prove that two entries mean the same.
    ``num_batches_tracked`` is left to the model.

    Args:
        state: the file's, in its order.
        expected: the model's, in its order.
        file: for messages.
        keep: beginnings of the model's names whose shapes may differ.

    Raises:
        ValueError: if the numbers of entries or the shapes differ; the message shows the first difference.
    """
    have = [(name, tensor) for name, tensor in state.items() if not is_counter(name)]
    want = [(name, tensor) for name, tensor in expected.items() if not is_counter(name)]
    for number, (one, other) in enumerate(zip(have, want, strict=False), 1):
        if one[1].shape != other[1].shape and not other[0].startswith(tuple(keep)):
            raise ValueError(
                f"remap: by_order needs equal shapes in equal order, but entry {number} of checkpoint {str(file)!r} is "
                f"{one[0]!r} {tuple(one[1].shape)}, that of the model {other[0]!r} {tuple(other[1].shape)}"
            )
    if len(have) != len(want):
        longer, what = (have, "the checkpoint") if len(have) > len(want) else (want, "the model")
        raise ValueError(
            f"remap: by_order needs as many entries in checkpoint {str(file)!r} as in the model, found {len(have)} and "
            f"{len(want)}; the first that only {what} has is {longer[min(len(have), len(want))][0]!r}"
        )
    pairs = "\n".join(f"  {one[0]} -> {other[0]} {tuple(one[1].shape)}" for one, other in zip(have, want, strict=True))
    logger.warning("%s: renamed by order, which proves no meaning; compare the names:\n%s", file, pairs)
    return {other[0]: one[1] for one, other in zip(have, want, strict=True)}
