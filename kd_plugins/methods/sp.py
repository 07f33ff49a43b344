"""SP: how alike the samples of a batch are."""

from ._features import BOTH, WEIGHT, last_map
from ._record import FEATURES, Loss, Method

METHOD = Method(
    name="sp",
    title="SP",
    paper="SP, Tung and Mori, ICCV 2019",
    summary="how alike the samples of a batch are",
    losses=[
        Loss(
            "kd_plugins.losses.sp:SimilarityLoss",
            "how alike the samples of a batch are",
            FEATURES,
            {"student_module_path": ["layer", "layer"], "teacher_module_path": ["layer", "wide"]},
        )
    ],
    weight=3000.0,
    source=WEIGHT.format(paper="SP (Tung and Mori, ICCV 2019) after CRD's code; the last maps"),
    build=last_map,
    configs=BOTH,
)
