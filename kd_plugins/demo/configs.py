"""The demo's configs, from one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .._checks import check_at_least
from ..data.digits import MEAN, STD
from .methods import BASELINE, METHODS, Variant, variants

TEACHER, STUDENT = "vit", "cifar_resnet8"
# With all training images the CNN is as good as the ViT by itself; few leave it something to learn from a teacher.
IMAGES, VALIDATED_FROM, STUDENT_IMAGES = 1437, 1200, 200
TEACHER_BATCH, STUDENT_BATCH = 64, 32
TEACHER_CHECKPOINT = "runs/vit/seed0/best.pt"


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
$views  val_data_loader:
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
  student: {forward_proc: forward_batch_only$student}
"""
_VIEWS = """\
    dataset_wrapper:
      key: TwoViews
      kwargs:
        strong: !import_call
          key: torchvision.transforms.Compose
          init:
            args:
              -
                - !import_call
                  key: torchvision.transforms.RandomAffine
                  init: {kwargs: {degrees: 15, translate: [0.1, 0.1], scale: [0.9, 1.1], shear: 10}}
                - *to_tensor
                - *normalize
    collate_fn: collate_two_views
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
        variant=Variant(BASELINE),
    )


def student_config(
    variant: Variant, *, teacher_checkpoint: str | Path = TEACHER_CHECKPOINT, schedule: Schedule | None = None
) -> str:
    """Return the config of a student.

    Args:
        variant: how it learns.
        teacher_checkpoint: file with the weights of the teacher; plain training does without.
        schedule: how long to train.

    Example:
        >>> "LSKDLoss" in student_config(Variant("lskd")), "teacher_model" in student_config(Variant("ce"))
        (True, False)
    """
    schedule, method = schedule or Schedule(), METHODS[variant.method]
    alone = not method.criterion
    student = f"{{key: {STUDENT}, kwargs: {{num_classes: 10}}}}"
    # JSON's strings are YAML's double-quoted ones, whatever is in the path.
    checkpoint = json.dumps(str(teacher_checkpoint), ensure_ascii=False)
    how = "from the labels alone" if alone else f"from a ViT by {variant.title}"
    heading = [
        f"# ResNet-8 {how}, on handwritten digits. The student has {STUDENT_IMAGES} images, the teacher had "
        f"{VALIDATED_FROM}."
    ]
    if not alone:
        heading.append(f"# Weights and temperature: {method.source}.")
        if str(teacher_checkpoint) == TEACHER_CHECKPOINT:
            heading.append("# Its weights come first: kd-plugins train configs/digits/teacher/vit.yaml")
    teacher = f"  teacher_model:\n{_VIT}      frozen: True\n    src_ckpt: {checkpoint}\n"
    beside = f", {method.student}" if method.student else ""
    return _render(
        heading="\n".join(heading),
        crop="",
        images=STUDENT_IMAGES,
        models=f"  model: {student}\n" if alone else f"{teacher}  student_model: {student}\n",
        sides=_ALONE if alone else _WITH_TEACHER.replace("$student", beside),
        epochs=schedule.student_epochs,
        batch=STUDENT_BATCH,
        lr=0.002,
        variant=variant,
    )


def committed_configs() -> dict[str, str]:
    """Return the configs that the repository carries under ``configs/digits``: path below it -> text."""
    configs = {f"teacher/{TEACHER}.yaml": teacher_config()}
    for variant in variants(list(METHODS)):
        name = STUDENT if variant.method == BASELINE else f"{STUDENT}_from_{TEACHER}"
        configs[f"{variant.method}/{name}.yaml"] = student_config(variant)
    return configs


def write_committed_configs(folder: str | Path) -> None:
    """Write :func:`committed_configs` below ``folder``."""
    for name, text in committed_configs().items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _render(*, images: int, batch: int, variant: Variant, **parts: object) -> str:
    return _TEMPLATE.substitute(
        parts,
        images=images,
        batch=batch,
        steps=-(-images // batch),
        mean=list(MEAN),
        std=list(STD),
        validated_from=VALIDATED_FROM,
        all_images=IMAGES,
        ce_weight=METHODS[variant.method].ce_weight,
        views=_VIEWS if METHODS[variant.method].views else "",
        term=f"        {variant.term}\n" if variant.term else "",
    )
