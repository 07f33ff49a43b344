"""LSKD: KD on standardized logits."""

from ._record import LOGITS, Loss, Method

METHOD = Method(
    name="lskd",
    title="KD on standardized logits (LSKD)",
    label="LSKD",
    paper="LSKD, Sun et al., CVPR 2024",
    summary="KD on standardized logits",
    losses=[
        Loss(
            "kd_plugins.losses.lskd:LSKDLoss",
            "KD on standardized logits",
            LOGITS,
            {"temperature": 2.0, "correction": 1, "centre": False},
            applies=["standardize"],
        )
    ],
    values={"temperature": 2.0},
    keywords={"correction": 0, "centre": True, "scale": True},
    weight=9.0,
    ce=0.1,
    source="Temperature and weights: those of LSKD (Sun et al., CVPR 2024){for_pair}.",
    on_logits=True,
    demo=True,
)
