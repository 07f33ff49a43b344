"""Small configs on real digits that train in a second or two."""

from pathlib import Path

CROSS_ENTROPY = """\
        ce:
          criterion: {key: CrossEntropyLoss, kwargs: {}}
          criterion_wrapper:
            key: SimpleLossWrapper
            kwargs: {input: {is_from_teacher: False, module_path: '.', io: output}, target: {uses_label: True}}
          weight: 0.1
"""

STUDENT_MODEL = (
    "  student_model: {key: timm_model, kwargs: {model_name: vit_tiny_patch16_224, img_size: 32, patch_size: 16, "
    "embed_dim: 24, depth: 1, num_heads: 2, num_classes: 10STUDENT_KWARGS}}"
)

TEMPLATE = """\
dependencies: [kd_plugins]
datasets:
  &train digits/train: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init: {kwargs: {train: True, transform: !import_call {key: torchvision.transforms.ToTensor}}}
        indices: !import_call {key: builtins.range, init: {args: [0, SAMPLES]}}
  &test digits/test: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init: {kwargs: {train: False, transform: !import_call {key: torchvision.transforms.ToTensor}}}
        indices: !import_call {key: builtins.range, init: {args: [0, 45]}}
models:
TEACHER_MODELSTUDENT_MODEL
train:
  num_epochs: EPOCHS
  log_freq: 1
  pre_epoch_process: PRE_EPOCH
  train_data_loader:
    dataset_id: *train
    sampler: {class_or_func: !import_get {key: torch.utils.data.SAMPLER}}
    kwargs: {batch_size: BATCH, num_workers: 0LOADER_KWARGS}
  val_data_loader: &val
    dataset_id: *test
    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: {batch_size: 16, num_workers: 0}
SIDES  optimizer: {key: SGD, kwargs: {lr: 0.05, momentum: 0.9}OPTIMIZER}
SCHEDULER  criterion:
    key: WeightedSumLoss
    kwargs:
      sub_terms:
CE_TERMKD_TERMtest:
  test_data_loader: *val
"""

PARTS = {
    "STUDENT_MODEL": STUDENT_MODEL,
    "SAMPLES": "48",
    "EPOCHS": "2",
    "BATCH": "16",
    "SAMPLER": "RandomSampler",
    "PRE_EPOCH": "kd_pre_epoch",
    "STUDENT_KWARGS": "",
    "LOADER_KWARGS": "",
    "OPTIMIZER": "",
    "SCHEDULER": "  scheduler: {key: CosineAnnealingLR, kwargs: {T_max: 4}}\n",
    "CE_TERM": CROSS_ENTROPY,
    "KD_TERM": "        lskd: {criterion: {key: LSKDLoss, kwargs: {temperature: 2.0}}, weight: 0.9}\n",
    "TEACHER_MODEL": "  teacher_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}\n",
    "SIDES": (
        "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
        "  student: {forward_proc: forward_batch_only}\n"
    ),
}


def text(**parts):
    """Return a config with some of the parts replaced."""
    result = TEMPLATE
    for name, value in {**PARTS, **parts}.items():
        result = result.replace(name, str(value))
    return result


def write(folder, **parts):
    """Write a config into a folder and return its path."""
    path = Path(folder) / "small.yaml"
    path.write_text(text(**parts))
    return path


def without_teacher(**parts):
    """Return the parts of plain training."""
    return {
        "TEACHER_MODEL": "",
        "KD_TERM": "",
        "SIDES": "  model: {forward_proc: forward_batch_only}\n",
        **parts,
    }


def two_stages():
    """Return a config of one epoch with the term `lskd` and two with the term `later`."""
    head, rest = text().split("train:\n  num_epochs: 2\n")
    body, test = rest.split("test:\n  test")
    stage = "".join(f"  {line}\n" for line in body.rstrip().splitlines())
    second = stage.replace("&val\n", "\n").replace("lskd:", "later:").replace("lr: 0.05", "lr: 0.01")
    return (
        f"{head}train:\n  stage1:\n    num_epochs: 1\n{stage}  stage2:\n    num_epochs: 2\n{second}test:\n  test{test}"
    )
