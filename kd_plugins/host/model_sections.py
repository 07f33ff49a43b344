"""Models built from config sections, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torchvision
from torch import nn
from torchdistill.models.official import get_image_classification_model, get_object_detection_model
from torchdistill.models.registry import MODEL_DICT, get_model

from .._checks import check_keywords, unknown_name
from ..models import load_checkpoint
from ..models.timm import name_converter

MODEL_KEYS = ("key", "kwargs", "src_ckpt", "repo_or_dir")
"""Keys allowed in the section of a nested model."""

AROUND = ("frozen_teacher", "model_with_logits")
"""Keys of models that wrap another one, given as ``model`` in their kwargs."""


def model_from_section(section: Mapping[str, Any], *, distributed: bool = False) -> nn.Module:
    """Build the model of a section as torchdistill's scripts do, and load its ``src_ckpt``.

    torchvision's names take precedence over registered ones. Unlike in the scripts, a missing checkpoint is an error,
    and no code in a checkpoint is executed. An unknown key raises ``ValueError``.

    The section has ``key``, ``kwargs`` and optionally ``src_ckpt``, ``repo_or_dir`` and torchvision's ``quantized``
    and ``sync_bn``, which takes effect if ``distributed``.
    """
    section = {**section, "kwargs": section.get("kwargs") or {}}
    key, repository = section["key"], section.get("repo_or_dir")
    model = get_image_classification_model(section, distributed)
    if model is None and key not in MODEL_DICT:
        model = get_object_detection_model(section)
    if model is None:
        if repository is None and key not in MODEL_DICT:
            raise unknown_name("model", key, [*MODEL_DICT, *torchvision.models.list_models()])
        model = get_model(key, repository, **section["kwargs"])
    source = section.get("src_ckpt")
    if source:
        load_checkpoint(model, source, convert=name_converter(model))
    return model


def nested_model(argument: str, section: Any, keys: Sequence[str] = MODEL_KEYS) -> nn.Module:
    """Build a model that is described in the keywords of another one; raise ``ValueError`` on a wrong section."""
    if not isinstance(section, Mapping) or not isinstance(section.get("key"), str):
        example = "{key: cifar_resnet20, kwargs: {num_classes: 100}}"
        raise ValueError(f"{argument} must be a mapping such as {example}, found {section!r}")
    check_keywords(argument, section, keys)
    return model_from_section(section)


def section_inside(section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section of the model inside a ``frozen_teacher`` or ``model_with_logits``; others unchanged."""
    inside = (section.get("kwargs") or {}).get("model")
    return inside if section.get("key") in AROUND and isinstance(inside, Mapping) else section


def model_title(section: Mapping[str, Any]) -> str:
    """Return a model's title for plots: timm's name, or the key in torchdistill's registry.

    Example:
        >>> model_title({"key": "timm_model", "kwargs": {"model_name": "resnet18"}})
        'resnet18'
    """
    inside = section_inside(section)
    kwargs = inside.get("kwargs") or {}
    student = kwargs.get("student")
    return model_title(student) if isinstance(student, Mapping) else str(kwargs.get("model_name") or inside["key"])
