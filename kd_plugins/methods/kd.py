"""KD: softened class probabilities."""

from ._record import LOGITS, Loss, Method

METHOD = Method(
    name="kd",
    title="KD",
    paper="Hinton et al., 2015",
    summary="softened class probabilities",
    losses=[
        Loss(
            "kd_plugins.losses.kd:SoftTargetLoss", "KL divergence of softened logits (KD)", LOGITS, {"temperature": 4.0}
        )
    ],
    values={"temperature": 4.0},
    weight=0.9,
    ce=0.1,
    source="Temperature and weights: the usual CIFAR setting of KD (Hinton et al., 2015).",
    masked="SFKDLoss",
    on_logits=True,
    demo=True,
)
