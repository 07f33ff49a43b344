"""The demo's configs: one template, and one row for every method."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .._checks import check_at_least, unknown_name
from ..data.digits import MEAN, STD

BASELINE = "ce"
TEACHER, STUDENT = "vit", "cifar_resnet8"
# With all training images the CNN is as good as the ViT by itself; few leave it something to learn from a teacher.
IMAGES, VALIDATED_FROM, STUDENT_IMAGES = 1437, 1200, 200
TEACHER_BATCH, STUDENT_BATCH = 64, 32
TEACHER_CHECKPOINT = "runs/vit/seed0/best.pt"


@dataclass(frozen=True)
class Method:
    """How a student learns.

    Attributes:
        title: what the table calls it.
        ce_weight: weight of the cross-entropy with the labels.
        term: what comes on top, a line of YAML under ``sub_terms``; nothing for plain training.
        source: where the weights come from.
    """

    title: str
    ce_weight: float
    term: str = ""
    source: str = ""


# The weights are the papers' own, none is fitted to these data. A transform goes into a term as a criterion_wrapper.
METHODS: dict[str, Method] = {
    BASELINE: Method("cross-entropy", 1.0),
    "kd": Method(
        "KD",
        0.1,
        "kd: {criterion: {key: SoftTargetLoss, kwargs: {temperature: 4.0}}, weight: 0.9}",
        "the usual CIFAR setting of KD (Hinton et al., 2015)",
    ),
    "lskd": Method(
        "LSKD",
        0.1,
        "lskd: {criterion: {key: LSKDLoss, kwargs: {temperature: 2.0}}, weight: 9.0}",
        "the default of LSKD (Sun et al., CVPR 2024)",
    ),
    "ckd": Method(
        "CKD",
        1.0,
        "ckd: {criterion: {key: CKDLoss, kwargs: {temperature: 1.0}}, weight: 10.0}",
        "those of CKD (Zhu et al., 2024) for ResNet-56 -> ResNet-20",
    ),
}


@dataclass(frozen=True)
class Schedule:
    """How many epochs teacher and student are trained; the learning rate follows."""

    teacher_epochs: int = 30
    student_epochs: int = 40

    def __post_init__(self) -> None:
        check_at_least("teacher_epochs", self.teacher_epochs, 1)
        check_at_least("student_epochs", self.student_epochs, 1)


_TEMPLATE = Template("""\
$heading
dependencies: [kd_plugins]

datasets:
  &train digits/train: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init:
            kwargs:
              train: True
              transform: !import_call
                key: torchvision.transforms.Compose
                init:
                  args:
                    -
$crop                      - &to_tensor !import_call {key: torchvision.transforms.ToTensor, init: {}}
                      - &normalize !import_call
                        key: torchvision.transforms.Normalize
                        init: {kwargs: {mean: $mean, std: $std}}
        indices: !import_call {key: builtins.range, init: {args: [0, $images]}}
  # The last training images choose best.pt, so that the test images choose nothing.
  &val digits/val: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init:
            kwargs:
              train: True
              transform: &plain !import_call
                key: torchvision.transforms.Compose
                init: {args: [[*to_tensor, *normalize]]}
        indices: !import_call {key: builtins.range, init: {args: [$validated_from, $all_images]}}
  &test digits/test: !import_call
    key: kd_plugins.data.Digits
    init: {kwargs: {train: False, transform: *plain}}

