"""What the demo compares: one row for every method, one for every transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._checks import unknown_name

BASELINE = "ce"


@dataclass(frozen=True)
class Method:
    """How a student learns.

    Attributes:
        title: what the table calls it.
        ce_weight: weight of the cross-entropy with the labels.
        criterion: what comes on top, YAML; nothing for plain training.
        weight: of the criterion.
        source: where the weights come from.
        student: what the method adds to the student's side, YAML.
        views: whether every image comes in a weak and a strong view.
    """

    title: str
    ce_weight: float
    criterion: str = ""
    weight: float = 1.0
    source: str = ""
    student: str = ""
    views: bool = False


_OUTPUTS = "student_module_path: '.', student_module_io: output, teacher_module_path: '.', teacher_module_io: output, "

# The weights are the papers' own, none is fitted to these data.
METHODS: dict[str, Method] = {
    BASELINE: Method("cross-entropy", 1.0),
    "kd": Method(
        "KD",
        0.1,
        "{key: SoftTargetLoss, kwargs: {temperature: 4.0}}",
        0.9,
        "the usual CIFAR setting of KD (Hinton et al., 2015)",
    ),
    "lskd": Method(
        "LSKD",
        0.1,
        "{key: LSKDLoss, kwargs: {temperature: 2.0}}",
        9.0,
        "the default of LSKD (Sun et al., CVPR 2024)",
    ),
    "ckd": Method(
        "CKD",
        1.0,
        "{key: CKDLoss, kwargs: {temperature: 1.0}}",
        10.0,
        "CKD's setting (Zhu et al., 2024) for its smallest ResNets",
    ),
    "dkd": Method(
        "DKD",
        1.0,
        "{key: DKDLoss, kwargs: {alpha: 1.0, beta: 8.0, temperature: 4.0, warmup: 20}}",
        1.0,
        "the setting of DKD (Zhao et al., CVPR 2022) for most CIFAR pairs",
    ),
    "ctkd": Method(
        "CTKD",
        0.1,
        "{key: CTKDLoss, kwargs: {}}",
        0.9,
        "the global temperature of CTKD (Li et al., AAAI 2023) over KD",
        student="auxiliary_model_wrapper: {key: CTKDStudent, kwargs: {level: global}}, "
        "forward_hook: {output: [temperature]}",
    ),
    "mlkd": Method(
        "MLKD",
        0.2,
        "{key: MLKDLoss, kwargs: {}}",
        0.9,
        "those of MLKD (Jin et al., CVPR 2023); the cross-entropy is a mean over both views, so that 0.1 a view is 0.2",
        views=True,
    ),
    "dist": Method(
        "DIST",
        1.0,
        f"{{key: DISTLoss, kwargs: {{{_OUTPUTS}beta: 2.0, gamma: 2.0, tau: 4.0}}}}",
        1.0,
        "DIST's setting (Huang et al., NeurIPS 2022) for CIFAR-100",
    ),
    "sfkd": Method(
        "SFKD",
        0.1,
        "{key: SFKDLoss, kwargs: {keep: 0.5, temperature: 4.0}}",
        0.9,
        "those of KD, on the larger half of the teacher's logits",
    ),
}

NO_TRANSFORM = "none"
TRANSFORMS: dict[str, str] = {
    NO_TRANSFORM: "",
    "standardize": "{key: standardize}",
    "keep_salient": "{key: keep_salient, keep: 0.5}",
}
"""Name -> what goes before the loss, YAML."""


@dataclass(frozen=True)
class Variant:
    """A method, with a transform before it or none.

    Example:
        >>> variant = Variant("dkd", "standardize")
        >>> variant.key, variant.title
        ('dkd+standardize', 'DKD, standardize')
    """

    method: str
    transform: str = NO_TRANSFORM

    @property
    def key(self) -> str:
        """Name of its config and folder."""
        return self.method if self.transform == NO_TRANSFORM else f"{self.method}+{self.transform}"

    @property
    def title(self) -> str:
        """What the table calls it."""
        title = METHODS[self.method].title
        return title if self.transform == NO_TRANSFORM else f"{title}, {self.transform}"

    @property
    def term(self) -> str:
        """Its term of the criterion, a line of YAML; nothing for plain training."""
        method, transform = METHODS[self.method], TRANSFORMS[self.transform]
        if not method.criterion:
            return ""
        wrapper = f"criterion_wrapper: {{key: TransformedLoss, kwargs: {{transforms: [{transform}]}}}}, "
        return (
            f"{self.method}: {{criterion: {method.criterion}, {wrapper if transform else ''}weight: {method.weight}}}"
        )


def variants(methods: Sequence[str], transforms: Sequence[str] = (NO_TRANSFORM,)) -> list[Variant]:
    """Return the baseline, then every method under every transform.

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
