"""What is asked for: methods, the paper's pre-process before each, and transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._names import unknown_name
from ..methods import BASELINE, METHODS, Method

STANDARDIZED, MASKED = "_ls", "_sfkd"
PRE_PROCESSES = {"lskd": STANDARDIZED, "sfkd": MASKED}
"""Methods that go before another one: ``lskd --base dkd`` is ``dkd_ls``."""
TRANSFORMS = ("standardize", "keep_salient")


@dataclass(frozen=True)
class Summand:
    """One method of a sum, and what goes before it.

    Example:
        >>> parse_method("sfkd", base="sp+kd")
        [Summand(base='sp', standardized=False, masked=True), Summand(base='sfkd', standardized=False, masked=False)]
    """

    base: str
    standardized: bool = False
    masked: bool = False

    @property
    def method(self) -> Method:
        """Return the method's row."""
        return METHODS[self.base]

    @property
    def name(self) -> str:
        """Name in file names and tables, such as ``dkd_ls``."""
        return self.base + (STANDARDIZED if self.standardized else "") + (MASKED if self.masked else "")

    @property
    def title(self) -> str:
        """What comments call it."""
        if self.masked:
            return f"{self.method.title} of the teacher's salient entries (SFKD)"
        if not self.standardized:
            return self.method.title
        comma = "," if "," in self.method.title else ""
        return f"{self.method.title}{comma} on standardized logits"


def parse_method(text: str, *, base: str | None = None) -> list[Summand]:
    """Return the methods that a name means.

    Args:
        text: a method; several joined by ``+``; ``_ls`` and ``_sfkd`` after one standardize its logits or mask its
            teacher. Empty for plain training (``ce``).
        base: what ``lskd`` or ``sfkd`` go before, ``kd`` by default.

    Raises:
        ValueError: on an unknown method, with the nearest; a base where there is none; a combination that makes no
            sense.
    """
    if text == BASELINE:
        if base is not None:
            raise ValueError(f"--base is for {' and '.join(PRE_PROCESSES)}, found {text}")
        return []
    if text in PRE_PROCESSES:
        suffix = PRE_PROCESSES[text]
        summands = [_summand(name.strip() + suffix) for name in (base or "kd").split("+")]
    elif base is not None:
        raise ValueError(f"--base is for {' and '.join(PRE_PROCESSES)}, found {text}; methods are added as in sp+kd")
    else:
        summands = [_summand(name.strip()) for name in text.split("+")]
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
    # KD has its standardized and its masked form as losses of their own.
    if base == "kd" and standardized != masked:
        return Summand("lskd" if standardized else "sfkd")
    if base == "kd" and standardized and masked:
        return Summand("sfkd", standardized=True)
    return Summand(base, standardized, masked)


def parse_transforms(text: str) -> list[dict[str, Any]]:
    """Return the transforms of ``--with``.

    Raises:
        ValueError: on an unknown transform, a keep that is none, or a value where there is none.

    Example:
        >>> parse_transforms("standardize,keep_salient=0.5")
        [{'key': 'standardize'}, {'key': 'keep_salient', 'keep': 0.5}]
    """
    steps: list[dict[str, Any]] = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        key, equals, value = word.partition("=")
        if key not in TRANSFORMS:
            raise unknown_name("transform", key, TRANSFORMS)
        if key == "standardize":
            if equals:
                raise ValueError(f"--with standardize takes no value, found {word}")
            steps.append({"key": key})
            continue
        steps.append({"key": key, "keep": parse_keep(value if equals else "0.5", word, flag="--with")})
    return steps


def parse_keep(text: str, word: str, *, flag: str) -> float | int:
    """Return how much of a teacher's tensor stays, a share or a count.

    Raises:
        ValueError: on neither; ``word`` of the flag is what it stands in.

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
    """Return the name of a sum, as tables and folders have it."""
    return "+".join(summand.name for summand in summands) or BASELINE