models:
$models
train:
  num_epochs: $epochs
  log_freq: 10
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}
    kwargs: {batch_size: $batch, num_workers: 0}
  val_data_loader:
    dataset_id: *val
    sampler: &in_order {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: &whole {batch_size: 120, num_workers: 0}
$sides  optimizer: {key: AdamW, kwargs: {lr: $lr, weight_decay: 0.05}}
  scheduler:
    key: OneCycleLR
    kwargs: {max_lr: $lr, epochs: $epochs, steps_per_epoch: $steps}
    scheduling_step: 1 # after every batch
  criterion:
    key: WeightedSumLoss
    kwargs:
      sub_terms:
        ce:
          criterion: {key: CrossEntropyLoss, kwargs: {}}
          criterion_wrapper:
            key: SimpleLossWrapper
            kwargs: {input: {is_from_teacher: False, module_path: '.', io: output}, target: {uses_label: True}}
          weight: $ce_weight
$term
test:
  test_data_loader:
    dataset_id: *test
    sampler: *in_order
    kwargs: *whole
""")

_VIT = """\
    key: timm_model
    kwargs:
      model_name: vit_tiny_patch16_224
      img_size: 32
      patch_size: 8
      embed_dim: 128
      depth: 4
      num_heads: 4
      global_pool: avg
      class_token: False
      num_classes: 10
"""
_CROP = """\
                      - !import_call
                        key: torchvision.transforms.RandomCrop
                        init: {kwargs: {size: 32, padding: 2, padding_mode: edge}}
"""
_TRAIN_TEACHER = "# Train the teacher first: kd-plugins train configs/digits/teacher/vit.yaml\n"
_ALONE = "  model: {forward_proc: forward_batch_only}\n"
_WITH_TEACHER = """\
  teacher: {forward_proc: forward_batch_only, requires_grad: False}
  student: {forward_proc: forward_batch_only}
"""


def teacher_config(schedule: Schedule | None = None) -> str:
    """Return the config of the teacher, trained alone on all training images but those for validation."""
    schedule = schedule or Schedule()
    return _render(
        heading=f"# A small ViT on {VALIDATED_FROM} images of handwritten digits: the other configs' teacher.",
        crop=_CROP,
        images=VALIDATED_FROM,
        models=f"  model:\n{_VIT}",
        sides=_ALONE,
        epochs=schedule.teacher_epochs,
        batch=TEACHER_BATCH,
        lr=0.001,
        method=METHODS[BASELINE],
    )


def student_config(
    method: str, *, teacher_checkpoint: str | Path = TEACHER_CHECKPOINT, schedule: Schedule | None = None
) -> str:
    """Return the config of a student.

    Args:
        method: a key of ``METHODS``.
        teacher_checkpoint: file with the weights of the teacher; plain training does without.
        schedule: how long to train.

    Raises:
        ValueError: on an unknown method.

    Example:
        >>> "LSKDLoss" in student_config("lskd"), "teacher_model" in student_config("ce")
        (True, False)
    """
    check_methods([method])
    schedule, chosen = schedule or Schedule(), METHODS[method]
    alone = not chosen.term
    student = f"{{key: {STUDENT}, kwargs: {{num_classes: 10}}}}"
    # JSON's strings are YAML's double-quoted ones, whatever is in the path.
    checkpoint = json.dumps(str(teacher_checkpoint), ensure_ascii=False)
    how = "from the labels alone" if alone else f"from a ViT by {chosen.title}"
    source = "" if alone else f"# Weights and temperature: {chosen.source}.\n"
    how_to = "" if alone or str(teacher_checkpoint) != TEACHER_CHECKPOINT else _TRAIN_TEACHER
    teacher = f"  teacher_model:\n{_VIT}      frozen: True\n    src_ckpt: {checkpoint}\n"
    return _render(
        heading=f"# ResNet-8 {how}, on {STUDENT_IMAGES} images of handwritten digits.\n{source}{how_to}".rstrip(),
        crop="",
        images=STUDENT_IMAGES,
        models=f"  model: {student}\n" if alone else f"{teacher}  student_model: {student}\n",
        sides=_ALONE if alone else _WITH_TEACHER,
        epochs=schedule.student_epochs,
        batch=STUDENT_BATCH,
        lr=0.002,
        method=chosen,
    )


def committed_configs() -> dict[str, str]:
    """Return the configs that the repository carries under ``configs/digits``: path below it -> text."""
    configs = {f"teacher/{TEACHER}.yaml": teacher_config()}
    for method in METHODS:
        name = STUDENT if method == BASELINE else f"{STUDENT}_from_{TEACHER}"
        configs[f"{method}/{name}.yaml"] = student_config(method)
    return configs


def write_committed_configs(folder: str | Path) -> None:
    """Write :func:`committed_configs` below ``folder``."""
    for name, text in committed_configs().items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check_methods(methods: list[str]) -> None:
    """Raise ``ValueError`` on the first name that is no method of the demo."""
    for method in methods:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)


def _render(*, images: int, batch: int, method: Method, **parts: object) -> str:
    return _TEMPLATE.substitute(
        parts,
        images=images,
        batch=batch,
        steps=-(-images // batch),
        mean=list(MEAN),
        std=list(STD),
        validated_from=VALIDATED_FROM,
        all_images=IMAGES,
        ce_weight=method.ce_weight,
        term=f"        {method.term}\n" if method.term else "",
    )
