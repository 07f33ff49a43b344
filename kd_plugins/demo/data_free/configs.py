"""The configs of the demo: 8x8 digits, real or synthetic, and one schedule."""

from __future__ import annotations

from pathlib import Path

from ...data.digits import MEAN, STD

SIZE = 8
"""Height and width of scikit-learn's digits, before they are enlarged for networks for CIFAR."""
TEACHER_IMAGES = 1200
STUDENT, TEACHER_MODEL = "cifar_resnet8", "cifar_resnet20"
KEEP = 0.7
"""The share of logits that SFKD keeps in data-free distillation."""

TOP = """\
dependencies: [kd_plugins]

datasets:
  &test digits/test: !import_call
    key: kd_plugins.data.Digits
    init:
      kwargs:
        train: False
        transform: &plain !import_call
          key: torchvision.transforms.Compose
          init:
            args:
              -
                - !import_call {{key: torchvision.transforms.Resize, init: {{args: [{size}]}}}}
                - !import_call {{key: torchvision.transforms.ToTensor, init: {{}}}}
                - !import_call
                  key: torchvision.transforms.Normalize
                  init: {{kwargs: {{mean: {mean}, std: {std}}}}}
  &train digits/train: !import_call
{train}
"""

REAL = """\
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call {{key: kd_plugins.data.Digits, init: {{kwargs: {{train: True, transform: *plain}}}}}}
        indices: !import_call {{key: builtins.range, init: {{args: [0, {count}]}}}}"""

SYNTHETIC = """\
    key: kd_plugins.data.SyntheticImages
    init: {{kwargs: {{root: '{root}', transform: *plain}}}}"""

BOTTOM = """
models:
{models}

train:
  num_epochs: {epochs}
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    sampler: {{class_or_func: !import_get {{key: torch.utils.data.RandomSampler}}}}
    kwargs: {{batch_size: 32, num_workers: 0, drop_last: True}}
{sides}
  optimizer: {{key: AdamW, kwargs: {{lr: 0.002, weight_decay: 0.05}}}}
  scheduler:
    key: OneCycleLR
    kwargs: {{max_lr: 0.002, epochs: {epochs}, steps_per_epoch: {steps}}}
    scheduling_step: 1 # after every batch
  criterion:
    key: WeightedSumLoss
    kwargs:
      sub_terms:
{term}

test:
  test_data_loader:
    dataset_id: *test
    sampler: {{class_or_func: !import_get {{key: torch.utils.data.SequentialSampler}}}}
    kwargs: {{batch_size: 120, num_workers: 0}}
"""

LABELS = """\
        ce:
          criterion: {key: CrossEntropyLoss, kwargs: {}}
          criterion_wrapper:
            key: SimpleLossWrapper
            kwargs: {input: {is_from_teacher: False, module_path: '.', io: output}, target: {uses_label: True}}
          weight: 1.0"""
# No cross-entropy: the label of a synthetic image was requested, which does not make it true.
KD = """\
        kd:
          criterion: {key: SoftTargetLoss, kwargs: {temperature: 4.0}}
          weight: 1.0"""
SFKD = f"""\
        sfkd:
          criterion: {{key: SFKDLoss, kwargs: {{keep: {KEEP}, temperature: 4.0}}}}
          weight: 1.0"""
TERMS = {"kd": KD, "sfkd": SFKD}


def teacher_config(*, epochs: int) -> str:
    """Return the config of the teacher, which learns the labels of real digits."""
    models = f"  model: {{key: {TEACHER_MODEL}, kwargs: {{num_classes: 10}}}}"
    sides = "  model: {forward_proc: forward_batch_only}"
    return _config(None, models, sides, LABELS, epochs=epochs, images=TEACHER_IMAGES)


def student_config(method: str, *, checkpoint: Path, images: int, epochs: int, folder: Path | None) -> str:
    """Return the config of a student by a method of ``TERMS``.

    ``checkpoint`` has the teacher's weights, ``folder`` synthetic images; without it the student learns from real ones.

    Example:
        >>> text = student_config("sfkd", checkpoint=Path("t.pt"), images=600, epochs=12, folder=Path("images"))
        >>> "SyntheticImages" in text, "CrossEntropyLoss" in text
        (True, False)
    """
    models = (
        f"  teacher_model: {{key: {TEACHER_MODEL}, kwargs: {{num_classes: 10, frozen: True}}, "
        f"src_ckpt: '{checkpoint}'}}\n  student_model: {{key: {STUDENT}, kwargs: {{num_classes: 10}}}}"
    )
    sides = "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
    sides += "  student: {forward_proc: forward_batch_only}"
    return _config(folder, models, sides, TERMS[method], epochs=epochs, images=images)


def _config(folder: Path | None, models: str, sides: str, term: str, *, epochs: int, images: int) -> str:
    train = REAL.format(count=images) if folder is None else SYNTHETIC.format(root=folder)
    top = TOP.format(train=train, size=SIZE, mean=list(MEAN), std=list(STD))
    return top + BOTTOM.format(models=models, sides=sides, term=term, epochs=epochs, steps=images // 32)
