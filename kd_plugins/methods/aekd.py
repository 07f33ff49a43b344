"""AEKD: several teachers, weighted by how their gradients agree."""

from ._ensemble import COMMON, SOURCE, THREE_TEACHERS, on_logits
from ._record import LOGIT_ENSEMBLE, Loss, Method, Part

METHOD = Method(
    name="aekd",
    title="AEKD",
    paper="AEKD, Du et al., NeurIPS 2020",
    summary="KD from several teachers, weighted by their gradients",
    losses=[
        Loss(
            "kd_plugins.losses.aekd:AEKDLoss",
            "KD from several teachers, weighted by gradients",
            LOGIT_ENSEMBLE,
            {**THREE_TEACHERS, "temperature": 3.0, "cap": 0.5, "keep": 0.8, "fill": "-inf"},
        )
    ],
    parts=[
        Part("models", "kd_plugins.host.teachers.ensemble:teacher_ensemble", "several frozen teachers as one model")
    ],
    values={"cap": 0.6, "temperature": 4.0},
    source=SOURCE,
    build=on_logits,
    configs=("", "_sfkd"),
    **COMMON,
)
