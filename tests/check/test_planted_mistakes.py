"""Mistakes that people make in configs, planted one at a time; the check finds each, says it, and names its line."""

import re

import planted
import pytest
import small_configs
from planted import LSKD, cut, hinted, swap, term
from torch import nn
from torchdistill.losses import registry as losses

from kd_plugins.check import check_config

ERROR, WARNING = "error", "warning"
TERMS = "train.criterion.kwargs.sub_terms"
DATA = "kd_plugins.data.Digits"
TRAIN_LOADER = "  train_data_loader:\n    dataset_id: *train\n"
TO_TENSOR = "!import_call {key: torchvision.transforms.ToTensor}"
LOSS = "{key: LSKDLoss, kwargs: {temperature: 2.0}}"
WRAPPED = (
    "        {0}:\n          criterion: {{key: MSELoss, kwargs: {{}}}}\n          criterion_wrapper:\n            key: "
    "SimpleLossWrapper\n            kwargs: {{input: {{is_from_teacher: {1}, module_path: '.', io: output}}, target: "
    "{{is_from_teacher: {2}, module_path: '.', io: output}}}}\n          weight: 1.0\n"
)
CE = small_configs.CROSS_ENTROPY
SGD = "{key: SGD, kwargs: {lr: 0.05, momentum: 0.9}}"
PLAIN_STUDENT = "  student: {forward_proc: forward_batch_only}\n"
TRAINED_REGRESSOR = (
    "  student:\n    forward_proc: forward_batch_only\n    auxiliary_model_wrapper: {key: RegressorStudent, kwargs: "
    "{pairs: [{student: stage3, channels: 64}]}}\n    forward_hook: {output: [regressors.stage3]}\n"
)
SCHEDULER = "{key: CosineAnnealingLR, kwargs: {T_max: 2}}"
RANDOM_CROP = "!import_call {key: torchvision.transforms.Compose, init: {args: [[!import_call {key: torchvision.transforms.RandomHorizontalFlip}, !import_call {key: torchvision.transforms.ToTensor}]]}}"
VIT = "{key: timm_model, kwargs: {model_name: vit_tiny_patch16_224, img_size: 64, patch_size: 16, embed_dim: 24, depth: 1, num_heads: 2, num_classes: 10}}"
VAL = "  val_data_loader: &val\n    dataset_id: *test\n    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}\n    kwargs: {batch_size: 16, num_workers: 0}\n"
NORMALISED = "!import_call {key: torchvision.transforms.Compose, init: {args: [[!import_call {key: torchvision.transforms.ToTensor}, !import_call {key: torchvision.transforms.Normalize, init: {kwargs: {mean: [0.5], std: [0.5]}}}]]}}"
TEACHER_SIDE = "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
STEPS_AT = "{{key: MultiStepLR, kwargs: {{milestones: {0}}}}}"
POINTS = (
    "  teacher: {forward_proc: forward_batch_only, requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeacher, "
    "kwargs: {points: [stage3]}}, forward_hook: {output: [points.stage3]}}\n"
    "  student: {forward_proc: forward_batch_only, forward_hook: {output: [layer3]}}\n"
)
STATS = "requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {student_mean: [0.5, 0.5], student_std: [0.5, 0.5], mean: [0.4, 0.5], std: [0.5, 0.5]}}}"
AT = "{key: ATLoss, kwargs: {mode: code, at_pairs: {last: {teacher: {path: layr3, io: output}, student: {path: layer3, io: output}, weight: 1}}}}"
LAKD_AT = "train.student.auxiliary_model_wrapper"
ONE_CYCLE = "{{key: OneCycleLR, kwargs: {{max_lr: 0.05, total_steps: {0}}}{1}}}"


class NotANumber(nn.Module):
    """A loss whose value is NaN."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict["."]["output"].sum() * float("nan")


class RootAtZero(nn.Module):
    """A loss of 0 whose gradient is no number."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return (student_io_dict["."]["output"] * 0).sum().sqrt()


class OneASample(nn.Module):
    """A loss that forgets the mean."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict["."]["output"].mean(1)


class Asks(nn.Module):
    """A loss that fails in a way of its own."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict.no_such_thing


@pytest.fixture(autouse=True)
def _own_losses(monkeypatch):
    for kind in (NotANumber, RootAtZero, OneASample, Asks):
        monkeypatch.setitem(losses.MIDDLE_LEVEL_LOSS_DICT, kind.__name__, kind)


def own(name):
    return term(f"        own: {{criterion: {{key: {name}, kwargs: {{}}}}, weight: 1.0}}\n")


