"""NKD: the target class, and the others normalised without it."""

from ._record import Loss, Method, Reads

METHOD = Method(
    name="nkd",
    title="NKD",
    paper="NKD, Yang et al., ICCV 2023",
    summary="target class, and the other classes normalised without it",
    losses=[
        Loss(
            "kd_plugins.losses.nkd:NKDLoss",
            "target class, and the others normalised without it",
            Reads(uses_targets=True),
            {"gamma": 2.0, "temperature": 2.0},
        )
    ],
    values={"gamma": 1.5, "temperature": 1.0},
    weight=1.0,
    source="Gamma, temperature and weights: those of NKD (Yang et al., ICCV 2023) on ImageNet.",
    on_logits=True,
    demo=True,
)
