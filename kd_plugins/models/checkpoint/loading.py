"""Loading of a checkpoint file into a model: all weights or none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..._checks import check_choice
from .by_order import BY_ORDER, by_order
from .content import Weights, common_prefix, is_counter, preferred, prefixes, state_dicts, without_wrappers
from .kinds import is_safetensors
from .reading import local_file, read_file

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=nn.Module)
Convert = Callable[[dict[str, Tensor], nn.Module], Mapping[str, Tensor]]

SHOWN = 3


def load_checkpoint(
    model: ModelT,
    path: str | PathLike[str],
    *,
    use_ema: bool = True,
    convert: Convert | None = None,
    remap: str | None = None,
    keep: Sequence[str] = (),
) -> ModelT:
    """Copy the weights of a checkpoint file into ``model``, all of them or none.

    The file holds a state dict, bare or inside dictionaries. Names may have the prefix of a parallel or compiled model,
    or another prefix that all share. ``num_batches_tracked``, which files of PyTorch 0.4 and older lack, may be
    missing. If several state dicts fit, those under ``model``, ``state_dict`` and ``net`` come first; an unusual choice
    is logged. The kind of file is recognised from its content. Only tensors and plain values are read, and a file that
    needs code is refused, so an unknown file is safe. Other entries may be NumPy numbers or an ``argparse.Namespace``,
    as in many public checkpoints.

    Args:
        model: changed in place, and returned.
        path: file from ``torch.save`` or safetensors, with any suffix; ``~`` is the home folder. A URL (``https://``)
            is downloaded once.
        use_ema: prefer weights averaged over training steps (``state_dict_ema``, ``model_ema``, ...) to the raw ones,
            as timm does.
        convert: maps a state dict with other names to the names of ``model``; called if the names do not fit.
        remap: ``"by_order"`` gives the file's n-th entry the model's n-th name, if names do not fit and all shapes do.
            The pairs are logged: compare them, because order and shapes cannot prove that two entries mean the same.
        keep: beginnings of names, such as ``"fc."``, under which the model keeps its own values.

    Raises:
        ValueError: if the file is missing, damaged, of another kind or needs code, if its weights are missing or
            ambiguous, or if names or shapes differ from those of ``model``.

    Example:
        >>> import tempfile
        >>> source, copy = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"net": source.state_dict(), "epoch": 3}, f"{folder}/best.pth")
        ...     _ = load_checkpoint(copy, f"{folder}/best.pth")
        >>> torch.equal(copy.weight, source.weight)
        True
    """
    if not isinstance(use_ema, bool):
        raise ValueError(f"use_ema must be True or False, found {use_ema!r}")
    if remap is not None:
        check_choice("remap", remap, (BY_ORDER,))
    file = local_file(path)
    expected = model.state_dict()
    weights = _chosen(read_file(file), expected, file, use_ema)
    state = _renamed(weights, model, expected, file, convert, remap, keep)
    if keep:
        state = {**state, **{name: tensor for name, tensor in expected.items() if name.startswith(tuple(keep))}}
    _check_fit(model, expected, state, weights, file)
    model.load_state_dict({**{name: expected[name] for name in expected if is_counter(name)}, **state})
    return model


def _chosen(found: Any, expected: Mapping[str, Tensor], file: Path, use_ema: bool) -> Weights:
    """Return the chosen weights: among those whose names fit, or among all if none fit."""
    every = [Weights(weights.keys, without_wrappers(weights.state)) for weights in state_dicts(found)]
    if not every:
        seen = f"a dictionary with {_some([*map(repr, found)])}" if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(f"checkpoint {str(file)!r} must hold a state dict, bare or inside dictionaries; found {seen}")
    fitting = [weights for weights in every if common_prefix(weights.state, expected) is not None]
    if not fitting:
        return preferred(every, use_ema=use_ema)
    if not use_ema and all(weights.averaged for weights in fitting):
        raise ValueError(
            f"use_ema is False, but checkpoint {str(file)!r} has only averaged weights, under {fitting[0].place}: "
            "set use_ema: True to load them"
        )
    taken = preferred(fitting, use_ema=use_ema)
    rivals = [weights for weights in fitting if weights.averaged is taken.averaged and weights is not taken]
    if rivals and not taken.is_usual:
        choices = " or ".join(weights.place for weights in (taken, *rivals))
        raise ValueError(
            f"checkpoint {str(file)!r} holds several state dicts that fit: {choices}; save the one you want with "
            f"`torch.save({_opening(file)}{taken.place}, 'weights.pth')` and use weights.pth"
        )
    unfit = [weights.place for weights in every if weights.averaged and weights not in fitting]
    if use_ema and unfit and not taken.averaged:
        logger.warning("%s: the averaged weights under %s do not fit, those under %s do", file, unfit[0], taken.place)
    others = [weights.place for weights in fitting if weights is not taken]
    if others:
        kind, choice = ("averaged", "False") if taken.averaged else ("raw", "True")
        switch = "" if rivals else f" (use_ema: {choice} beside checkpoint in the model's kwargs takes those)"
        logger.warning(
            "%s: took the %s weights under %s, not %s%s", file, kind, taken.place, " or ".join(others), switch
        )
    elif not taken.is_usual or taken.averaged:
        logger.warning("%s: took the weights under %s", file, taken.place)
    return taken


def _renamed(
    weights: Weights,
    model: nn.Module,
    expected: Mapping[str, Tensor],
    file: Path,
    convert: Convert | None,
    remap: str | None,
    keep: Sequence[str],
) -> Mapping[str, Tensor]:
    """Return the state dict with the model's names, if it can be converted."""
    state, prefix = weights.state, common_prefix(weights.state, expected)
    if prefix:
        logger.warning("%s: left out %r, with which all names begin", file, prefix)
        return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if prefix is None and convert is not None:
        try:
            converted = dict(convert(dict(state), model))
        except Exception:
            converted = {}  # names that it does not know
        # Conversion must only rename: weights of another size belong to another model.
        resized = any(name in state and state[name].numel() != t.numel() for name, t in converted.items())
        if not resized and common_prefix(converted, expected) == "":
            logger.warning("%s: converted older names of the parameters", file)
            return converted
    if prefix is None and remap == BY_ORDER:
        return by_order(state, expected, file, keep=keep)
    return state


