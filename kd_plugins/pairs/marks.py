"""Values of a config that are written in another way than others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Raw(str):
    """YAML that goes out as it is: an alias or a tag."""

    __slots__ = ()


class Noted(dict[str, Any]):
    """A mapping with comments: key -> text that follows it on its line."""

    def __init__(self, content: Mapping[str, Any], notes: Mapping[str, str]) -> None:
        super().__init__(content)
        self.notes = dict(notes)
