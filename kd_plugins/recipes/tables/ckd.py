"""CKD: Zhu et al., Contrastive Knowledge Distillation from A Sample-wise Perspective, 2024, and its public code."""

from .table import Setting, Table, tables

TABLES = (
    *tables("""
        CKD, Table I: cifar100
        resnet56>resnet20 resnet110>resnet32 resnet32x4>resnet8x4 wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 vgg13>vgg8
        teacher 72.34 74.31 79.42 75.61 75.61 74.64
        ce      69.06 71.14 72.50 73.26 71.98 70.36
        ckd     72.12 74.48 76.76 76.28 75.14 74.98

        CKD, Table II: cifar100
        resnet32x4>shufflenetv1 wrn_40_2>shufflenetv1 vgg13>mobilenetv2 resnet50>mobilenetv2 resnet32x4>shufflenetv2
        teacher  79.42 75.61 74.64 79.34 79.42
        ce       70.50 70.50 64.60 64.60 71.82
        fitnet   73.59 73.73 64.14 63.16 73.54
        at       71.73 73.32 59.40 58.58 72.73
        rkd      72.28 72.21 64.52 64.43 73.21
        crd      75.11 76.05 69.73 69.11 75.65
        reviewkd 77.45 77.14 70.37 69.89 77.78
        kd       74.07 74.83 67.37 67.35 74.45
        dkd      76.45 76.70 69.71 70.35 77.07
        ckd      77.72 77.47 70.11 70.62 78.18

        CKD, Tables III and IV: imagenet
        resnet34>resnet18 resnet50>mobilenetv1
        teacher 73.31 76.16
        ce      69.75 68.87
        kd      70.66 68.58
        ckd     72.24 72.97

        CKD, Table VI: cifar100
        resnet56>resnet20 wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 vgg13>mobilenetv2 resnet50>mobilenetv2
        resnet32x4>shufflenetv2
        supcon 69.93 75.45 74.10 67.39 67.72 75.20

        CKD, Table VIII: cifar100
        wrn_16_4>wrn_16_2 wrn_28_4>wrn_16_2 vgg13>wrn_16_2 resnet50>wrn_16_2
        teacher 77.21 79.12 74.64 79.34
        ce      73.26 73.26 73.26 73.26
        kd      76.00 75.14 74.30 74.62
        ckd     76.22 76.42 75.14 76.45
    """),
    *(
        Table(
            "CKD, Table VII",
            "cifar100",
            "resnet56>resnet20 wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 vgg13>mobilenetv2 resnet50>mobilenetv2 "
            "resnet32x4>shufflenetv2",
            {"ckd": accuracies},
            {"triple": triple},
        )
        for triple, accuracies in (
            ("student_teacher_student", "71.76 75.31 74.40 70.04 68.93 78.02"),
            ("student_teacher_teacher", "71.69 75.88 74.43 70.09 69.68 77.06"),
        )
    ),
)

SETTINGS = (
    Setting("ckd", "cifar100", "resnet56>resnet20 resnet110>resnet32", {"weight": 10.0}),
    Setting(
        "ckd", "cifar100", "vgg13>mobilenetv2 wrn_40_2>wrn_40_1", {"weight": 50.0, "temperature": 2.0, "batch": 32}
    ),
    Setting("ckd", "cifar100", "resnet50>mobilenetv2 resnet32x4>shufflenetv1 wrn_40_2>shufflenetv1", {"batch": 32}),
    Setting("ckd", "imagenet", "resnet34>resnet18 resnet50>mobilenetv1", {"weight": 10.0}),
)
