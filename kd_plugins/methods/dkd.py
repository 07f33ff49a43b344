"""DKD: the target class and the others, weighted apart."""

from ._record import Loss, Method, Reads

METHOD = Method(
    name="dkd",
    title="DKD",
    paper="DKD, Zhao et al., CVPR 2022",
    summary="target class and other classes weighted apart, with warm-up",
    losses=[
        Loss(
            "kd_plugins.losses.dkd:DKDLoss",
            "target class and others weighted apart",
            Reads(uses_targets=True),
            {"alpha": 1.0, "beta": 2.0, "temperature": 2.0, "warmup": 5},
        )
    ],
    values={"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup": 20},
    weight=1.0,
    source="Temperature, alpha, beta and warm-up: those of DKD (Zhao et al., CVPR 2022){for_pair}.",
    standardized=(
        {"temperature": 2.0, "weight": 9.0},
        "Temperature, beta and weight: those of LSKD (Sun et al., CVPR 2024){for_pair}.",
    ),
    imagenet={"beta": 0.5, "temperature": 1.0, "warmup": 1},
    in_epochs=("warmup",),
    on_logits=True,
    configs=("", "_ls", "_sfkd"),
    demo=True,
)
