"""FitNet: hints, compared entry by entry behind a regressor."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import used_stages
from ._features import BOTH, SAME_CHANNELS, WEIGHT, paths
from ._record import FEATURES, Loss, Method, Part


def _hint(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the second stage behind a regressor, as in CRD's code."""
    student, teacher = setting.models
    at, target = used_stages(student)[1], used_stages(teacher)[1]
    return [method.term(setting, paths(method.regressed(setting, at, target), setting.teacher.map_at(target)))]


METHOD = Method(
    name="fitnet",
    title="FitNet",
    paper="FitNet, Romero et al., ICLR 2015",
    summary="feature maps, compared entry by entry behind a regressor",
    losses=[Loss("kd_plugins.losses.fitnet:HintLoss", "mean squared error of feature maps", FEATURES, SAME_CHANNELS)],
    parts=[
        Part(
            "model-wrappers",
            "kd_plugins.host.students.feature:RegressorStudent",
            "regressors to the teacher's features",
        )
    ],
    weight=100.0,
    source=WEIGHT.format(
        paper="FitNet (Romero et al., ICLR 2015) after CRD's code; the second stage, behind a regressor"
    ),
    build=_hint,
    masked="SFKDHintLoss",
    configs=BOTH,
)