# Name, change, level, part of the message, place, and what stands on its line.
NAMES = [
    ("invalid YAML", swap("num_epochs: 2", "num_epochs: [2"), ERROR, r"invalid YAML: ", "", None),
    ("key twice", swap("  log_freq: 1\n", "  log_freq: 1\n  log_freq: 2\n"), ERROR,
     r"duplicate key 'log_freq' \(first on line \d+\); remove one", "", "log_freq: 2"),
    ("top-level key", swap("test:\n  test", "tset:\n  test"), ERROR, r"unknown key 'tset' \(did you mean 'test'", "tset", "tset:"),
    ("stage key", swap("  optimizer:", "  optimiser:"), ERROR, r"unknown key 'optimiser' \(did you mean 'optimizer'", "train.optimiser", "optimiser"),
    ("key that nothing reads", swap("  log_freq: 1\n", "  gradient_noise: 1\n"), WARNING, r"key 'gradient_noise' is not used here: remove it", "train.gradient_noise", "gradient_noise"),
    ("scheduler key", swap(SCHEDULER, SCHEDULER[:-1] + ", scheduling_stp: 1}"), ERROR, r"unknown key 'scheduling_stp' \(did you mean 'scheduling_step'", "train.scheduler.scheduling_stp", "scheduling_stp"),
    ("model", swap("cifar_resnet8,", "cifar_resnet9,"), ERROR, r"unknown model 'cifar_resnet9'.*'cifar_resnet8'", "models.teacher_model.key", "cifar_resnet9"),
    ("loss", swap("LSKDLoss", "LKSDLoss"), ERROR, r"unknown loss 'LKSDLoss'.*'LSKDLoss'", f"{TERMS}.lskd.criterion.key", "LKSDLoss"),
    ("loss wrapper", swap("SimpleLossWrapper", "SimpleLosWrapper"), ERROR, r"unknown loss wrapper 'SimpleLosWrapper'.*'SimpleLossWrapper'", f"{TERMS}.ce.criterion_wrapper.key", "SimpleLosWrapper"),
    ("criterion", swap("WeightedSumLoss", "WeightSumLoss"), ERROR, r"unknown high-level loss 'WeightSumLoss'", "train.criterion.key", "WeightSumLoss"),
    ("optimizer", swap("key: SGD", "key: SDG"), ERROR, r"unknown optimizer 'SDG'.*'SGD'", "train.optimizer.key", "SDG"),
    ("scheduler", swap("CosineAnnealingLR", "CosineAnealingLR"), ERROR, r"unknown scheduler 'CosineAnealingLR'.*'CosineAnnealingLR'", "train.scheduler.key", "CosineAnealingLR"),
    ("process", swap("kd_pre_epoch", "kd_preepoch"), ERROR, r"unknown process 'kd_preepoch'.*'kd_pre_epoch'", "train.pre_epoch_process", "kd_preepoch"),
    ("forward process", swap("forward_batch_only, requires", "forward_batch, requires"), ERROR, r"unknown forward process 'forward_batch'", "train.teacher.forward_proc", "forward_batch,"),
    ("collate function", swap(TRAIN_LOADER, f"{TRAIN_LOADER}    collate_fn: collate_two_view\n"), ERROR, r"unknown collate function 'collate_two_view'.*'collate_two_views'", "train.train_data_loader.collate_fn", "collate_two_view"),
    ("dataset wrapper", swap(TRAIN_LOADER, f"{TRAIN_LOADER}    dataset_wrapper: {{key: TwoView, kwargs: {{}}}}\n"), ERROR, r"unknown dataset wrapper 'TwoView'.*'TwoViews'", "train.train_data_loader.dataset_wrapper.key", "TwoView"),
    ("model wrapper", swap("requires_grad: False}", "requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeach}}"), ERROR, r"unknown model wrapper 'FrozenTeach'.*'FrozenTeacher'", "train.teacher.auxiliary_model_wrapper.key", "FrozenTeach"),
    ("dataset id", swap("dataset_id: *train", "dataset_id: digits/trian"), ERROR, r"unknown dataset id 'digits/trian' \(did you mean 'digits/train'", "train.train_data_loader.dataset_id", "trian"),
    ("keyword of a model", swap("{num_classes: 10}", "{num_classes: 10, depth: 8}"), ERROR, r"cifar_resnet8 takes no keyword 'depth'", "models.teacher_model.kwargs.depth", "depth"),
    ("keyword of a loss", swap("temperature: 2.0", "temprature: 2.0"), ERROR, r"LSKDLoss takes no keyword 'temprature' \(did you mean 'temperature'", f"{TERMS}.lskd.criterion.kwargs.temprature", "temprature"),
    ("keyword of a wrapper", swap("target: {uses", "taget: {uses"), ERROR, r"SimpleLossWrapper takes no keyword 'taget' \(did you mean 'target'", f"{TERMS}.ce.criterion_wrapper.kwargs.taget", "taget"),
    ("keyword of an optimizer", swap("momentum: 0.9", "momentun: 0.9"), ERROR, r"SGD takes no keyword 'momentun' \(did you mean 'momentum'", "train.optimizer.kwargs.momentun", "momentun"),
    ("keyword of a scheduler", swap("T_max: 2", "Tmax: 2"), ERROR, r"CosineAnnealingLR takes no keyword 'Tmax' \(did you mean 'T_max'", "train.scheduler.kwargs.Tmax", "Tmax"),
    ("keyword of a dataset wrapper", swap(TRAIN_LOADER, f"{TRAIN_LOADER}    dataset_wrapper: {{key: TwoViews, kwargs: {{stong: 1}}}}\n"), ERROR, r"TwoViews takes no keyword 'stong' \(did you mean 'strong'", "train.train_data_loader.dataset_wrapper.kwargs.stong", "stong"),
    ("keyword of a model wrapper", swap("requires_grad: False}", "requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {means: [0.5]}}}"), ERROR, r"FrozenTeacher takes no keyword 'means'", "train.teacher.auxiliary_model_wrapper.kwargs.means", "means"),
    ("keyword of a loader", swap("batch_size: 16", "batchsize: 16"), ERROR, r"DataLoader takes no keyword 'batchsize' \(did you mean 'batch_size'", "train.train_data_loader.kwargs.batchsize", "batchsize"),
    ("shuffle beside a sampler", swap("{batch_size: 16, num", "{shuffle: True, batch_size: 16, num"), ERROR, r"shuffle cannot be combined with a sampler: remove it", "train.train_data_loader.kwargs.shuffle", "shuffle"),
    ("no kwargs", swap("{key: CrossEntropyLoss, kwargs: {}}", "{key: CrossEntropyLoss}"), ERROR, r"ce.criterion needs 'kwargs'", f"{TERMS}.ce.criterion", "CrossEntropyLoss"),
    ("no weight", swap(", weight: 0.9}", "}"), ERROR, r"lskd needs 'weight'", f"{TERMS}.lskd", "lskd:"),
    ("weight as text", swap("weight: 0.9", "weight: high"), ERROR, r"weight must be a number, found 'high'", f"{TERMS}.lskd.weight", "high"),
    ("no criterion of a term", swap(f"criterion: {LOSS}, ", ""), ERROR, r"lskd needs 'criterion'", f"{TERMS}.lskd", "lskd:"),
    ("no num_epochs", swap("  num_epochs: 2\n", ""), ERROR, r"train needs 'num_epochs'", "train", "train:"),
    ("num_epochs 0", swap("num_epochs: 2", "num_epochs: 0"), ERROR, r"num_epochs must be a whole number above 0, found 0", "train.num_epochs", "num_epochs"),
    ("batch_size 0", swap("batch_size: 16", "batch_size: 0"), ERROR, r"batch_size must be a whole number above 0, found 0", "train.train_data_loader.kwargs.batch_size", "batch_size: 0"),
    ("temperature -1", swap("temperature: 2.0", "temperature: -1"), ERROR, r"temperature must be a finite number above 0, found -1", f"{TERMS}.lskd", "lskd:"),
    ("keep 0", term("        sfkd: {criterion: {key: SFKDLoss, kwargs: {keep: 0}}, weight: 0.9}\n"), ERROR, r"keep must be .*found 0", f"{TERMS}.sfkd", "sfkd:"),
    ("unknown transform", term("        lskd:\n          criterion: {key: SoftTargetLoss, kwargs: {}}\n          criterion_wrapper: {key: TransformedLoss, kwargs: {transforms: [{key: standardise}]}}\n          weight: 1.0\n"), ERROR, r"'standardise'.*did you mean 'standardize'", f"{TERMS}.lskd", "lskd:"),
    ("tensor loss without wrapper", swap(CE, "        ce: {criterion: {key: CrossEntropyLoss, kwargs: {}}, weight: 0.1}\n"), ERROR, r"CrossEntropyLoss takes tensors, not io dicts: add criterion_wrapper", f"{TERMS}.ce.criterion", "ce:"),
    ("tag of a class that is not there", swap(DATA, "kd_plugins.data.Digit"), ERROR, r"!import_call failed: .*did you mean 'Digits'", "", "dataset: !import_call"),
    ("data set's keyword", swap("{train: True,", "{trian: True,"), ERROR, r"!import_call failed: .*trian", "", "dataset: !import_call"),
    ("dependency that is not installed", swap("[kd_plugins]", "[kd_plugins, kd_plugin]"), ERROR, r"a dependency cannot be imported: .*kd_plugin", "dependencies", "dependencies"),
    ("CTKD without its wrapper", term("        ctkd: {criterion: {key: CTKDLoss, kwargs: {}}, weight: 0.9}\n"), ERROR, r"CTKDLoss needs student.auxiliary_model_wrapper: \{key: CTKDStudent", f"{TERMS}.ctkd", "ctkd:"),
    ("VID without its wrapper", hinted("{key: HintLoss, kwargs: {student_module_path: layer3, teacher_module_path: layer3}}", "{key: VIDLoss, kwargs: {feature_pairs: {s: {teacher: {path: layer3, io: output}, student: {path: layer3, io: output}, weight: 1}}}}"), ERROR, r"only a model wrapper provides; found no wrapper. Add student.auxiliary_model_wrapper: \{key: VIDStudent", f"{TERMS}.hint", "hint:"),
    ("CRD without its wrapper", hinted("{key: HintLoss, kwargs: {student_module_path: layer3, teacher_module_path: layer3}}", "{key: CRDLoss, kwargs: {student_norm_module_path: layer3, student_empty_module_path: supplement, teacher_norm_module_path: layer3, input_size: 16, output_size: 48, num_samples: 48, num_negative_samples: 4}}"), ERROR, r"CRDLoss reads the (student|teacher)'s .*only a model wrapper provides; found no wrapper", f"{TERMS}.hint", "hint:"),
    ("weight as YAML's text", swap("weight: 0.9", "weight: 9e-1"), ERROR, r"weight must be a number, found '9e-1', which YAML reads as a string: write 9.0e-1", f"{TERMS}.lskd.weight", "9e-1"),
    ("term beside the terms", swap("        lskd:", "      lskd:"), ERROR, r"WeightedSumLoss takes no 'lskd': move a loss term under sub_terms \(indent it once\)", "train.criterion.kwargs.lskd", "lskd:"),
    ("terms beside kwargs", swap("      sub_terms:", "    sub_terms:"), ERROR, r"move sub_terms under kwargs \(indent it once\)", "train.criterion.sub_terms", "sub_terms:"),
    ("learning rate as YAML's text", swap("lr: 0.05", "lr: 5e-2"), ERROR, r"lr must be a number, found '5e-2', which YAML reads as a string: write 5.0e-2", "train.optimizer.kwargs.lr", "lr: 5e-2"),
    ("lowest rate as YAML's text", swap("T_max: 2", "T_max: 2, eta_min: 1e-3"), ERROR, r"eta_min must be a number, found '1e-3', which YAML reads as a string: write 1.0e-3", "train.scheduler.kwargs.eta_min", "eta_min"),
    ("clipping as YAML's text", swap(SGD, SGD[:-1] + ", max_grad_norm: 5e0}"), ERROR, r"max_grad_norm must be a number, found '5e0'", "train.optimizer.max_grad_norm", "optimizer"),
    ("temperature in quotes", swap("temperature: 2.0", "temperature: '2.0'"), ERROR, r"temperature must be a finite number above 0, found '2.0', which YAML reads as a string: write 2.0", f"{TERMS}.lskd", "lskd:"),
    ("no sampler", swap("    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}\n", ""), ERROR, r"train_data_loader needs 'sampler'", "train.train_data_loader", "train_data_loader"),
    ("sampler as text", swap("!import_get {key: torch.utils.data.RandomSampler}", "RandomSampler"), ERROR, r"class_or_func must be a class, such as !import_get .*found 'RandomSampler'", "train.train_data_loader.sampler.class_or_func", "sampler:"),
    ("num_workers as text", swap("num_workers: 0", "num_workers: '0'"), ERROR, r"num_workers must be a whole number, 0 or more, found '0'", "train.train_data_loader.kwargs.num_workers", "num_workers"),
    ("no teacher's section", swap(TEACHER_SIDE, ""), ERROR, r"train needs teacher: \{forward_proc: forward_batch_only, requires_grad: False\}", "train", "train:"),
    ("no teacher's model", lambda text: re.sub(r"  teacher_model: .*\n", "", text), ERROR, r"there is a student but no models.teacher_model: add it", "train.student", "student:"),
    ("requires_grad as text", swap("requires_grad: False", "requires_grad: 'False'"), ERROR, r"requires_grad must be True or False, found 'False'", "train.teacher.requires_grad", "teacher: {"),
    ("hook that is no list", hinted("forward_hook: {output: [layer3]}", "forward_hook: {output: layer3}"), ERROR, r"output must be a list of module paths, such as \[layer3\], found 'layer3'", "train.teacher.forward_hook.output", "teacher: {"),
    ("tensor's key", swap("uses_label: True", "use_label: True"), ERROR, r"target takes no 'use_label' \(did you mean 'uses_label'", f"{TERMS}.ce.criterion_wrapper.kwargs.target.use_label", "use_label"),
    ("tensor's io", swap("io: output}, target", "io: ouput}, target"), ERROR, r"io must be input or output, found 'ouput'", f"{TERMS}.ce.criterion_wrapper.kwargs.input.io", "ouput"),
    ("tensor's path left empty", swap("module_path: '.', io: output}, target", "module_path: , io: output}, target"), ERROR, r"module_path must be the path of a module, or '.' for the model itself, found None", f"{TERMS}.ce.criterion_wrapper.kwargs.input.module_path", "input:"),
    ("stock loss's path", hinted("{key: HintLoss, kwargs: {student_module_path: layer3, teacher_module_path: layer3}}", AT), ERROR, r"ATLoss, pair 'last', reads the teacher's 'layr3' output, which is not hooked \(did you mean 'layer3'\?\); hooked: layer3", f"{TERMS}.hint", "hint:"),
    ("MLKD without two views", term("        mlkd: {criterion: {key: MLKDLoss, kwargs: {}}, weight: 0.9}\n"), ERROR, r"MLKDLoss needs train_data_loader.dataset_wrapper: \{key: TwoViews", f"{TERMS}.mlkd", "mlkd:"),
]  # fmt: skip

