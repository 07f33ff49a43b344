"""The demo's settings on handwritten digits: the papers' own, none fitted to these data."""

from __future__ import annotations

from .table import Setting

DEMO = "vit>resnet8"

_LETKD = "Weights and alpha: those of letKD (BMVC 2023)."

SETTINGS = (
    Setting(
        "ckd",
        "digits",
        DEMO,
        {"weight": 10.0, "source": "Weight and temperature: CKD's (Zhu et al., 2024) for its smallest ResNets."},
    ),
    Setting(
        "mlkd",
        "digits",
        DEMO,
        {
            "temperatures": [2, 3, 4, 5, 6],
            "variant": "paper",
            "source": "Temperatures and weights: those of MLKD (Jin et al., CVPR 2023).",
        },
    ),
    Setting(
        "dist",
        "digits",
        DEMO,
        {
            "beta": 2.0,
            "gamma": 2.0,
            "weight": 1.0,
            "source": "Weights and temperature: DIST's setting (Huang et al., NeurIPS 2022) for CIFAR-100.",
        },
    ),
    Setting("letkd1", "digits", DEMO, {"num_centres": 64, "source": f"{_LETKD} 64 centres, as the images are few."}),
    Setting(
        "letkd2",
        "digits",
        DEMO,
        {
            "num_centres": 64,
            "source": f"{_LETKD} 64 centres and 9 directions, as images and classes are few.",
        },
    ),
)
