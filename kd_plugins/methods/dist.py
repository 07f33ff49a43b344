"""DIST: torchdistill's loss on correlations of class probabilities."""

from ._record import Method

MODEL_OUTPUTS = {
    "student_module_path": ".",
    "student_module_io": "output",
    "teacher_module_path": ".",
    "teacher_module_io": "output",
}

METHOD = Method(
    name="dist",
    title="DIST",
    paper="Huang et al., NeurIPS 2022",
    summary="correlations of class probabilities (torchdistill's loss)",
    criterion="DISTLoss",
    values={**MODEL_OUTPUTS, "beta": 1.0, "gamma": 1.0, "tau": 4.0},
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
