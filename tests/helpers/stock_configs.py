"""Configs on digits for torchdistill's feature losses, and for those of ours that replace them."""

from pathlib import Path

import small_configs

SAMPLES = 360
FROZEN = "  teacher:\n    forward_proc: forward_batch_only\n    requires_grad: False\n"
MODELS = """\
  teacher_model: {key: cifar_resnet14, kwargs: {num_classes: 10}}
"""


def sides(teacher_hook, student_hook, wrapper="", teacher_wrapper="", forward="forward_batch_only", inputs=""):
    teacher = f"    auxiliary_model_wrapper: {teacher_wrapper}\n" if teacher_wrapper else ""
    student = f"    auxiliary_model_wrapper: {wrapper}\n" if wrapper else ""
    inputs = f", input: [{inputs}]" if inputs else ""
    return (
        f"{FROZEN}{teacher}    forward_hook: {{output: [{teacher_hook}]}}\n"
        f"  student:\n    forward_proc: {forward}\n{student}    forward_hook: {{output: [{student_hook}]{inputs}}}\n"
    )


def projected(normalize, **more):
    kwargs = f"{{pairs: [{{student: pooled, channels: 64}}], dim: 16, normalize: {normalize}}}"
    return sides(
        "projections.pooled",
        "regressors.pooled",
        f"{{key: ProjectedStudent, kwargs: {kwargs}}}",
        "{key: ProjectedTeacher, kwargs: {points: [pooled]}}",
        **more,
    )


def stage_pairs(student):
    pair = "{{teacher: {{path: layer{0}, io: output}}, student: {{path: {1}{0}, io: output}}, weight: 1}}"
    return "{" + ", ".join(f"stage{n}: {pair.format(n, student)}" for n in (1, 2, 3)) + "}"


def review(level, teacher):
    return (
        "{key: HierarchicalContextLoss, kwargs: {student_module_io: output, teacher_module_io: output, "
        f"student_module_path: regressors.{level}, teacher_module_path: {teacher}}}}}"
    )


STAGES = "{student: stage1, channels: 16}, {student: stage2, channels: 32}, {student: stage3, channels: 64}"
POOLED = ("avgpool", "avgpool")
POOLED_PAIR = "{student: pooled, channels: 64}"
CRD_LOSS = (
    "{key: CRDLoss, kwargs: {student_norm_module_path: regressors.pooled, student_empty_module_path: supplement, "
    f"teacher_norm_module_path: projections.pooled, input_size: 16, output_size: {SAMPLES}, num_samples: {SAMPLES}, "
    "num_negative_samples: 40}}"
)
CRD_DATA = ", dataset_wrapper: {key: CRDDatasetWrapper, kwargs: {num_negative_samples: 40, mode: exact, ratio: 1.0}}"

