"""Find the part of a stage that caused a failure."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchdistill.losses.registry import get_mid_level_loss
from torchdistill.models import registry as models

from ...models.teacher_input import TeacherInput
from ..stage import Stage, kwargs_of

Path = tuple[str, ...]


def culprit(stage: Stage, error: BaseException) -> Path:
    """Return the place of the part that failed when a stage was set up.

    This is the wrapper that raised the exception, with the keyword that the message names; otherwise the first loss
    term that cannot be built; otherwise the stage.
    """
    return _wrapper(stage, list(_working(error)), str(error)) or _term(stage) or stage.path


def forward_culprit(stage: Stage, error: BaseException, side: str) -> Path:
    """Return the place of the wrapper that refused a batch, or else of the model of ``side``."""
    # An error inside the wrapped model is not the wrapper's; one in its input preparation is.
    working = [one for one in _working(error) if not isinstance(one, TeacherInput)]
    return _wrapper(stage, working[-1:], str(error)) or stage.model_path(side)


def _wrapper(stage: Stage, working: Sequence[Any], message: str) -> Path | None:
    """Return the place of the model wrapper that is in the traceback of an error."""
    for side in ("student", "teacher"):
        section = stage.wrapper(side)
        kind = models.AUXILIARY_MODEL_WRAPPER_DICT.get(section.get("key"))
        if isinstance(kind, type) and any(isinstance(one, kind) for one in working):
            at = (*stage.path, stage.side_key(side), "auxiliary_model_wrapper")
            named = _named_keyword(kwargs_of(section), message)
            return at if named is None else (*at, "kwargs", named)
    return None


def _working(error: BaseException) -> Iterator[Any]:
    """Yield the ``self`` of every frame in the traceback of an error and of its causes, outermost first."""
    reason: BaseException | None = error
    while reason is not None:
        for frame, _ in traceback.walk_tb(reason.__traceback__):
            if "self" in frame.f_locals:
                yield frame.f_locals["self"]
        reason = reason.__cause__


def _named_keyword(kwargs: Mapping[str, Any], message: str) -> str | None:
    """Return the keyword that a message is about.

    Example:
        >>> kwargs = {"teacher": [1, 2], "cuts": [1, 2, 3]}
        >>> _named_keyword(kwargs, "the teacher's blocks: cuts: ResNet has blocks 1..3, found 9")
        'cuts'
        >>> _named_keyword(kwargs, "the cut at 'layer1' cannot be made")
        'cuts'
    """
    # From the most to the least specific: start of a message, whole word, singular form.
    for form in (r"\b{0}(?::|=| must\b)", r"\b{0}\b", r"\b{1}\b"):
        for name in kwargs:
            if re.search(form.format(re.escape(name), re.escape(name.removesuffix("s"))), message):
                return name
    return None


def _term(stage: Stage) -> Path | None:
    """Return the place of a loss term that cannot be built."""
    at = None
    try:
        for name, term in stage.terms.items():
            at = (*stage.terms_path, name)
            get_mid_level_loss(term["criterion"], term.get("criterion_wrapper"))
    except Exception:
        return at
    return None
