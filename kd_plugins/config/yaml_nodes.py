"""Walk and edit YAML nodes, which keep their line numbers."""

from __future__ import annotations

from collections.abc import Iterator

import yaml


def child_node(node: yaml.Node, key: str) -> tuple[yaml.Node | None, yaml.Node] | None:
    """Return key node (None in a list) and value node of an entry of a mapping or list; None if it is absent."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            if key_node.value == key:
                return key_node, value
        for key_node, value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    found = child_node(source, key)
                    if found is not None:
                        return found
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return None, node.value[int(key)]
    return None


def put_node(node: yaml.Node, key: str, value: yaml.Node) -> None:
    """Set an entry of a mapping or list, in place."""
    if isinstance(node, yaml.SequenceNode):
        node.value[int(key)] = value
        return
    for index, (key_node, _old) in enumerate(node.value):
        if key_node.value == key:
            node.value[index] = (key_node, value)
            return
    node.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", key), value))


def all_nodes(
    node: yaml.Node, *, without: tuple[object, yaml.Node] | None = None, seen: set[int] | None = None
) -> Iterator[yaml.Node]:
    """Yield every node of a tree once, except below the entry ``without`` (key, value)."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        key, value = item if isinstance(item, tuple) else (None, item)
        if without is None or value is not without[1] or getattr(key, "value", None) != str(without[0]):
            # A key node may have a tag or an anchor too.
            for inside in (value,) if key is None else (key, value):
                yield from all_nodes(inside, without=without, seen=seen)


def mapping_nodes(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield every mapping of a tree once."""
    return (inside for inside in all_nodes(node) if isinstance(inside, yaml.MappingNode))
