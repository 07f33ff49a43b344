"""Parse the methods of a recipe, their pre-processes, and transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._names import unknown_name
from ..methods import BASELINE, METHODS, Method

STANDARDIZED, MASKED = "_ls", "_sfkd"
PRE_PROCESSES = {"lskd": STANDARDIZED, "sfkd": MASKED}
"""Methods that are applied to another one: ``lskd --base dkd`` is ``dkd_ls``."""
TRANSFORMS = ("standardize", "keep_salient")


@dataclass(frozen=True)
class Summand:
    """One method of a sum, and its pre-processes.

    Example:
        >>> parse_method("sfkd", base="sp+kd")
        [Summand(base='sp', standardized=False, masked=True), Summand(base='sfkd', standardized=False, masked=False)]
    """

    base: str
    standardized: bool = False
    masked: bool = False

    @property
    def method(self) -> Method:
        """The method's record."""
        return METHODS[self.base]

    @property
    def name(self) -> str:
        """Name in file names and tables, such as ``dkd_ls``."""
        return self.base + (STANDARDIZED if self.standardized else "") + (MASKED if self.masked else "")

    @property
    def title(self) -> str:
        """Name in comments."""
        if self.masked:
            return f"{self.method.title} of the teacher's salient entries (SFKD)"
        if not self.standardized:
            return self.method.title
        comma = "," if "," in self.method.title else ""
        return f"{self.method.title}{comma} on standardized logits"


def parse_method(text: str, *, base: str | None = None) -> list[Summand]:
    """Return the methods of a sum; an empty list for plain training (``ce``).

    Args:
        text: a method, or several joined by ``+``; the suffix ``_ls`` standardizes a method's logits, ``_sfkd`` masks
            its teacher.
        base: method to which ``lskd`` or ``sfkd`` is applied, ``kd`` by default.

    Raises:
        ValueError: for an unknown method, a base for another method, or a meaningless combination.
    """
    if base is not None and text not in PRE_PROCESSES:
        hint = "" if text == BASELINE else "; methods are added as in sp+kd"
        raise ValueError(f"--base is for {' and '.join(PRE_PROCESSES)}, found {text}{hint}")
    if text == BASELINE:
        return []
    whole = (base or "kd") if text in PRE_PROCESSES else text
    summands = [_summand(name.strip() + PRE_PROCESSES.get(text, "")) for name in whole.split("+")]
    names = [summand.name for summand in summands]
    if len(set(names)) < len(names):
        raise ValueError(f"every method of a sum must be another one, found {' + '.join(names)}")
    several = [summand.name for summand in summands if summand.method.teachers]
    if several and len(summands) > 1:
        raise ValueError(f"{several[0]} has several teachers and cannot be added to another method")
    return summands


def _summand(name: str) -> Summand:
    base, standardized, masked = name, False, False
    if base not in METHODS and base.endswith(MASKED):
        base, masked = base.removesuffix(MASKED), True
    if base not in METHODS and base.endswith(STANDARDIZED):
        base, standardized = base.removesuffix(STANDARDIZED), True
    if base not in METHODS:
        raise unknown_name("method", base, [*METHODS, BASELINE])
    if masked and base in ("sfkd", "lskd") and not standardized:
        raise ValueError(f"{name}: {'sfkd masks already' if base == 'sfkd' else 'the masked form of lskd is sfkd_ls'}")
    if standardized and base == "lskd":
        raise ValueError(f"{name}: lskd standardizes already")
    if standardized and not METHODS[base].on_logits:
        logits = ", ".join(method.name for method in METHODS.values() if method.on_logits)
        raise ValueError(f"{name}: only methods on the models' logits can be standardized: {logits}")
    if masked and not METHODS[base].maskable:
        raise ValueError(f"{name}: {base} takes the teacher's maps as they are, and no mask goes before it")
    # The standardized and the masked form of KD are losses of their own.
    if base == "kd" and masked:
        return Summand("sfkd", standardized)
    if base == "kd" and standardized:
        return Summand("lskd")
    return Summand(base, standardized, masked)


def parse_transforms(text: str) -> list[dict[str, Any]]:
    """Return the transforms of ``--with``.

    Raises:
        ValueError: for an unknown transform, an invalid keep, or a value for standardize.

    Example:
        >>> parse_transforms("standardize,keep_salient=0.5")
        [{'key': 'standardize'}, {'key': 'keep_salient', 'keep': 0.5}]
    """
    steps: list[dict[str, Any]] = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        key, equals, value = word.partition("=")
        if key not in TRANSFORMS:
            raise unknown_name("transform", key, TRANSFORMS)
        if key == "standardize" and equals:
            raise ValueError(f"--with standardize takes no value, found {word}")
        keep = {} if key == "standardize" else {"keep": parse_keep(value if equals else "0.5", word, flag="--with")}
        steps.append({"key": key, **keep})
    return steps


def parse_keep(text: str, word: str, *, flag: str) -> float | int:
    """Return ``keep`` as a fraction or a count; ``word`` and ``flag`` are for the message.

    Raises:
        ValueError: for another value.

    Example:
        >>> [parse_keep(text, f"keep={text}", flag="--option") for text in ("0.5", "3")]
        [0.5, 3]
    """
    try:
        value: float | int = int(text) if text.strip().isdigit() else float(text)
    except ValueError:
        value = 0
    if not (isinstance(value, int) and value >= 1) and not 0 < value <= 1:
        key = word.partition("=")[0]
        raise ValueError(f"{flag} {key}=K wants a share in (0, 1] or a count, such as 0.5, found {word}")
    return value


def sum_name(summands: Sequence[Summand]) -> str:
    """Return the name of a sum in tables and folders."""
    return "+".join(summand.name for summand in summands) or BASELINE
