"""Config model that returns only the logits of a model with several outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..models.logits import LogitsKey, give_logits
from .model_sections import nested_model


def model_with_logits(*, model: Mapping[str, Any], logits: LogitsKey) -> nn.Module:
    """Build a model that returns only its logits.

    A student that returns a dictionary, an object or a tuple can then be trained and evaluated like any other. For a
    teacher, ``frozen_teacher`` and the wrapper ``FrozenTeacher`` take the same ``logits``.

    Args:
        model: ``key``, ``kwargs`` and, if the section around it has none, ``src_ckpt``: any model of a config.
        logits: key, attribute or index of the logits in the model's output, such as ``logits`` or ``0``.

    Returns:
        The model itself, with its own paths and state dict.

    Raises:
        ValueError: on an unknown model or keyword, or weights that do not fit.

    Example:
        In a config::

            student_model:
              key: model_with_logits
              kwargs:
                model: {key: googlenet, kwargs: {num_classes: 100, weights: null}}
                logits: logits
    """
    return give_logits(nested_model("model of model_with_logits", model), logits)