BASES = {
    "at": {
        "sides": sides("layer1, layer2, layer3", "layer1, layer2, layer3"),
        "terms": {"at": (f"{{key: ATLoss, kwargs: {{at_pairs: {stage_pairs('layer')}, mode: code}}}}", 1000.0)},
    },
    "cc": {
        "sides": projected(False),
        "terms": {
            "cc": (
                "{key: CorrelationLoss, kwargs: {student_module_path: regressors.pooled, "
                "teacher_module_path: projections.pooled}}",
                0.02,
            )
        },
    },
    "cckd": {
        "sides": projected(True),
        "terms": {
            "cckd": (
                "{key: CCKDLoss, kwargs: {student_linear_path: regressors.pooled, teacher_linear_path: "
                "projections.pooled, kernel_config: {type: gaussian, gamma: 0.4, max_p: 2}, reduction: batchmean}}",
                1.0,
            )
        },
    },
    "vid": {
        "sides": sides(
            "layer1, layer2, layer3",
            "regressors.stage1, regressors.stage2, regressors.stage3",
            f"{{key: VIDStudent, kwargs: {{pairs: [{STAGES}]}}}}",
        ),
        "terms": {"vid": (f"{{key: VIDLoss, kwargs: {{feature_pairs: {stage_pairs('regressors.stage')}}}}}", 1.0)},
    },
    "rkd": {
        "sides": sides(*POOLED),
        "terms": {
            "rkd": ("{key: RelationalLoss, kwargs: {student_module_path: avgpool, teacher_module_path: avgpool}}", 1.0)
        },
    },
    "rkd_stock": {
        "sides": sides(*POOLED),
        "terms": {
            "rkd": (
                "{key: RKDLoss, kwargs: {student_output_path: avgpool, teacher_output_path: avgpool, "
                "dist_factor: 25.0, angle_factor: 50.0, reduction: mean}}",
                1.0,
            )
        },
    },
    "pkt": {
        "sides": sides(*POOLED),
        "terms": {
            "pkt": (
                "{key: ProbabilisticLoss, kwargs: {student_module_path: avgpool, teacher_module_path: avgpool}}",
                30000.0,
            )
        },
    },
    "pkt_stock": {
        "sides": sides("flat", "flat"),
        "terms": {
            "pkt": (
                "{key: PKTLoss, kwargs: {student_module_path: fc, student_module_io: input, teacher_module_path: fc, "
                "teacher_module_io: input}}",
                30000.0,
            )
        },
    },
    "crd": {
        "sides": projected(True, forward="forward_batch_supp_dict", inputs="supplement"),
        "terms": {"crd": (CRD_LOSS, 0.9)},
        "loader": CRD_DATA,
    },
    "reviewkd": {
        "sides": sides(
            "layer1, layer2, layer3, avgpool",
            "regressors.stage1, regressors.stage2, regressors.stage3, regressors.pooled",
            f"{{key: ReviewStudent, kwargs: {{mid_channels: 32, pairs: [{STAGES}, {POOLED_PAIR}]}}}}",
        ),
        "terms": {
            "review1": (review("stage1", "layer1"), 5.0),
            "review2": (review("stage2", "layer2"), 5.0),
            "review3": (review("stage3", "layer3"), 5.0),
            "review_pooled": (review("pooled", "avgpool"), 5.0),
        },
    },
}
BASES["pkt_stock"]["sides"] = BASES["pkt_stock"]["sides"].replace("output: [flat]", "input: [fc]")


def parts(base, *, keep=None, **others):
    """Return the parts of a small config for one base; with ``keep`` every term is masked."""
    spec = BASES[base]
    mask = f", criterion_wrapper: {{key: SalientFeatureMask, kwargs: {{keep: {keep}}}}}" if keep is not None else ""
    terms = "".join(
        f"        {name}: {{criterion: {criterion}, weight: {weight}{mask}}}\n"
        for name, (criterion, weight) in spec["terms"].items()
    )
    loader = spec.get("loader", "")
    return {
        "EPOCHS": 1, "BATCH": 90, "TEACHER_MODEL": MODELS, "SIDES": spec["sides"], "KD_TERM": terms,
        "LOADER_KWARGS": "}" + loader.replace(", dataset_wrapper", "\n    dataset_wrapper") + "\n    #{", **others,
    }  # fmt: skip


def write(folder, base, *, keep=None, edit=(), **others):
    """Write a config into a folder and return its path; ``edit`` is pairs of text to replace."""
    text = small_configs.text(**parts(base, keep=keep, **others))
    student = text[text.index("  student_model:") : text.index("train:\n  num_epochs")]
    text = text.replace(student, "  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}\n")
    head, rest = text.split("models:\n")
    train, test = head.split("  &test digits/test:")
    whole = (
        "  &train digits/train: !import_call\n    key: kd_plugins.data.Digits\n    init: {kwargs: {train: False, "
        "transform: !import_call {key: torchvision.transforms.ToTensor}}}\n"
    )
    train = train[: train.index("  &train")] + whole
    text = f"{train}  &test digits/test:{test}models:\n{rest}"
    for old, new in edit:
        if old not in text:
            raise ValueError(f"{old!r} is not in the config")
        text = text.replace(old, new)
    path = Path(folder) / f"{base}.yaml"
    path.write_text(text)
    return path
