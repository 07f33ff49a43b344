"""CAT-KD: class activation maps."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._features import BOTH, SAME_CHANNELS, paths
from ._record import FEATURES, Loss, Method


def _class_maps(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the class activation maps, which wrappers provide."""
    return [method.term(setting, paths(setting.student.show("class_maps"), setting.teacher.show("class_maps")))]


METHOD = Method(
    name="cat",
    title="CAT-KD",
    paper="CAT-KD, Guo et al., CVPR 2023",
    summary="class activation maps",
    losses=[
        Loss(
            "kd_plugins.losses.cat:CATLoss",
            "where maps speak for each class",
            FEATURES,
            {**SAME_CHANNELS, "size": 3, "normalize": False},
        )
    ],
    values={"size": 2, "normalize": True},
    weight=1.0,
    source=(
        "Size of the maps: that of CAT-KD (Guo et al., CVPR 2023), which has a weight for each pair, 0.5 to 600, and "
        "no normalisation for pairs of one family; 1 here, normalised."
    ),
    build=_class_maps,
    configs=BOTH,
)