SECTIONS = [
    ("checkpoint that is not there", swap("src_ckpt: ", "src_ckpt: no/"), ERROR, r"no/.*teacher.pt does not exist: put the weights there, or correct the path", "models.teacher_model.src_ckpt", "teacher_model"),
    ("student's checkpoint", swap(planted.STUDENT.strip(), planted.STUDENT.strip()[:-1] + ", src_ckpt: none.pt}"), ERROR, r"none.pt does not exist", "models.student_model.src_ckpt", "student_model"),
    ("ensemble's checkpoint", swap(planted.TEACHER_KEY, "{key: teacher_ensemble, kwargs: {teachers: [{key: cifar_resnet8, kwargs: {num_classes: 10}, src_ckpt: none.pt}]}"), ERROR, r"none.pt does not exist", "models.teacher_model.kwargs.teachers.0.src_ckpt", "teacher_ensemble"),
    ("frozen teacher's checkpoint", swap(planted.TEACHER_KEY, "{key: frozen_teacher, kwargs: {model: {key: cifar_resnet8, kwargs: {num_classes: 10}, src_ckpt: none.pt}}"), ERROR, r"none.pt does not exist", "models.teacher_model.kwargs.model.src_ckpt", "frozen_teacher"),
    ("frozen teacher without weights", lambda text: re.sub(r", src_ckpt: .*}", "}", text.replace(planted.TEACHER_KEY, "{key: frozen_teacher, kwargs: {model: {key: cifar_resnet8, kwargs: {num_classes: 10}}, input_size: 32}")), WARNING, r"the teacher has random weights: set src_ckpt", "models.teacher_model", "frozen_teacher"),
    ("teacher without weights", lambda text: re.sub(r", src_ckpt: .*}", "}", text), WARNING, r"the teacher has random weights: set src_ckpt", "models.teacher_model", "teacher_model"),
    ("teacher with gradients", swap(", requires_grad: False", ""), ERROR, r"the teacher is not frozen: add requires_grad: False", "train.teacher", "teacher: {"),
    ("student without gradients", swap(PLAIN_STUDENT, PLAIN_STUDENT.replace("}", ", requires_grad: False}")), ERROR, r"the student is frozen: remove requires_grad", "train.student.requires_grad", "student: {"),
    ("learning rate 0", swap("lr: 0.05", "lr: 0"), ERROR, r"the learning rate is 0, so nothing is trained: raise lr", "train.optimizer.kwargs.lr", "lr: 0"),
    ("learning rate below 0", swap("lr: 0.05", "lr: -0.05"), ERROR, r"SGD: .*-0.05", "train.optimizer.kwargs", "optimizer"),
    ("clipping to nothing", swap(SGD, SGD[:-1] + ", max_grad_norm: 0}"), ERROR, r"max_grad_norm must be above 0, found 0: raise or remove it", "train.optimizer.max_grad_norm", "optimizer"),
    ("accumulation over 0", swap(SGD, SGD[:-1] + ", grad_accum_step: 0}"), ERROR, r"grad_accum_step must be a whole number above 0", "train.optimizer.grad_accum_step", "optimizer"),
    ("no optimizer", swap(f"  optimizer: {SGD}\n", ""), ERROR, r"the optimizer is missing: add one", "train", "train:"),
    ("no terms", swap(CE, "", LSKD, "        {}\n"), ERROR, r"the criterion has no terms: add some under kwargs.sub_terms", "train.criterion", "criterion:"),
    ("learning rate left empty", swap("lr: 0.05", "lr: "), ERROR, r"lr is empty: set a number", "train.optimizer.kwargs.lr", "optimizer"),
    ("milestones as text", swap(SCHEDULER, STEPS_AT.format("'1, 2'")), ERROR, r"milestones must be a list of whole numbers, found '1, 2'", "train.scheduler.kwargs.milestones", "milestones"),
    ("gamma upside down", swap(SCHEDULER, STEPS_AT.format("[1], gamma: 10")), WARNING, r"gamma 10 raises the learning rate", "train.scheduler.kwargs.gamma", "gamma"),
    ("normalised for training alone", swap(f"train: True, transform: {TO_TENSOR}", f"train: True, transform: {NORMALISED}"), WARNING, r"evaluation images have no normalisation, training images mean \[0.5\], std \[0.5\]", "train.val_data_loader.dataset_id", "dataset_id: *test"),
    ("late milestones", swap(SCHEDULER, "{key: MultiStepLR, kwargs: {milestones: [1, 5]}}"), WARNING, r"milestones \[5\] are not reached in a training of 2 epochs: lower them", "train.scheduler.kwargs.milestones", "milestones"),
    ("T_max", swap("T_max: 2", "T_max: 240"), WARNING, r"T_max is 240, but the training has 2 epochs, .*: set T_max to 2", "train.scheduler.kwargs.T_max", "T_max"),
    ("T_max of steps", swap(SCHEDULER, "{key: CosineAnnealingLR, kwargs: {T_max: 2}, scheduling_step: 1}"), WARNING, r"T_max is 2, but the training has 6 steps, .*: set T_max to 6", "train.scheduler.kwargs.T_max", "T_max"),
    ("OneCycleLR by epochs", swap(SCHEDULER, ONE_CYCLE.format(6, "")), ERROR, r"OneCycleLR has 6 steps, but is stepped once an epoch, 2 times: add scheduling_step: 1", "train.scheduler", "OneCycleLR"),
    ("OneCycleLR too short", swap(SCHEDULER, ONE_CYCLE.format(5, ", scheduling_step: 1")), ERROR, r"OneCycleLR ends after 5 steps, but the training has 6", "train.scheduler.kwargs", "OneCycleLR"),
    ("OneCycleLR without a length", swap(SCHEDULER, "{key: OneCycleLR, kwargs: {max_lr: 0.05}, scheduling_step: 1}"), ERROR, r"OneCycleLR: You must define either total_steps", "train.scheduler.kwargs", "OneCycleLR"),
    ("weight 0", swap("weight: 0.9", "weight: 0"), WARNING, r"a term with weight 0 has no effect: remove it", f"{TERMS}.lskd.weight", "weight: 0"),
    ("negative weight", swap("weight: 0.9", "weight: -0.9"), WARNING, r"weight -0.9 is negative and maximises the term", f"{TERMS}.lskd.weight", "weight: -0.9"),
    ("batch larger than the data", swap("batch_size: 16", "drop_last: True, batch_size: 64"), ERROR, r"drop_last leaves no batch of 64 from 48 images: lower batch_size", "train.train_data_loader.kwargs.batch_size", "batch_size: 64"),
    ("validation on the training images", swap("dataset_id: *test", "dataset_id: *train"), ERROR, r"accuracy is measured on the training images: set another dataset_id", "train.val_data_loader.dataset_id", "dataset_id: *train"),
    ("random transform in the test set", swap(f"train: False, transform: {TO_TENSOR}", f"train: False, transform: {RANDOM_CROP}"), WARNING, r"evaluation images are augmented at random by RandomHorizontalFlip", "train.val_data_loader.dataset_id", "dataset_id: *test"),
    ("training in order", swap("data.RandomSampler", "data.SequentialSampler"), WARNING, r"the training images are not shuffled: use RandomSampler", "train.train_data_loader.sampler", "sampler"),
    ("testing at random", swap("data.SequentialSampler", "data.RandomSampler"), WARNING, r"evaluation images need no shuffling: use SequentialSampler", "train.val_data_loader.sampler", "sampler"),
    ("testing on a part", swap("kwargs: {batch_size: 16, num_workers: 0}\n  teacher", "kwargs: {batch_size: 16, num_workers: 0, drop_last: True}\n  teacher"), WARNING, r"drop_last excludes images from the accuracy", "train.val_data_loader.kwargs.drop_last", "drop_last"),
    ("no validation", swap(VAL, "", "test:\n  test_data_loader: *val\n", "test:\n  test_data_loader:\n    dataset_id: *test\n" + "".join(VAL.splitlines(keepends=True)[2:])), WARNING, r"val_data_loader is missing: the last epoch is taken as the best", "train", "train:"),
    ("no test", swap("test:\n  test_data_loader: *val\n", ""), WARNING, r"the test section is missing: the student is tested on the validation data", "", None),
]  # fmt: skip

