"""PKT: how probable the samples of a batch make each other."""

from ._features import BOTH, OTHER_CHANNELS, WEIGHT, pooled
from ._record import FEATURES, Loss, Method

METHOD = Method(
    name="pkt",
    title="PKT",
    paper="PKT, Passalis and Tefas, ECCV 2018",
    summary="how probable the samples of a batch make each other",
    losses=[
        Loss(
            "kd_plugins.losses.pkt:ProbabilisticLoss",
            "how probable samples make each other",
            FEATURES,
            {**OTHER_CHANNELS, "eps": 1e-6},
        )
    ],
    keywords={"eps": 0.0000001},
    weight=30000.0,
    source=WEIGHT.format(paper="PKT (Passalis and Tefas, ECCV 2018) after CRD's code; the pooled features"),
    build=pooled,
    configs=BOTH,
)
