"""Values of a config with a form of their own in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Raw(str):
    """YAML that is written unchanged: an alias or a tag."""

    __slots__ = ()


class Noted(dict[str, Any]):
    """A mapping with comments: key -> comment on its line."""

    def __init__(self, content: Mapping[str, Any], notes: Mapping[str, str]) -> None:
        super().__init__(content)
        self.notes = dict(notes)