STEPS = [
    ("path that leads nowhere", hinted("forward_hook: {output: [layer3]}", "forward_hook: {output: [layer4]}"), ERROR, r"the teacher has no module 'layer4'; its nearest paths are .*'layer3'", "train.teacher.forward_hook.output", "layer4"),
    ("loss's path that leads nowhere", hinted("teacher_module_path: layer3", "teacher_module_path: layr3"), ERROR, r"the teacher has no module 'layr3'; its nearest paths are 'layer3'", f"{TERMS}.hint.criterion.kwargs.teacher_module_path", "layr3"),
    ("loss's path in hook and loss", hinted("teacher_module_path: layer3", "teacher_module_path: layr3", "forward_hook: {output: [layer3]}", "forward_hook: {output: [layr3]}"), ERROR, r"the teacher has no module 'layr3'; its nearest paths are 'layer3'", "train.teacher.forward_hook.output", "layr3"),
    ("paths of student and teacher swapped", hinted(planted.STUDENT, planted.STUDENT.replace("resnet8", "wrn_16_1"), "forward_hook: {output: [layer3]}}\n  student: {forward_proc: forward_batch_only, forward_hook: {output: [layer3]}}", "forward_hook: {output: [layer3]}}\n  student: {forward_proc: forward_batch_only, forward_hook: {output: [block3]}}", "student_module_path: layer3, teacher_module_path: layer3", "student_module_path: layer3, teacher_module_path: block3"), ERROR, r"the teacher has no module 'block3'", f"{TERMS}.hint.criterion.kwargs.teacher_module_path", "block3"),
    ("point that is a slip", hinted("output: [points.stage3]", "output: [points.stge3]", "teacher_module_path: layer3", "teacher_module_path: points.stge3", sides=POINTS), ERROR, r"the teacher provides no 'points.stge3' \(did you mean 'points.stage3'\?\); it provides points.stage3$", "train.teacher.forward_hook.output", "points.stge3"),
    ("loss wrapper's path", swap("module_path: '.', io: output}, target", "module_path: 'fcc', io: output}, target"), ERROR, r"the student has no module 'fcc'; its nearest paths are 'fc'", f"{TERMS}.ce.criterion_wrapper.kwargs.input.module_path", "fcc"),
    ("normalisation of two channels", swap("requires_grad: False}", STATS), ERROR, r"mean and std, .* must have one entry per image channel: 3, found 2", "train.teacher.auxiliary_model_wrapper.kwargs.mean", "mean:"),
    ("cuts by an unknown name", cut("cuts: shifted", "cuts: shiftd"), ERROR, r"cuts must be one of 'plain', 'shifted', 'every', found 'shiftd'", f"{LAKD_AT}.kwargs.cuts", "cuts:"),
    ("cut after the last block", cut("cuts: shifted", "cuts: [1, 2, 9]"), ERROR, r"cuts: ResNet has blocks 1..3, found 9", f"{LAKD_AT}.kwargs.cuts", "cuts:"),
    ("cut that is not there", cut("cuts: shifted", "cuts: [layer1, layer2, layer4]"), ERROR, r"cuts: ResNet has no module 'layer4'; did you mean 'layer3'", f"{LAKD_AT}.kwargs.cuts", "cuts:"),
    ("cut across a skip connection", cut("cuts: shifted", "cuts: [layer1.0.conv1, layer2, layer3]"), ERROR, r"the cut at 'layer1.0.conv1' cannot be made: a skip connection bypasses it", f"{LAKD_AT}.kwargs.cuts", "cuts:"),
    ("cuts out of order", cut("cuts: shifted", "cuts: [layer2, layer1, layer3]"), ERROR, r"cuts must be in the order of the forward pass", f"{LAKD_AT}.kwargs.cuts", "cuts:"),
    ("teacher's maps for other cuts", cut("teacher: stage_ends", "teacher: [layer1, layer2]"), ERROR, r"teacher must have one entry per module: 3, found 2", f"{LAKD_AT}.kwargs.teacher", "teacher: [layer1"),
    ("teacher's map that is not there", cut("teacher: stage_ends", "teacher: [layer1, layer2, layer7]"), ERROR, r"teacher: ResNet has no module 'layer7'; did you mean 'layer3'", f"{LAKD_AT}.kwargs.teacher", "layer7"),
    ("channels of the teacher's maps", cut("teacher: stage_ends", "teacher_channels: [16, 32, 128]"), ERROR, r"have \[16, 32, 64\] channels, .*set teacher_channels: \[16, 32, 64\]", f"{LAKD_AT}.kwargs.teacher_channels", "teacher_channels"),
    ("local losses without a term", cut(planted.LAKD, ""), ERROR, r"LAKDStudent computes local losses, but no term of the criterion reads them", LAKD_AT, "auxiliary_model_wrapper"),
    ("hook that never fires", swap(planted.STUDENT, f"  student_model: {VIT.replace('64', '32')}\n", PLAIN_STUDENT, PLAIN_STUDENT.replace("}", ", forward_hook: {output: [blocks.0.attn.attn_drop]}}")), ERROR, r"the student's 'blocks.0.attn.attn_drop' is not called in the forward pass, so its output is not captured: hook a module that is called", "train.student.forward_hook.output.0", "attn_drop"),
    ("path that is not hooked", hinted("student_module_path: layer3", "student_module_path: layer2"), ERROR, r"the student's 'layer2' output was not captured.*Hook it in the config: train.student.forward_hook.output: \[layer2\]", f"{TERMS}.hint", "hint:"),
    ("features that do not fit", hinted("{key: cifar_resnet8, kwargs: {num_classes: 10}}\n", "{key: cifar_resnet8x4, kwargs: {num_classes: 10}}\n"), ERROR, r"256.*64|64.*256", f"{TERMS}.hint", "hint:"),
    ("student of other classes", swap(planted.STUDENT, planted.STUDENT.replace("10", "12")), ERROR, r"student and teacher must have logits of the same shape \(B, C\), found \(16, 12\) and \(16, 10\)", f"{TERMS}.lskd", "lskd:"),
    ("classes of both", swap(planted.STUDENT, planted.STUDENT.replace("10", "12"), f"key: {DATA}\n          init: {{kwargs: {{train: True,", "key: torchvision.datasets.FakeData\n          init: {kwargs: {image_size: [3, 32, 32],"), WARNING, r"teacher and student have different numbers of classes, 10 and 12: set num_classes", "models.teacher_model", "teacher_model"),
    ("classes and data", swap(planted.STUDENT, planted.STUDENT.replace("10", "12")), WARNING, r"the student has 12 classes, but the data set has 10: set num_classes", "models.student_model", "student_model"),
    ("labels without a class", swap(planted.STUDENT, planted.STUDENT.replace("10", "5"), LSKD, ""), ERROR, r"the student has 5 classes, but the labels need 10: set num_classes", "models.student_model", "student_model"),
    ("weights of another model", swap("cifar_resnet8,", "cifar_resnet14,"), ERROR, r"cifar_resnet14: .*teacher.pt", "models.teacher_model", "teacher_model"),
    ("image size", swap(planted.STUDENT, f"  student_model: {VIT}\n"), ERROR, r"the student fails on a batch 16 x 3 x 32 x 32: .*32.*64", "models.student_model", "student_model"),
    ("no tensor", swap(f"train: True, transform: {TO_TENSOR}", "train: True"), ERROR, r"PIL", "train.train_data_loader", "train_data_loader"),
    ("no tensor to test on", swap(f"train: False, transform: {TO_TENSOR}", "train: False"), ERROR, r"PIL", "train.val_data_loader", "val_data_loader"),
    ("epoch not told", swap("  pre_epoch_process: kd_pre_epoch\n", "", "{num_classes: 10}", "{num_classes: 10, frozen: True}", LSKD, "        dkd: {criterion: {key: DKDLoss, kwargs: {warmup: 20}}, weight: 1.0}\n"), WARNING, "torchdistill's own script does not pass the epoch or the teacher to the term dkd: add pre_epoch_process: kd_pre_epoch", "train", "train:"),
    ("teacher in training mode", swap("  pre_epoch_process: kd_pre_epoch\n", ""), ERROR, r"the frozen teacher is in training mode \('bn1', .*Add pre_epoch_process: kd_pre_epoch, or frozen: True", "train.teacher", "teacher: {"),
    ("NaN", own("NotANumber"), ERROR, r"the term is nan in the first step", f"{TERMS}.own", "own:"),
    ("stock loss that reads what is not hooked", hinted("{key: HintLoss, kwargs: {student_module_path: layer3, teacher_module_path: layer3}}\n", "{key: KDLoss, kwargs: {student_module_path: fc, student_module_io: output, teacher_module_path: ., teacher_module_io: output, temperature: 4.0, alpha: 0.5}}\n"), ERROR, r"the loss reads 'fc', which is not hooked; hooked modules: student: .*'layer3'", f"{TERMS}.hint", "hint:"),
    ("stock loss that cannot be built", hinted("{key: HintLoss, kwargs: {student_module_path: layer3, teacher_module_path: layer3}}\n", "{key: KDLoss, kwargs: {student_module_path: ., student_module_io: output, teacher_module_path: ., teacher_module_io: output, temperature: 4.0}}\n"), ERROR, r"train cannot be set up: TypeError", f"{TERMS}.hint", "hint:"),
    ("gradient of NaN", own("RootAtZero"), ERROR, r"the term's gradient is not finite in the first step", f"{TERMS}.own", "own:"),
    ("no mean", own("OneASample"), ERROR, r"a loss must be a single number, found \(16,\)", f"{TERMS}.own", "own:"),
    ("loss that fails", own("Asks"), ERROR, r"no_such_thing", f"{TERMS}.own", "own:"),
    ("student with itself", term(WRAPPED.format("same", False, False)), ERROR, r"the term is 0 and has no gradient: it trains nothing", f"{TERMS}.same", "same:"),
    ("teacher with itself", term(WRAPPED.format("same", True, True)), ERROR, r"the term is 0 and has no gradient: it trains nothing", f"{TERMS}.same", "same:"),
    ("teacher with the labels", swap("is_from_teacher: False", "is_from_teacher: True"), ERROR, r"the term has no gradient: it does not depend on the student", f"{TERMS}.ce", "ce:"),
    ("weight far too large", swap("weight: 0.9", "weight: 900000"), WARNING, r"the term's gradient is [\d.e+]+ times the cross-entropy's at the logits: check its weight \(900000\)", f"{TERMS}.lskd.weight", "900000"),
    ("weight far too small", swap("weight: 0.9", "weight: 0.0000009"), WARNING, r"the term's gradient is [\d.e-]+ times the cross-entropy's at the logits", f"{TERMS}.lskd.weight", "0.0000009"),
    ("no gradient for the classifier", hinted(CE, ""), WARNING, r"2 of 29 parameters of the student get no gradient: fc.weight, fc.bias", "train.criterion", "criterion:"),
    ("regressor without optimizer", hinted(PLAIN_STUDENT.replace("}", ", forward_hook: {output: [layer3]}}"), TRAINED_REGRESSOR, "student_module_path: layer3", "student_module_path: regressors.stage3", SGD, SGD[:-1] + ", module_wise_configs: [{module: student_model, kwargs: {}}]}"), ERROR, r"\d+ parameters are in no parameter group of the optimizer and will not be trained: student.regressors.stage3", "train.optimizer", "optimizer"),
    ("optimizer of the teacher", swap(SGD, SGD[:-1] + ", module_wise_configs: [{module: layer1, kwargs: {}}, {is_teacher: True, module: fc, kwargs: {}}]}"), ERROR, r"the optimizer has parameters of the teacher", "train.optimizer", "optimizer"),
    ("module of the optimizer", swap(SGD, SGD[:-1] + ", module_wise_configs: [{module: layer9, kwargs: {}}]}"), ERROR, r"module_wise_configs names an unknown module", "train.optimizer.module_wise_configs", "layer9"),
    ("batches of one", swap("batch_size: 16", "batch_size: 1"), ERROR, r"batch norm cannot train on batches of one image: raise batch_size", "train.train_data_loader.kwargs.batch_size", "batch_size: 1,"),
    ("last batch of one", swap("batch_size: 16", "batch_size: 47"), WARNING, r"the last batch of an epoch has one image \(48 in batches of 47\)", "train.train_data_loader.kwargs.batch_size", "batch_size: 47"),
]  # fmt: skip
MISTAKES = [*NAMES, *SECTIONS, *STEPS]


def checked(tmp_path, text, **options):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return check_config(path, **options)


def found(report, level, message, place, text, line):
    """Tell whether a finding says this of this place, and stands on this line."""
    lines = text.splitlines()
    return any(
        finding.level == level
        and re.search(message, finding.message)
        and finding.place == place
        and (line is None or (finding.line is not None and line in lines[finding.line - 1]))
        for finding in report.findings
    )


@pytest.mark.parametrize(
    ("change", "level", "message", "place", "line"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_found_and_named_with_its_line(tmp_path, sound, change, level, message, place, line):
    text = change(sound)
    report = checked(tmp_path, text)
    assert found(report, level, message, place, text, line), report.text()
    assert report.failed == (level == ERROR or any(f.level == ERROR for f in report.findings))
    wrong = [f for f in report.findings if f.level != "ok"]
    assert len(wrong) <= 3, report.text()


def test_there_are_many_mistakes_and_no_two_are_one():
    assert len(MISTAKES) >= 45
    assert len({m[0] for m in MISTAKES}) == len(MISTAKES)
