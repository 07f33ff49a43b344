"""The mean of several teachers' class probabilities, AEKD's baseline."""

from ._ensemble import COMMON, THREE_TEACHERS, on_logits
from ._record import LOGIT_ENSEMBLE, Loss, Method

METHOD = Method(
    name="average",
    title="the mean of their softened probabilities",
    label="mean of teachers",
    paper="Hinton et al., 2015",
    summary="KD from the mean of several teachers",
    losses=[
        Loss(
            "kd_plugins.losses.average_ensemble:AverageEnsembleLoss",
            "KD from the mean of several teachers",
            LOGIT_ENSEMBLE,
            {**THREE_TEACHERS, "temperature": 3.0, "keep": 2, "by": "magnitude"},
        )
    ],
    values={"temperature": 4.0},
    source="The baseline of AEKD. Weights and temperature: those of KD.",
    build=on_logits,
    configs=(),
    **COMMON,
)
