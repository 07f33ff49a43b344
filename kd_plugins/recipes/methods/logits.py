"""Methods on logits."""

from __future__ import annotations

from .method import Method

MODEL_OUTPUTS = {
    "student_module_path": ".",
    "student_module_io": "output",
    "teacher_module_path": ".",
    "teacher_module_io": "output",
}

LOGIT_METHODS: tuple[Method, ...] = (
    Method(
        "kd",
        "KD",
        "SoftTargetLoss",
        {"temperature": 4.0},
        0.9,
        0.1,
        "Temperature and weights: the usual CIFAR setting of KD (Hinton et al., 2015).",
        masked="SFKDLoss",
        on_logits=True,
    ),
    Method(
        "lskd",
        "KD on standardized logits (LSKD)",
        "LSKDLoss",
        {"temperature": 2.0},
        9.0,
        0.1,
        "Temperature and weights: those of LSKD (Sun et al., CVPR 2024){for_pair}.",
        on_logits=True,
    ),
    Method(
        "ckd",
        "CKD",
        "CKDLoss",
        {"temperature": 1.0},
        100.0,
        1.0,
        "Weight, temperature and batch: those of CKD (Zhu et al., 2024){for_pair}.",
        schedule="cifar_cosine_ckd",
        imagenet_schedule="imagenet_cosine_ckd",
        on_logits=True,
        options=("triple",),
    ),
    Method(
        "dkd",
        "DKD",
        "DKDLoss",
        {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup": 20},
        1.0,
        1.0,
        "Temperature, alpha, beta and warm-up: those of DKD (Zhao et al., CVPR 2022){for_pair}.",
        on_logits=True,
    ),
    Method(
        "ctkd",
        "CTKD",
        "CTKDLoss",
        {},
        0.9,
        0.1,
        "One temperature for all samples, learned with the student; weights: those of CTKD (Li et al., AAAI 2023).",
        student=({"key": "CTKDStudent", "kwargs": {"level": "global"}}, ["temperature"]),
        on_logits=True,
    ),
    Method(
        "mlkd",
        "MLKD",
        "MLKDLoss",
        {"temperatures": [4, 3, 5, 2, 6], "variant": "authors"},
        0.9,
        0.2,
        "Temperatures and weights: those of the authors' code of MLKD (Jin et al., CVPR 2023).",
        views=True,
        ce_note="the authors' 0.1 for each view, as the mean here is over both",
        schedule="cifar_step_mlkd",
        on_logits=True,
    ),
    Method(
        "dist",
        "DIST",
        "DISTLoss",
        {**MODEL_OUTPUTS, "beta": 1.0, "gamma": 1.0, "tau": 4.0},
        2.0,
        1.0,
        "torchdistill's DISTLoss. Temperature and weights: those of DIST (Huang et al., NeurIPS 2022) on CIFAR-100.",
        on_logits=True,
    ),
    Method(
        "sfkd",
        "SFKD, logit form",
        "SFKDLoss",
        {"keep": 0.5, "temperature": 4.0},
        0.9,
        0.1,
        "Temperature: that of SFKD (under review), which publishes neither K nor the weight of this form: half of the "
        "classes, and KD's weights. Others worth trying for keep: 0.3, 0.7, 0.8.",
        on_logits=True,
    ),
)
