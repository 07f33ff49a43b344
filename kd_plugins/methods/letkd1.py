"""letKD-1: one KD layer, after the last map."""

from ._features import OTHER_CHANNELS
from ._letkd import COMMON, ROW, SOURCE
from ._record import Loss, Method, Part

METHOD = Method(
    name="letkd1",
    title="letKD-1",
    summary="a KD layer that stays in the student, taught clusters of the teacher's last map",
    losses=[
        Loss(
            "kd_plugins.host.letkd.loss:LetKDLoss",
            "scores of a KD layer against the teacher's clusters",
            None,
            {**OTHER_CHANNELS, "kind": "penultimate", "num_centres": 6, "sharpness": 0.5},
        )
    ],
    parts=[
        Part(
            "models",
            "kd_plugins.host.letkd.student:letkd_student",
            "any student with KD layers, which stay at inference",
        )
    ],
    values=ROW,
    source=SOURCE.format(and_more=""),
    **COMMON,
)
