"""SupCon: class-wise contrast between the samples of a batch."""

from ._record import Loss, Method, Reads

METHOD = Method(
    name="supcon",
    title="SupCon",
    paper="Khosla et al., NeurIPS 2020; CKD's Table VI",
    summary="class-wise contrast between the samples of a batch, on logits",
    losses=[
        Loss(
            "kd_plugins.losses.supcon:SupConLoss",
            "class-wise contrastive loss on logits",
            Reads(uses_targets=True),
            {"temperature": 0.5},
            usual={"temperature": (0.02, 10.0)},
        )
    ],
    values={"temperature": 1.0},
    weight=100.0,
    source="CKD's Table VI gives no setting for SupCon: weight and temperature are CKD's (Zhu et al., 2024).",
    schedule="cifar_cosine_ckd",
    imagenet_schedule="imagenet_cosine_ckd",
    on_logits=True,
    configs=(),
)