def _check_fit(
    model: nn.Module, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], weights: Weights, file: Path
) -> None:
    missing = [name for name in expected if name not in state and not is_counter(name)]
    unexpected = [name for name in state if name not in expected]
    both = [name for name in expected if name in state]
    differing = [name for name in both if state[name].shape != expected[name].shape]
    other = [name for name in both if not _is_plain(state[name], expected[name])]
    if not (missing or unexpected or differing or other):
        return
    shapes = {name: (expected[name].shape, state[name].shape) for name in differing}
    faults = {
        "the file lacks": map(repr, missing),
        "the model lacks": map(repr, unexpected),
        "shapes differ at": (f"{n!r} (expected {tuple(a)}, found {tuple(b)})" for n, (a, b) in shapes.items()),
        "tensors are not plain real ones at": map(repr, other),
    }
    text = "; ".join(f"{fault} {_some(names)}" for fault, found in faults.items() if (names := list(found)))
    if not (missing or unexpected):
        hint = _class_count_hint(list(shapes.values()))
    else:
        hint = _part_hint(weights, expected, file) or _order_hint(weights.state, expected)
    place = f", the weights under {weights.place}," if weights.keys else ""
    raise ValueError(f"checkpoint {str(file)!r}{place} does not fit {type(model).__name__}: {text}{hint}")


def _is_plain(tensor: Tensor, expected: Tensor) -> bool:
    real = expected.is_complex() or not tensor.is_complex()
    return real and tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta


def _part_hint(weights: Weights, expected: Mapping[str, Tensor], file: Path) -> str:
    """Return a hint if a part of the file would fit, such as the student in a file of student and teacher."""
    parts = prefixes(weights.state, expected)
    if not parts or not parts[0]:
        return ""
    start, names = parts[0], " or ".join(repr(part) for part in parts)
    return (
        f". The entries that begin with {names} would fit; save them with `d = {_opening(file)}{weights.place}; "
        f"torch.save({{k.split({start!r}, 1)[1]: v for k, v in d.items() if {start!r} in k}}, 'weights.pth')` and give "
        "weights.pth"
    )


def _order_hint(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    own, wanted = ([x.shape for name, x in each.items() if not is_counter(name)] for each in (state, expected))
    if own != wanted:
        return ""
    return (
        ". Order and shapes agree one to one: if it is the same architecture under other names, load a timm model with "
        "remap: by_order beside checkpoint"
    )


def _class_count_hint(shapes: list[tuple[torch.Size, torch.Size]]) -> str:
    """Return a hint if only the number of classes differs."""
    counts = {(want[:1], have[:1]) for want, have in shapes}
    if len(counts) != 1 or len(shapes) > 4 or any(want[1:] != have[1:] for want, have in shapes):
        return ""
    want, have = counts.pop()
    if not want or not have:
        return ""
    return (
        f". Only the classifier differs: number of classes expected {want[0]}, found {have[0]}; "
        f"build the model with num_classes: {have[0]}"
    )


def _opening(file: Path) -> str:
    """Return code that opens a file known to be harmless."""
    if is_safetensors(file):
        return f"safetensors.torch.load_file({str(file)!r})"
    return f"torch.load({str(file)!r}, map_location='cpu', weights_only=False)"


def _some(items: Sequence[str]) -> str:
    shown = ", ".join(items[:SHOWN]) or "nothing in it"
    return shown + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
