"""The demo's settings on handwritten digits: the papers' own, not tuned on these data."""

from .table import Setting

DEMO = "vit>resnet8"
_LETKD = "Weights and alpha: those of letKD (BMVC 2023)."

SETTINGS = tuple(
    Setting(method, "digits", DEMO, {**values, "source": source})
    for method, values, source in (
        ("ckd", {"weight": 10.0}, "Weight and temperature: CKD's (Zhu et al., 2024) for its smallest ResNets."),
        (
            "mlkd",
            {"temperatures": [2, 3, 4, 5, 6], "variant": "paper"},
            "Temperatures and weights: those of MLKD (Jin et al., CVPR 2023).",
        ),
        (
            "dist",
            {"beta": 2.0, "gamma": 2.0, "weight": 1.0},
            "Weights and temperature: DIST's setting (Huang et al., NeurIPS 2022) for CIFAR-100.",
        ),
        ("letkd1", {"num_centres": 64}, f"{_LETKD} 64 centres, as the images are few."),
        ("letkd2", {"num_centres": 64}, f"{_LETKD} 64 centres and 9 directions, as images and classes are few."),
    )
)
