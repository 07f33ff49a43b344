"""The values of a config by path, to compare configs."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

Path = tuple[str, ...]


def entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return a mapping node's entries, including merged ones."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    merged: dict[str, yaml.Node] = {}
    own: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                merged = {**entries(source), **merged}
        else:
            own[str(key.value)] = value
    return {**merged, **own}


def leaves(node: yaml.Node, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield path and text of every value; for an empty mapping or list, the text is its YAML tag.

    Example:
        >>> dict(leaves(yaml.compose("train: {lr: 0.1, steps: [3, 4]}")))
        {('train', 'lr'): '0.1', ('train', 'steps', '0'): '3', ('train', 'steps', '1'): '4'}
    """
    if not isinstance(node, yaml.CollectionNode):
        yield path, str(node.value)
        return
    if isinstance(node, yaml.MappingNode):
        inside = entries(node)
    else:
        inside = {str(index): item for index, item in enumerate(node.value)}
    if not inside:
        yield path, node.tag
    for key, value in inside.items():
        yield from leaves(value, (*path, key))
