"""Builder for every timm model, with errors that say what to change."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch import nn

from .._checks import named_keywords, suggestion
from .checkpoint import Convert, load_checkpoint
from .frozen import freeze
from .logits import LogitsKey, give_logits
from .pretrained import known_name, locate_weights

# Keywords of timm.create_model for every model, which the model classes do not list.
COMMON_KEYWORDS = (
    "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "scriptable", "exportable", "features_only", "out_indices",
)  # fmt: skip

UNEXPECTED = re.compile(r"(?:(\w+)\.)?\w+\(\) got (?:an )?unexpected keyword argument.*?'(\w+)'")


@dataclass(frozen=True)
class PretrainedInput:
    """Input that a timm model expects.

    Attributes:
        mean: mean per channel, for images in 0..1.
        std: standard deviation per channel.
        input_size: channels, height and width; the ``img_size`` that the model was built with, if any.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int]


def timm_model(
    *,
    model_name: str,
    pretrained: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    use_ema: bool = True,
    remap: str | None = None,
    new_classifier: bool = False,
    logits: LogitsKey | None = None,
    frozen: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Build a timm model.

    To get a transformer for small images, give a large one ``img_size``, ``patch_size``, ``embed_dim``, ``depth``,
    ``num_heads`` or ``window_size``. MLP mixers also take ``patch_size``, ``num_blocks`` and ``embed_dim``, although
    timm's own factories fix them. Swin-Pico, which timm lacks, is ``swin_pico_patch4_window7_224``.

    Args:
        model_name: a timm name, such as ``resnet18``, with or without a tag (``resnet18.a1_in1k``). A deprecated name
            is replaced by its successor.
        pretrained: whether to load timm's weights, from its cache or by download.
        checkpoint: file with weights that fit the model exactly. Parameter names of older timm versions and of the
            model's authors are converted as in timm.
        use_ema: prefer averaged weights in that file to the raw ones, as in timm.
        remap: ``"by_order"`` loads a file of the same architecture with other parameter names, if order and shapes
            agree one to one. The pairs are logged: compare them.
        new_classifier: leave the classifier as it is initialised and load the rest, as to fine-tune weights of other
            classes.
        logits: key or index of the logits, for a model that returns several outputs, such as ``0`` for a distilled DeiT
            in training.
        frozen: keep the model in eval mode without gradients, as for a teacher.
        kwargs: passed to ``timm.create_model``, such as ``num_classes`` or ``img_size``.

    Returns:
        The timm model, from images (B, 3, H, W) to logits (B, num_classes).

    Raises:
        ValueError: on an unknown name or keyword, incompatible settings, or weights that do not exist, cannot be
            reached or do not fit.

    References:
        Wightman, PyTorch Image Models, 2019.

    Example:
        >>> import torch
        >>> model = timm_model(
        ...     model_name="vit_tiny_patch16_224", num_classes=10, img_size=32, patch_size=8, depth=1
        ... )
        >>> model(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    if not isinstance(model_name, str) or not model_name:
        raise ValueError(f"model_name must be a timm model's name, such as 'resnet18', found {model_name!r}")
    for argument, value in (("pretrained", pretrained), ("new_classifier", new_classifier), ("frozen", frozen)):
        if not isinstance(value, bool):
            raise ValueError(f"{argument} must be True or False, found {value!r}")
    if pretrained and checkpoint is not None:
        raise ValueError(
            f"pretrained and checkpoint cannot be used together, found True and {checkpoint!r}; "
            "set pretrained: False to load the file"
        )
    for argument, found in (("remap", remap), ("new_classifier", new_classifier)):
        if found and checkpoint is None:
            raise ValueError(f"{argument} is about a checkpoint, found {found!r} without checkpoint; remove it")
    model_name = known_name(model_name)
    model = create(model_name, pretrained, kwargs)
    _check_patches(model, model_name)
    if checkpoint is not None:
        keep = _classifier_names(model) if new_classifier else ()
        load_checkpoint(model, checkpoint, use_ema=use_ema, convert=name_converter(model), remap=remap, keep=keep)
    if logits is not None:
        give_logits(model, logits)
    return freeze(model) if frozen else model


def pretrained_input(model: nn.Module) -> PretrainedInput | None:
    """Return the normalisation and input size of a timm model; None for other models.

    Example:
        >>> pretrained_input(timm_model(model_name="resnet10t")).mean
        (0.485, 0.456, 0.406)
        >>> pretrained_input(nn.Flatten()) is None
        True
    """
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not {"mean", "std", "input_size"} <= set(config):
        return None
    channels, *size = config["input_size"]
    patches = _patch_embedding(model)
    if patches is not None and patches.img_size is not None:
        size = list(patches.img_size)
    return PretrainedInput(tuple(config["mean"]), tuple(config["std"]), (channels, size[0], size[1]))


def input_normalization(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and standard deviation per channel of a timm model; None for other models.

    Example:
        >>> input_normalization(timm_model(model_name="resnet10t"))
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    """
    expected = pretrained_input(model)
    return None if expected is None else (expected.mean, expected.std)


def name_converter(model: nn.Module) -> Convert | None:
    """Return timm's function that converts older parameter names to those of ``model``, if there is one."""
    module = type(model).__module__
    return getattr(sys.modules[module], "checkpoint_filter_fn", None) if module.startswith("timm.") else None


def _classifier_names(model: nn.Module) -> list[str]:
    """Return the beginnings of the classifier's parameter names, as timm knows them."""
    found = model.pretrained_cfg["classifier"]  # type: ignore[index]
    return [f"{name}." for name in ([found] if isinstance(found, str) else found)]


def create(model_name: str, pretrained: bool, keywords: Mapping[str, Any]) -> nn.Module:
    """Return what ``timm.create_model`` builds; its errors become ``ValueError``."""
    import timm

    keywords = locate_weights(model_name, keywords) if pretrained else keywords
    try:
        try:
            return timm.create_model(model_name, pretrained=pretrained, **keywords)
        except TypeError as error:
            if "multiple values for keyword argument" not in str(error):
                raise
            return _create_mixer(model_name, pretrained, keywords)
    except (TypeError, ValueError, RuntimeError, AssertionError, OSError) as error:
        unexpected = UNEXPECTED.search(str(error))
        if unexpected:
            raise ValueError(_unexpected(model_name, unexpected[2], unexpected[1])) from error
        raise ValueError(
            f"timm cannot build {model_name!r} with {dict(keywords)}, pretrained {pretrained}: "
            f"{str(error) or type(error).__name__}"
        ) from error


def _unexpected(model_name: str, keyword: str, class_name: str | None) -> str:
    """Return the message for a keyword that the model class does not take."""
    model_class = getattr(sys.modules[_factory(model_name).__module__], class_name or "", None)
    known = set(COMMON_KEYWORDS)
    if isinstance(model_class, type) and issubclass(model_class, nn.Module):
        known |= set(named_keywords(model_class)[0])
    any_size = "it takes images of any size; remove img_size"
    hint = any_size if keyword == "img_size" else suggestion(keyword, known)
    return f"the timm model {model_name!r} ({class_name}) takes no keyword {keyword!r}; {hint}"


def _create_mixer(model_name: str, pretrained: bool, keywords: Mapping[str, Any]) -> nn.Module:
    """Build an MLP mixer with settings that its factory fixes.

    A copy of the factory runs with a last step in which ``keywords`` override the factory's own settings; timm itself
    does not change.
    """
    factory = _factory(model_name)
    last_step = factory.__globals__.get("_create_mixer")
    if last_step is None:
        raise ValueError("its factory already sets one of these keywords; remove that keyword")

    def build(variant: str, pretrained: bool = False, **settings: Any) -> nn.Module:
        return last_step(variant, pretrained=pretrained, **{**settings, **keywords})

    names = {**factory.__globals__, "_create_mixer": build}
    copy = types.FunctionType(factory.__code__, names, argdefs=factory.__defaults__)
    tag = model_name.partition(".")[2]
    return copy(pretrained=pretrained, **({"pretrained_cfg": tag} if tag else {}))


def _factory(model_name: str) -> Any:
    import timm

    return timm.models.model_entrypoint(model_name.rpartition(":")[2].partition(".")[0])


def _patch_embedding(model: nn.Module) -> Any:
    """Return the model's patch embedding, if it is timm's."""
    from timm.layers import PatchEmbed

    found = (getattr(model, name, None) for name in ("patch_embed", "stem"))
    return next((layer for layer in found if isinstance(layer, PatchEmbed)), None)


def _check_patches(model: nn.Module, model_name: str) -> None:
    patches = _patch_embedding(model)
    if patches is None or patches.img_size is None or patches.dynamic_img_pad:
        return
    if any(side % patch for side, patch in zip(patches.img_size, patches.patch_size, strict=True)):
        raise ValueError(
            f"img_size must be divisible by patch_size, found {tuple(patches.img_size)} and "
            f"{tuple(patches.patch_size)} in the timm model {model_name!r}"
        )
