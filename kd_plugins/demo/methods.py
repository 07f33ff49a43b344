"""The methods and transforms that the demo compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._checks import unknown_name
from ..methods import BASELINE
from ..methods import METHODS as RECORDS

METHODS: dict[str, str] = {
    BASELINE: "cross-entropy",
    **{method.name: method.label or method.title for method in RECORDS.values() if method.demo},
}
"""Name of a recipe -> its label in the table."""

NO_TRANSFORM = "none"
TRANSFORMS = {NO_TRANSFORM: "", "standardize": "standardize", "keep_salient": "keep_salient=0.5"}
"""Name -> transforms of a recipe."""


@dataclass(frozen=True)
class Variant:
    """A method with at most one transform before its loss.

    Example:
        >>> variant = Variant("dkd", "standardize")
        >>> variant.key, variant.title
        ('dkd+standardize', 'DKD, standardize')
    """

    method: str
    transform: str = NO_TRANSFORM

    @property
    def key(self) -> str:
        """Name of the config and the folder."""
        return self.method if self.transform == NO_TRANSFORM else f"{self.method}+{self.transform}"

    @property
    def title(self) -> str:
        """Name in the table."""
        title = METHODS[self.method]
        return title if self.transform == NO_TRANSFORM else f"{title}, {self.transform}"


def variants(methods: Sequence[str], transforms: Sequence[str] = (NO_TRANSFORM,)) -> list[Variant]:
    """Return the baseline, then every method with every transform.

    Raises:
        ValueError: on an unknown method or transform, or none at all.
    """
    for what, names, known in (("method", methods, METHODS), ("transform", transforms, TRANSFORMS)):
        if not names:
            raise ValueError(f"name at least one {what}: {', '.join(known)}")
        for name in names:
            if name not in known:
                raise unknown_name(what, name, known)
    chosen = [Variant(method, transform) for method in methods if method != BASELINE for transform in transforms]
    return list(dict.fromkeys([Variant(BASELINE), *chosen]))
