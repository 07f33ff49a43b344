"""RKD: distances and angles between the samples of a batch."""

from ._features import BOTH, OTHER_CHANNELS, WEIGHT, pooled
from ._record import FEATURES, Loss, Method

METHOD = Method(
    name="rkd",
    title="RKD",
    paper="RKD, Park et al., CVPR 2019",
    summary="distances and angles between the samples of a batch",
    losses=[
        Loss(
            "kd_plugins.losses.rkd:RelationalLoss",
            "distances and angles between samples",
            FEATURES,
            {**OTHER_CHANNELS, "distance_weight": 1.0, "angle_weight": 2.0},
        )
    ],
    values={"distance_weight": 25.0, "angle_weight": 50.0},
    weight=1.0,
    source=WEIGHT.format(paper="RKD (Park et al., CVPR 2019) after CRD's code; the pooled features"),
    build=pooled,
    configs=BOTH,
)
