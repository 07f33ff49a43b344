"""Read a torchdistill config and keep line numbers, so that errors can name YAML path and line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torchdistill.common import yaml_util

from .._checks import nearest, suggestion
from .._errors import ConfigError, explain
from .._stray import is_stray_folder
from .yaml_nodes import all_nodes, child_node, mapping_nodes, put_node

_REPORTED = re.compile(r"^# Reported: (.+)$", re.MULTILINE)


def _named(construct: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a tag's constructor, so that its errors name the line of the tag."""

    def constructor(loader: yaml.FullLoader, node: yaml.Node) -> Any:
        try:
            return construct(loader, node)
        except (yaml.YAMLError, ConfigError):
            raise
        except Exception as error:
            place = _position(node.start_mark)
            raise ConfigError(f"{place}: {node.tag} failed: {explain(error)}{_stray(error)}") from error

    return constructor


class _Loader(yaml.FullLoader):
    """PyYAML's loader with torchdistill's tags."""


for _tag, _construct in {
    "!join": yaml_util.yaml_join,
    "!pathjoin": yaml_util.yaml_pathjoin,
    "!expanduser": yaml_util.yaml_expanduser,
    "!abspath": yaml_util.yaml_abspath,
    "!import_get": yaml_util.yaml_import_get,
    "!import_call": yaml_util.yaml_import_call,
    "!import_call_method": yaml_util.yaml_import_call_method,
    "!call_method": yaml_util.yaml_call_method,
    "!getattr": yaml_util.yaml_getattr,
    "!setattr": yaml_util.yaml_setattr,
    "!access_by_index_or_key": yaml_util.yaml_access_by_index_or_key,
}.items():
    _Loader.add_constructor(_tag, _named(_construct))


@dataclass
class Config:
    """A config as text and as YAML nodes, which keep their line numbers."""

    path: Path
    text: str  # including overrides
    root: yaml.MappingNode
    reported: str = ""  # text of the comment `# Reported: ...`, the result in the paper; empty without one
    refuse: Callable[[Config], None] = lambda _config: None  # raises if it must not be constructed, see safe.py

    def construct(self) -> dict[str, Any]:
        """Build the config's objects. This runs its tags, such as ``!import_call``, and the code that they name."""
        self.refuse(self)
        loader = _Loader("")
        try:
            # A copy of the nodes is constructed, so that a second call builds new objects.
            return loader.construct_document(copy.deepcopy(self.root))
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.path}: {_yaml_problem(error)}") from error
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from error
        finally:
            loader.dispose()

    def where(self, *path: object) -> str:
        """Return ``"train.num_epochs (line 12)"`` for a path; a missing key gets the line of its parent."""
        node: yaml.Node = self.root
        line = node.start_mark.line
        for key in path:
            found = child_node(node, str(key))
            if found is None:
                break
            key_node, node = found
            mark = (key_node or node).start_mark
            line = line if mark is None else mark.line
        return f"{'.'.join(map(str, path))} (line {line + 1})"

    def is_referred_to(self, *path: object) -> bool:
        """Tell whether a YAML alias elsewhere in the config refers to a value or to a part of it."""
        node: yaml.Node = self.root
        for key in path:
            found = child_node(node, str(key))
            if found is None:
                return False
            node = found[1]
        inside = {id(one) for one in all_nodes(node)}
        # All nodes, except those that are only below the value itself.
        outside = {id(one) for one in all_nodes(self.root, without=(path[-1], node))}
        return not inside.isdisjoint(outside)

    def canonical(self) -> str:
        """Return the text without comments and formatting, to compare configs."""
        return yaml.serialize(self.root)


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply overrides such as ``"train.num_epochs=3"``, without building objects.

    Raises:
        ConfigError: if the file is missing or not valid YAML, a key is repeated, or an override names an unknown key.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path()
        near = nearest(str(path), map(str, folder.glob("*.y*ml")), count=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"config file {path} does not exist{meant}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} cannot be read: {explain(error)}") from error
    return parse_config(text, path, overrides)


def parse_config(text: str, path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the config that ``text`` holds; see :func:`read_config`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_problem(error)}") from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: a config must be a YAML mapping with models, datasets and train")
    _refuse_repeated_keys(root, path)
    reported = _REPORTED.search(text)
    for override in overrides:
        _override(root, override)
    if overrides:
        # The nodes keep the line numbers of the user's file, for messages.
        text = yaml.serialize(root)
    return Config(path, text, root, reported.group(1).strip() if reported else "")


def _override(root: yaml.MappingNode, override: str) -> None:
    name, equals, value = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set must be KEY.PATH=VALUE, such as train.num_epochs=3, found {override!r}")
    try:
        new = yaml.compose(value, Loader=_Loader) or yaml.ScalarNode("tag:yaml.org,2002:null", "")
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {_yaml_problem(error)}") from error
    node: yaml.Node = root
    for depth, key in enumerate(keys[:-1]):
        found = child_node(node, key)
        if found is None or not isinstance(found[1], yaml.CollectionNode):
            there, offer = ".".join(keys[: depth + 1]), suggestion(key, _keys(node))
            raise ConfigError(f"--set {override}: {there!r} is not a mapping or list in the config; {offer}")
        # An alias shares its node with the anchor; copy it, so that only this path changes.
        own = copy.copy(found[1])
        own.value = list(own.value)
        put_node(node, key, own)
        node = own
    may_be_new = keys[-1] in _OPTIONAL or (len(keys) > 1 and keys[-2] in ("kwargs", "sub_terms"))
    if child_node(node, keys[-1]) is None and not may_be_new:
        raise ConfigError(f"--set {override}: the config has no {name.strip()!r}; {suggestion(keys[-1], _keys(node))}")
    put_node(node, keys[-1], new)


# Optional keys of torchdistill, which an override may add.
_OPTIONAL = {
    "log_freq", "max_grad_norm", "grad_accum_step", "scheduling_step", "requires_grad", "src_ckpt", "wrapper",
    "pre_epoch_process", "frozen_modules", "forward_hook", "checkpoint",
}  # fmt: skip


def _keys(node: yaml.Node) -> Iterable[str]:
    if isinstance(node, yaml.MappingNode):
        return [str(key.value) for key, _ in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [str(index) for index in range(len(node.value))]
    return []


def _refuse_repeated_keys(root: yaml.Node, path: Path) -> None:
    """Refuse duplicate keys in a mapping; YAML would silently keep the last one."""
    for mapping in mapping_nodes(root):
        first: dict[str, yaml.Node] = {}
        for key_node, _ in mapping.value:
            earlier = first.setdefault(str(key_node.value), key_node)
            if earlier is not key_node and key_node.tag != "tag:yaml.org,2002:merge":
                raise ConfigError(
                    f"{path}: {_position(key_node.start_mark)}: duplicate key {key_node.value!r} "
                    f"(first on line {earlier.start_mark.line + 1}); remove one"
                )


def _position(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{_position(mark)}: " if mark is not None else ""
    problem, context = getattr(error, "problem", None) or error, getattr(error, "context", None)
    return f"{place}invalid YAML: {problem}" + (f" ({context})" if context else "")


def _stray(error: BaseException) -> str:
    """Return advice about a stray folder that torchvision takes for a class without images."""
    classes = re.search(r"no valid file for the classes (.*?)\. Supported", str(error))
    stray = [name for name in classes[1].split(", ") if is_stray_folder(name)] if classes else []
    return f"; {', '.join(stray)} is not a class: delete that folder" if stray else ""
