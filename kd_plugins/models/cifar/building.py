"""Builders and weight initialisation of the CIFAR networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from torch import nn

from ..._checks import check_keywords
from ..checkpoint import load_checkpoint
from ..frozen import freeze

ModelBuilder = Callable[..., nn.Module]


def make_builder(name: str, model_class: Callable[..., nn.Module], summary: str, **settings: Any) -> ModelBuilder:
    """Return the function that builds one member of a family of networks.

    Args:
        name: name of the function, which is also the network's.
        model_class: called with ``settings`` and ``num_classes``, by keyword.
        summary: what the network is, for the docstring.
        settings: what distinguishes this member from the rest of its family.

    Returns:
        ``builder(*, num_classes=100, checkpoint=None, use_ema=True, frozen=False)``. It raises ``ValueError``
        on any other keyword, on a ``num_classes`` that is not a whole number of at least 1 and on a checkpoint that
        does not fit.

    Example:
        >>> builder = make_builder("flat", lambda num_classes: nn.Linear(3072, num_classes), "One layer")
        >>> builder.__name__, list(inspect.signature(builder).parameters)
        ('flat', ['num_classes', 'checkpoint', 'use_ema', 'frozen'])
        >>> builder(num_classes=5).out_features
        5
    """

    def build(
        *,
        num_classes: int = 100,
        checkpoint: str | PathLike[str] | None = None,
        use_ema: bool = True,
        frozen: bool = False,
    ) -> nn.Module:
        if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
            raise ValueError(f"num_classes must be a whole number of at least 1, found {num_classes!r}")
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
        checkpoint: file to take the weights from.
        use_ema: whether averaged weights in that file go before the raw ones.
        frozen: whether to pin eval mode and parameters without gradient, as for a teacher.

    Returns:
        A network that turns images of shape (B, 3, 32, 32), or larger, into logits of shape
        (B, num_classes).

    Raises:
        ValueError: on another keyword, another ``num_classes`` or a checkpoint that does not fit.
    """
    return builder


def point_paths(
    *, stages: Sequence[str], last_map: str, classifier: str, relus: Sequence[str] = ()
) -> dict[str, tuple[str, str]]:
    """Return name -> (module path, io) of the feature points of a network.

    Args:
        stages: paths of the modules that give the stages' outputs.
        last_map: path of the module that gives what is pooled.
        classifier: path of the linear layer.
        relus: paths of the next ReLU after each stage's last sum or convolution, where the family has one.

    Example:
        >>> point_paths(stages=["layer1"], last_map="relu", classifier="fc", relus=["relu"])["stage1_preact"]
        ('relu', 'input')
    """
    paths = {f"stage{k}": (path, "output") for k, path in enumerate(stages, start=1)}
    paths |= {"last_map": (last_map, "output"), "pooled": (classifier, "input"), "logits": (".", "output")}
    return paths | {f"stage{k}_preact": (path, "input") for k, path in enumerate(relus, start=1)}


def initialize_weights(model: nn.Module) -> None:
    """Draw every convolution of ``model`` from He's normal distribution (fan out) and set its bias to zero.

    References:
        He et al., Delving Deep into Rectifiers, ICCV 2015, section 2.2.

    Example:
        >>> layer = nn.Conv2d(3, 4, 3)
        >>> initialize_weights(layer)
        >>> layer.bias.tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
