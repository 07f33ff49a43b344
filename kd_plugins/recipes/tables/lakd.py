"""LAKD: Zhang et al., LAKD - Activation Mapping Distillation Based on Local Learning."""

from __future__ import annotations

from .table import Setting, Table

TABLES = (
    Table(
        "LAKD, Table 1",
        "cifar100",
        "resnet56>resnet20 resnet110>resnet32 resnet32x4>resnet8x4 wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 vgg13>vgg8",
        {
            "teacher": "72.34 74.31 79.42 75.61 76.61 74.64",
            "ce": "69.06 71.14 72.50 73.26 71.98 70.36",
            "lakd": "72.01 74.26 75.72 75.87 74.47 74.45",
        },
    ),
    Table(
        "LAKD, Table 2",
        "imagenet",
        "resnet34>resnet18",
        {"teacher": "73.31", "ce": "69.75", "cat": "71.26", "lakd": "71.51"},
    ),
    Table("LAKD, Table 5", "cifar10", "resnet56>resnet20", {"teacher": "94.18", "lakd": "93.39"}),
)

SETTINGS = (
    Setting("lakd", "imagenet", "resnet34>resnet18", {"cuts": [1, 2, 4, 8], "teacher_channels": [64, 128, 256, 512]}),
)
