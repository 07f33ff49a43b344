"""Look-up of pretrained weights in caches and on the network, before timm starts a download."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._checks import unknown_name

logger = logging.getLogger(__name__)

PROBE_SECONDS = 3.0
DEFAULT_FILE = "pytorch_model.bin"
SAFE_FILES = {DEFAULT_FILE: "model.safetensors", "open_clip_pytorch_model.bin": "open_clip_model.safetensors"}
PROXIES = ("https_proxy", "http_proxy", "all_proxy")


def locate_weights(model_name: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the keywords for ``timm.create_model``, with the cached file, if any, as an overlay.

    With a file timm does not use the network. Otherwise one short connection attempt replaces the minute of retries of
    a download. Weights that do not exist, or are neither cached nor reachable, raise ``ValueError``.
    """
    if ":" in model_name:
        return dict(keywords)
    config = _weights_config(model_name, keywords)
    folder = keywords.get("cache_dir")
    if config.file or config.state_dict:
        return dict(keywords)
    if config.hf_hub_id:
        found = _cached_on_hub(config.hf_hub_id, config.hf_hub_filename or DEFAULT_FILE, folder)
        if found is None:
            _check_hub(model_name, config.hf_hub_id)
        elif not config.custom_load:
            overlay = {**(keywords.get("pretrained_cfg_overlay") or {}), "file": found}
            return {**keywords, "pretrained_cfg_overlay": overlay}
    elif not _cached_url(config.url, folder):
        url = config.url if isinstance(config.url, str) else config.url[0]
        if not _reachable(url):
            raise _no_network(model_name, url, "TORCH_HOME")
    return dict(keywords)


def known_name(model_name: str) -> str:
    """Return timm's current name of a model; raise ``ValueError`` unless timm knows it, including its tag or source.

    Example:
        >>> known_name("convnext_tiny_in22ft1k")
        'convnext_tiny.fb_in22k_ft_in1k'
    """
    import timm

    from . import swin_pico

    swin_pico.register()
    successors = timm.models.get_deprecated_models()
    if model_name in successors:
        current = successors[model_name]
        if current is None:
            raise ValueError(f"model_name: timm has removed {model_name!r}; timm.list_models() lists its models")
        logger.warning("timm has renamed the model %r to %r", model_name, current)
        model_name = current
    if model_name.startswith(("hf-hub:", "hf_hub:")):
        _check_hub(model_name, model_name.partition(":")[2])
    if ":" in model_name or "/" in model_name:
        return model_name
    name, _, tag = model_name.partition(".")
    if not timm.is_model(name):
        raise unknown_name("timm model", name, timm.list_models(), where="model_name")
    tags = timm.list_models(f"{name}.*", include_tags=True)
    if tag and model_name not in tags:
        raise unknown_name(f"tag of the timm model {name!r}:", model_name, tags, where="model_name")
    return model_name


def _weights_config(model_name: str, keywords: Mapping[str, Any]) -> Any:
    import timm

    name, _, tag = model_name.partition(".")
    config = timm.models.resolve_pretrained_cfg(
        name,
        pretrained_cfg=keywords.get("pretrained_cfg") or tag,
        pretrained_cfg_overlay=keywords.get("pretrained_cfg_overlay"),
    )
    if not (config.has_weights or config.state_dict):
        tags = timm.list_pretrained(f"{name}.*")
        known = "names with weights: " + ", ".join(tags) if tags else "timm has none for any tag of this model"
        raise ValueError(f"pretrained must be False for {model_name!r}, which has no pretrained weights; {known}")
    return config


def _cached_on_hub(repository: str, file: str, folder: str | None) -> str | None:
    """Return the path of the weights in the hub's local cache, searched in timm's order."""
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition("@")
    safe = SAFE_FILES.get(file, file.removesuffix(".bin") + ".safetensors" if file.endswith(".bin") else file)
    for candidate in (safe, file):
        found = try_to_load_from_cache(name, candidate, cache_dir=folder, revision=revision or None)
        if isinstance(found, str):
            return found
    return None


def _cached_url(url: str | tuple[str, str], folder: str | None) -> bool:
    import torch

    name = urlsplit(url).path.rpartition("/")[2] if isinstance(url, str) else url[1]
    return (Path(folder) if folder else Path(torch.hub.get_dir(), "checkpoints")).joinpath(name).is_file()


def _check_hub(model_name: str, repository: str) -> None:
    from huggingface_hub import constants

    # With a hub name timm contacts the hub even for cached files, unless in offline mode.
    cached = ":" in model_name and _cached_on_hub(repository, "config.json", None) is not None
    if constants.HF_HUB_OFFLINE:
        if cached:
            return
        raise ValueError(
            f"the weights of {model_name!r} are not in the cache ({constants.HF_HUB_CACHE}) and "
            f"HF_HUB_OFFLINE forbids downloading {repository}: {_advice('HF_HOME')}, or unset HF_HUB_OFFLINE"
        )
    if not _reachable(constants.ENDPOINT):
        if cached:
            raise ValueError(
                f"{constants.ENDPOINT} cannot be reached, but {repository} is in the local cache: set "
                f"HF_HUB_OFFLINE=1 to build {model_name!r} from the cache"
            )
        raise _no_network(model_name, f"{constants.ENDPOINT}/{repository}", "HF_HOME")


def _no_network(model_name: str, address: str, cache: str) -> ValueError:
    return ValueError(
        f"the weights of {model_name!r} are not in the local cache and {address} cannot be reached "
        f"(tried for at most {PROBE_SECONDS:g} s): {_advice(cache)}"
    )


def _advice(cache: str) -> str:
    return (
        "set `checkpoint: FILE` instead of `pretrained: True`, or download the weights on a machine with a "
        f"network, copy its cache folder here and set {cache} to it"
    )


def _reachable(address: str) -> bool:
    """Return whether the host of a URL accepts a connection; True if a proxy is set.

    The attempt runs in a thread because a DNS look-up has no time-out.
    """
    if any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return True
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    connected = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS):
                connected.set()
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return connected.is_set()
