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
    ``num_batches_tracked`` is left to the model. Shapes may differ under names that begin with one of ``keep``; any
    other difference raises ``ValueError``.
    """
    have = [name for name in state if not is_counter(name)]
    want = [name for name in expected if not is_counter(name)]
    for number, (one, other) in enumerate(zip(have, want, strict=False), 1):
        if state[one].shape != expected[other].shape and not other.startswith(tuple(keep)):
            raise ValueError(
                f"remap: by_order needs equal shapes in equal order, but entry {number} of checkpoint {str(file)!r} is "
                f"{one!r} {tuple(state[one].shape)}, that of the model {other!r} {tuple(expected[other].shape)}"
            )
    if len(have) != len(want):
        longer, what = (have, "the checkpoint") if len(have) > len(want) else (want, "the model")
        raise ValueError(
            f"remap: by_order needs as many entries in checkpoint {str(file)!r} as in the model, found {len(have)} and "
            f"{len(want)}; the first that only {what} has is {longer[min(len(have), len(want))]!r}"
        )
    pairs = list(zip(have, want, strict=True))
    shown = "\n".join(f"  {one} -> {other} {tuple(state[one].shape)}" for one, other in pairs)
    logger.warning("%s: renamed by order, which proves no meaning; compare the names:\n%s", file, shown)
    return {other: state[one] for one, other in pairs}
