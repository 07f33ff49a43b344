"""Config model of a student with letKD's KD layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ...models.letkd import add_kd_layers
from ..model_sections import MODEL_KEYS, nested_model


def letkd_student(
    *,
    student: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]],
    probe_size: int | list[int] | None = None,
) -> nn.Module:
    """Build a student with KD layers, for ``LetKDLoss``.

    Args:
        student: any config model: ``key``, ``kwargs`` and, to start from weights of the student without KD layers,
            ``src_ckpt``.
        layers: see :func:`~kd_plugins.models.letkd.add_kd_layers`.
        probe_size: height and width of the images, or one number, where they are not the student's own size.

    Returns:
        The student itself, with its own parameter names, and ``kd_layer.<name>`` for each layer. The layers are in its
        state dict, so it is trained, saved and loaded like any other model. Hook the scores at
        ``kd_layer.<name>.scores``.

    Raises:
        ValueError: on an unknown model or keyword, weights that do not fit, or a point that the student lacks.

    Example:
        In a config::

            student_model:
              key: letkd_student
              kwargs:
                student: {key: cifar_resnet20, kwargs: {num_classes: 100}}
                layers:
                  - {point: penultimate, num_scores: 4096, alpha: 1.0}
                  - {point: intermediate, num_scores: 800, alpha: 1.0}
    """
    keys = (*MODEL_KEYS, "dst_ckpt")
    return add_kd_layers(nested_model("student of letkd_student", student, keys), layers, probe_size=probe_size)
