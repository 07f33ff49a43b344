"""SFKD: the teacher's largest entries."""

from ._features import OTHER_CHANNELS, SAME_CHANNELS
from ._record import BY, FEATURES, FILL, LOGITS, Loss, Method

METHOD = Method(
    name="sfkd",
    title="SFKD, logit form",
    label="SFKD",
    paper="SFKD, under review",
    summary="KD, hint and attention from the teacher's K largest entries",
    losses=[
        Loss(
            "kd_plugins.losses.sfkd:SFKDLoss",
            "KD from the teacher's largest logits",
            LOGITS,
            {"keep": 0.6, "fill": "-inf"},
            applies=["keep_salient"],
        ),
        Loss(
            "kd_plugins.losses.sfkd_features:SFKDHintLoss",
            "hint from the teacher's largest entries",
            FEATURES,
            {**SAME_CHANNELS, "keep": 0.5},
            applies=["keep_salient"],
        ),
        Loss(
            "kd_plugins.losses.sfkd_features:SFKDAttentionLoss",
            "attention of the teacher's largest entries",
            FEATURES,
            {**OTHER_CHANNELS, "keep": 7, "by": "magnitude"},
            applies=["keep_salient"],
        ),
    ],
    values={"keep": 0.5, "temperature": 4.0},
    keywords={"by": "value", "fill": "zero"},
    choices={"by": BY, "fill": FILL},
    weight=0.9,
    ce=0.1,
    source=(
        "Temperature: that of SFKD (under review), which publishes neither K nor the weight of this form: half of the "
        "classes, and KD's weights. Others worth trying for keep: 0.3, 0.7, 0.8."
    ),
    standardized=(
        {"temperature": 2.0, "weight": 9.0},
        "No setting of this combination is published: LSKD's base temperature and weights, half of the classes.",
    ),
    on_logits=True,
    configs=("", "_ls"),
    demo=True,
)
