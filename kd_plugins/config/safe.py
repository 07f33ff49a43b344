"""Untrusted configs: allow only known packages, before any object is constructed.

A config is code: a tag such as ``!import_call`` imports any module and calls any function. ``--safe`` inspects only the
YAML nodes and allows only classes and functions of listed packages.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import yaml

from .._errors import ConfigError
from .config import Config
from .leaves import entries
from .yaml_nodes import all_nodes, child_node

PACKAGES = ("torch", "torchvision", "timm", "torchdistill", "kd_plugins")
BUILTINS = ("range", "list", "tuple", "dict", "set", "int", "float", "str", "bool", "slice", "len", "min", "max", "sum")

REFUSED = (
    "torch.hub", "torch.load", "torch.serialization", "torch.package", "torch.jit", "torch.utils.cpp_extension",
    "torch.utils.model_zoo", "torch.multiprocessing", "torch.distributed", "torchdistill.common", "torch.library",
    "torch.classes", "torch.ops", "torch.compile", "torch.export", "timm.models._hub", "timm.models._helpers",
    "torchdistill.models.registry",
    *(f"kd_plugins.{part}" for part in (
        "analysis", "bench", "check", "cli", "config", "demo", "fitting", "recipes", "reports", "runtime", "training",
    )),
)  # fmt: skip
"""Parts of known packages that load files or run code."""

IMPORTS = ("!import_get", "!import_call", "!import_call_method")
ATTRIBUTES = {"!getattr": 1, "!setattr": 1}
"""Tags with an attribute name, and the position of that name."""

PLAIN = ("!join", "!pathjoin", "!expanduser", "!abspath", "!access_by_index_or_key", "!call_method", *ATTRIBUTES)
YAML = "tag:yaml.org,2002:"
PYTHON = ("none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict")


def refuse_unsafe(config: Config, packages: Sequence[str] = ()) -> None:
    """Raise :class:`ConfigError` if a config imports or calls code outside known packages.

    No object is constructed; only known packages and the additional ``packages`` are imported.
    """
    trusted = (*PACKAGES, *packages)
    for node in all_nodes(config.root):
        line = f"line {node.start_mark.line + 1}"
        fault = _fault(node, trusted)
        if fault:
            raise ConfigError(
                f"{config.path}: --safe refuses {fault} ({line}). Allowed packages are {', '.join(trusted)}; to trust "
                "another package, add --allow PACKAGE"
            )
        hub = entries(node).get("repo_or_dir")
        if hub is not None and hub.tag != f"{YAML}null":
            raise ConfigError(f"{config.path}: --safe refuses repo_or_dir ({line}): a hub model runs code")
    for name in _dependencies(config):
        if name.split(".")[0] not in trusted:
            raise ConfigError(
                f"{config.path}: --safe refuses the dependency {name} at {config.where('dependencies')}: to trust it, "
                f"add --allow {name.split('.')[0]}"
            )


def safe(config: Config, packages: Sequence[str] = ()) -> Config:
    """Return a config that calls :func:`refuse_unsafe` before it is constructed."""
    return replace(config, refuse=functools.partial(refuse_unsafe, packages=tuple(packages)))


def _fault(node: yaml.Node, trusted: Sequence[str]) -> str | None:
    """Return a description of what a node does that is not allowed, else None."""
    tag = node.tag
    if tag in IMPORTS:
        return _import_fault(node, trusted)
    if tag in ATTRIBUTES or tag == "!call_method":
        name = entries(node).get("method_name") if tag == "!call_method" else node.value[ATTRIBUTES[tag]]
        if name is None or name.tag != f"{YAML}str":
            return f"{tag} without a literal name"
        return f"{tag} of {name.value!r}" if name.value.startswith("_") else None
    if tag in PLAIN:
        return None
    if tag.startswith(f"{YAML}python/"):
        return None if tag.removeprefix(f"{YAML}python/") in PYTHON else f"the tag {tag}"
    return None if tag.startswith(YAML) else f"the tag {tag}"


def _import_fault(node: yaml.Node, trusted: Sequence[str]) -> str | None:
    parts = entries(node)
    names = [parts[name] for name in ("package", "key", "class_name", "method_name") if name in parts]
    if not names or any(name.tag not in (f"{YAML}str", f"{YAML}null") for name in names):
        return f"{node.tag} without a literal name"
    name = ".".join(part.value for part in names if part.tag == f"{YAML}str")
    if name.removeprefix("builtins.") in BUILTINS and name.startswith("builtins."):
        return None
    if name.split(".")[0] not in trusted or any(part.startswith("_") for part in name.split(".")):
        return f"{node.tag} of {name}"
    try:
        found = _resolve(name)
    except (ImportError, AttributeError):
        return None  # construction reports the error
    home = f"{getattr(found, '__module__', None) or name}.{getattr(found, '__qualname__', '')}"
    refused = any(f"{one}.".startswith(f"{other}.") for one in (name, home) for other in REFUSED)
    unknown = isinstance(found, ModuleType) or home.split(".")[0] not in trusted
    return f"{node.tag} of {name}" if refused or unknown else None


def _resolve(name: str) -> Any:
    """Return the object with a dotted name; import modules on the way."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for index, part in enumerate(parts[1:], 2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = importlib.import_module(".".join(parts[:index]))
        else:
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
    return found


def _dependencies(config: Config) -> Iterator[str]:
    found = child_node(config.root, "dependencies")
    for item in found[1].value if found and isinstance(found[1], yaml.SequenceNode) else ():
        named = child_node(item, "name")
        yield str((named[1] if named else item).value)
