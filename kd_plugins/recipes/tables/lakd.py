"""LAKD: Zhang et al., LAKD - Activation Mapping Distillation Based on Local Learning."""

from __future__ import annotations

from typing import Any

from .table import Setting, Table, tables

TABLE_3, TABLE_5 = "LAKD, Table 3, whose attention is not told", "LAKD, Table 5"
NO_ATTENTION = {"mean_weight": 0.0, "max_weight": 0.0}
# With attention, [3, 6, 9] would be the best row of Table 5, which is 0.31 better.
CUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("93.08", {"cuts": [3, 6, 9], **NO_ATTENTION}),
    ("93.21", {"cuts": [2, 5, 9], **NO_ATTENTION}),
    ("93.27", {"cuts": [1, 4, 9], **NO_ATTENTION}),
)
"""Accuracy and setting of Table 3; its first row has no cuts."""
ATTENTION: tuple[tuple[str, dict[str, Any]], ...] = (
    ("93.14", {"cuts": [3, 6, 9], **NO_ATTENTION}),
    ("93.22", {"cuts": [3, 6, 9], "mean_weight": 0.5, "max_weight": 0.5}),
    ("93.27", {"cuts": [3, 6, 9], "absolute": False, "mean_weight": 0.5, "max_weight": 0.5}),
    ("93.39", {"cuts": [3, 6, 9]}),
    ("93.31", {"cuts": [3, 6, 9], "absolute": False}),
)
"""Accuracy and setting of Table 5; other settings are the method's defaults, those of the best row."""

TABLES = (
    *tables("""
        LAKD, Table 1: cifar100
        resnet56>resnet20 resnet110>resnet32 resnet32x4>resnet8x4 wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 vgg13>vgg8
        teacher 72.34 74.31 79.42 75.61 76.61 74.64
        ce      69.06 71.14 72.50 73.26 71.98 70.36
        lakd    72.01 74.26 75.72 75.87 74.47 74.45

        LAKD, Table 2: imagenet
        resnet34>resnet18
        teacher 73.31
        ce      69.75
        cat     71.26
        lakd    71.51

        LAKD, Table 3: cifar10
        resnet56>resnet20
        teacher 94.18
        cat     93.20
    """),
    *(
        Table(source, "cifar10", "resnet56>resnet20", {"lakd": accuracy}, options)
        for source, rows in ((TABLE_3, CUTS), (TABLE_5, ATTENTION))
        for accuracy, options in rows
    ),
)

SETTINGS = (
    Setting("lakd", "imagenet", "resnet34>resnet18", {"cuts": [1, 2, 4, 8], "teacher_channels": [64, 128, 256, 512]}),
)
