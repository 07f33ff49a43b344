"""A small config that distils a tiny detector on digits."""

import json

import detectors

TEMPLATE = """\
dependencies: [kd_plugins]
datasets:
  &train canvas/train: !import_call
    key: kd_plugins.data.detection.CanvasDigits
    init: {kwargs: {train: True, images: TRAIN, transforms: !import_call {key: kd_plugins.data.detection.RandomFlip}}}
  &val canvas/val: !import_call
    key: kd_plugins.data.detection.CanvasDigits
    init: {kwargs: {train: False, images: VAL}}
models:
  teacher_model: {key: timm_detector, kwargs: &detector TINY, src_ckpt: SRC}
  student_model: {key: timm_detector, kwargs: *detector}
train:
  num_epochs: EPOCHS
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    collate_fn: collate_detection
    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}
    kwargs: {batch_size: 2, num_workers: 0}
  val_data_loader: &val_loader
    dataset_id: *val
    collate_fn: collate_detection
    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: {batch_size: 2, num_workers: 0}
  teacher:
    forward_proc: forward_batch_only
    requires_grad: False
    auxiliary_model_wrapper: {key: DetectionTeacher, kwargs: {}}
  student:
    forward_proc: forward_batch_target
    auxiliary_model_wrapper: {key: DetectionStudent, kwargs: {review: {mid_channels: 8}}}
    forward_hook: {output: [points.proposals, LEVELS]}
  optimizer: {key: AdamW, kwargs: {lr: 0.002}}
  criterion:
    key: WeightedSumLoss
    func2extract_model_loss: extract_model_loss_dict
    kwargs:
      model_term: {weight: 1.0}
      sub_terms:
        ckd:
          criterion:
            key: CKDLoss
            kwargs: {student_module_path: points.proposals, teacher_module_path: points.proposals}
          weight: 0.1
        review:
          criterion:
            key: PyramidLoss
            kwargs:
              student_module_path: [LEVELS]
              teacher_module_path: [LEVELS]
          weight: 0.02
test: {test_data_loader: *val_loader}
"""

PARTS = {
    "TRAIN": "6",
    "VAL": "4",
    "EPOCHS": "1",
    "TINY": json.dumps(detectors.TINY),
    "SRC": "",
    "LEVELS": ", ".join(detectors.LEVELS),
}


def text(**parts):
    """Return the config with other parts where given."""
    filled = TEMPLATE
    for name, value in {**PARTS, **parts}.items():
        filled = filled.replace(name, str(value))
    return filled


def write(folder, **parts):
    """Write the config and return its path."""
    path = folder / "detect.yaml"
    path.write_text(text(**parts))
    return path


def write_alone(folder, **parts):
    """Write a config without a teacher and return its path."""
    filled = text(**parts)
    head, _, rest = filled.partition("  teacher_model:")
    rest = rest.partition("train:\n")[2]
    loaders, _, rest = rest.partition("  teacher:\n")
    optimizer, _, rest = rest.partition("  optimizer:")[2].partition("      sub_terms:\n")
    path = folder / "alone.yaml"
    path.write_text(
        f"{head}  model: {{key: timm_detector, kwargs: {parts.get('TINY', PARTS['TINY'])}}}\n"
        f"train:\n{loaders}  model: {{forward_proc: forward_batch_target}}\n"
        f"  optimizer:{optimizer}test:{rest.partition('test:')[2]}"
    )
    return path
