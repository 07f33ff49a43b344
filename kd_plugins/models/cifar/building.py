"""Builders and weight initialisation of the CIFAR networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from torch import nn

from ..._checks import check_keywords, check_whole
from ..checkpoint import load_checkpoint
from ..frozen import freeze

ModelBuilder = Callable[..., nn.Module]


def make_builder(name: str, model_class: Callable[..., nn.Module], summary: str, **settings: Any) -> ModelBuilder:
    """Return the function ``name`` that builds one member of a family of networks.

    ``builder(*, num_classes=100, checkpoint=None, use_ema=True, frozen=False)`` calls ``model_class`` with ``settings``
    and ``num_classes``; ``summary`` is the first line of its docstring.
    """

    def build(
        *,
        num_classes: int = 100,
        checkpoint: str | PathLike[str] | None = None,
        use_ema: bool = True,
        frozen: bool = False,
    ) -> nn.Module:
        check_whole("num_classes", num_classes, 1)
        if not isinstance(frozen, bool):
            raise ValueError(f"frozen must be True or False, found {frozen!r}")
        model = model_class(**settings, num_classes=num_classes)
        if checkpoint is not None:
            load_checkpoint(model, checkpoint, use_ema=use_ema)
        return freeze(model) if frozen else model

    signature = inspect.signature(build)

    def builder(**keywords: Any) -> nn.Module:
        check_keywords(name, keywords, signature.parameters)
        return build(**keywords)

    builder.__name__ = builder.__qualname__ = name
    builder.__signature__ = signature  # type: ignore[attr-defined]
    builder.__doc__ = f"""{summary}.

    Args:
        num_classes: number of outputs.
        checkpoint: file with the weights.
        use_ema: prefer averaged weights in that file to the raw ones.
        frozen: keep the model in eval mode without gradients, as for a teacher.

    Returns:
        A network from images (B, 3, 32, 32), or larger, to logits (B, num_classes).

    Raises:
        ValueError: on another keyword, another ``num_classes`` or a checkpoint that does not fit.
    """
    return builder


def point_paths(
    *, stages: Sequence[str], last_map: str, classifier: str, relus: Sequence[str] = ()
) -> dict[str, tuple[str, str]]:
    """Return name -> (module path, io) of the feature points of a network.

    ``relus`` are the next ReLU after each stage's last sum or convolution, if the family has one.
    """
    paths = {f"stage{k}": (path, "output") for k, path in enumerate(stages, start=1)}
    paths |= {"last_map": (last_map, "output"), "pooled": (classifier, "input"), "logits": (".", "output")}
    return paths | {f"stage{k}_preact": (path, "input") for k, path in enumerate(relus, start=1)}


def last_relus(model: nn.Module, stages: Sequence[str], relu: str) -> list[str]:
    """Return the paths of the ReLU of that name in the last block of each stage."""
    return [f"{path}.{len(model.get_submodule(path)) - 1}.{relu}" for path in stages]  # type: ignore[arg-type]


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return a convolution that keeps the size at stride 1, without a bias, and its batch norm."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)


def initialize_weights(model: nn.Module) -> None:
    """Draw every convolution from He's normal distribution (fan out, ICCV 2015) and set its bias to zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
