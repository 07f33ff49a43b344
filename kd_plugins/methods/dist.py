"""DIST: torchdistill's loss on correlations of class probabilities."""

from ._features import paths
from ._record import Method

OUTPUT = (".", "output")

METHOD = Method(
    name="dist",
    title="DIST",
    paper="Huang et al., NeurIPS 2022",
    summary="correlations of class probabilities (torchdistill's loss)",
    criterion="DISTLoss",
    values={**paths(OUTPUT, OUTPUT, default_io=True), "beta": 1.0, "gamma": 1.0, "tau": 4.0},
    keywords={"eps": 0.00000001},
    weight=2.0,
    source="torchdistill's DISTLoss. Temperature and weights: those of DIST (Huang et al., NeurIPS 2022) on CIFAR-100.",
    standardized=(
        {"tau": 2.0},
        "No setting of this combination is published: LSKD's base temperature and DIST's weights.",
    ),
    on_logits=True,
    configs=("", "_ls", "_sfkd"),
    demo=True,
)
