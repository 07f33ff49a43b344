"""CKD: contrast between the samples of a batch."""

from ._record import LOGITS, Loss, Method

METHOD = Method(
    name="ckd",
    title="CKD",
    paper="CKD, Zhu et al., 2024",
    summary="contrast between the samples of a batch, on logits",
    losses=[
        Loss(
            "kd_plugins.losses.ckd:CKDLoss",
            "sample-wise contrastive loss on logits",
            LOGITS,
            {"temperature": 0.5, "triple": "student_teacher_student"},
            usual={"temperature": (0.02, 10.0)},
        )
    ],
    values={"temperature": 1.0},
    weight=100.0,
    source="Weight, temperature and batch: those of CKD (Zhu et al., 2024){for_pair}.",
    standardized=({}, "No setting of this combination is published: CKD's weight and temperature."),
    imagenet={"weight": 10.0},
    schedule="cifar_cosine_ckd",
    imagenet_schedule="imagenet_cosine_ckd",
    keywords={"gather": False},
    options=("triple",),
    choices={"triple": ("teacher_student_student", "student_teacher_teacher", "student_teacher_student")},
    on_logits=True,
    configs=("", "_ls", "_sfkd"),
    demo=True,
)
