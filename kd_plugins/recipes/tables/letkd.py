"""letKD: Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary material."""

from .table import Setting, Table, tables

TABLES = (
    *tables("""
        letKD, Table 1: cifar100
        wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 resnet56>resnet20 resnet110>resnet20 resnet110>resnet32 resnet32x4>resnet8x4
        wrn_40_2>shufflenetv1 resnet32x4>shufflenetv1 resnet32x4>shufflenetv2 resnet50>mobilenetv2
        teacher 75.61 75.61 72.34 74.31 74.31 79.42 75.61 79.42 79.42 79.34
        ce      73.26 71.98 69.06 69.06 71.14 72.50 70.50 70.50 71.82 64.60
        at      74.08 72.77 70.55 70.22 72.31 73.44 73.32 71.73 72.73 58.58
        sp      73.83 72.43 69.67 70.04 72.69 72.94 74.52 73.48 74.56 68.08
        vid     74.11 73.30 70.38 70.16 72.61 73.09 73.61 73.38 73.40 67.57
        crd+kd  75.64 74.38 71.63 71.56 73.75 75.46 76.27 75.12 76.05 69.54
        simkd   76.06 74.92 68.95 69.35 72.15 78.08 76.95 77.18 77.78 68.91
        letkd1  76.29±.15 75.01±.09 72.44±.24 72.68±.31 74.40±.14 76.70±.06 76.93±.16 76.65±.24 77.75±.17 69.97±.18
        letkd2  76.56±.22 75.19±.13 73.27±.16 73.38±.14 74.62±.20 77.09±.18 77.08±.12 77.30±.12 77.95±.06 70.39±.23

        letKD, Table 2: imagenet
        resnet34>resnet18 resnet50>mobilenetv2
        teacher 73.31 76.13
        ce      69.75 68.87
        kd      70.66 68.58
        at+kd   70.70 69.56
        dkd     71.70 72.05
        letkd1  72.33 73.78
        letkd2  72.38 73.98

        letKD, Table 3: tiny-imagenet
        wrn_40_2>wrn_16_2 wrn_40_2>wrn_40_1 resnet56>resnet20 wrn_40_2>shufflenetv1 resnet50>mobilenetv2
        teacher 61.26 61.26 58.34 61.26 68.97
        ce      57.17 56.25 52.66 60.52 58.35
        kd      59.16 57.75 53.04 64.80 58.68
        fitnet  57.75 - 51.73 - 57.55
        at      58.71 57.41 54.01 63.90 50.91
        sp      55.69 53.74 54.03 64.62 58.11
        vid     58.51 57.45 53.20 63.58 57.50
        letkd1  61.42±.36 59.75±.50 55.54±.33 65.70±.42 60.69±.17
        letkd2  62.21±.17 60.59±.27 57.35±.46 66.15±.50 61.15±.46

        letKD, Table 6: cifar100
        resnet110>resnet32
        fitnet        71.59
        fitnet+letkd1 73.36
    """),
    *(
        Table("letKD, Table 5", "cifar100", "resnet56>resnet20", {method: accuracy}, alphas)
        for method, accuracy, alphas in (
            ("letkd1", "71.84", {"alpha_penultimate": 0.0}),
            ("letkd2", "71.70", {"alpha_penultimate": 0.0, "alpha_intermediate": 0.0}),
            ("letkd2", "72.13", {"alpha_intermediate": 0.0}),
            ("letkd2", "72.78", {"alpha_penultimate": 0.0}),
        )
    ),
    # The KD layer without supervision.
    Table("letKD, Table 6", "cifar100", "resnet110>resnet32", {"fitnet+letkd1": "71.80"}, {"letkd1.weight": 0.0}),
)

SETTINGS = (
    Setting("letkd1", "cifar100", "resnet50>mobilenetv2", {"alpha_penultimate": 0.1}),
    Setting("letkd2", "cifar100", "resnet50>mobilenetv2", {"alpha_penultimate": 0.1, "alpha_intermediate": 0.2}),
    Setting("letkd1", "tiny-imagenet", "resnet50>mobilenetv2", {"alpha_penultimate": 0.5}),
    Setting("letkd2", "tiny-imagenet", "resnet50>mobilenetv2", {"alpha_penultimate": 0.5}),
)
