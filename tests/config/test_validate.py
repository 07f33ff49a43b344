"""Mistakes that people make in configs, planted one at a time; each must be found and named with its place."""

import pytest
import small_configs
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.config.build import build_box, build_config, build_models
from kd_plugins.config.config import parse_config
from kd_plugins.config.module_paths import check_module_paths
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.distributed import Processes

LSKD_AT = r"train.criterion.kwargs.sub_terms.lskd"
MISTAKES = [
    ("LSKDLoss", "LSKDLos", rf"unknown loss 'LSKDLos' at {LSKD_AT}.criterion.key \(line 48\); did you mean 'LSKDLoss'"),
    ("temperature: 2.0", "temprature: 2.0", r"LSKDLoss takes no keyword 'temprature' \(did you mean 'temperature'"),
    ("temperature: 2.0", "temperature: -2.0", rf"temperature must be .* above 0, found -2.0 at {LSKD_AT} \(line 48\)"),
    ("weight: 0.9}", "wieght: 0.9}", rf"unknown key 'wieght' \(did you mean 'weight'\?\) at {LSKD_AT}.wieght"),
    (", weight: 0.9}", "}", rf"sub_terms.lskd needs 'weight' at {LSKD_AT}"),
    ("weight: 0.9}", "weight: much}", r"weight must be a number, found 'much'"),
    ("WeightedSumLoss", "WeightSumLoss", r"unknown high-level loss 'WeightSumLoss' at train.criterion.key"),
    ("SimpleLossWrapper", "SimpleLosWrapper", r"unknown loss wrapper 'SimpleLosWrapper'"),
    ("{key: CrossEntropyLoss, kwargs: {}}", "{key: CrossEntropyLoss}", r"ce.criterion needs 'kwargs'"),
    ("{key: CrossEntropyLoss, kwargs: {}}", "{key: CrossEntropyLoss, kwargs: }", r"write kwargs: \{\} to set nothing"),
    ("kwargs: {}}", "kwargs: {label_smothing: 0.1}}", r"CrossEntropyLoss takes no keyword 'label_smothing'"),
    ("cifar_resnet8,", "cifar_resnet9,", r"unknown model 'cifar_resnet9' at models.teacher_model.key .*'cifar_resnet8'"),
    ("cifar_resnet8, kwargs: {", "cifar_resnet8, kwargs: {foo: 1, ", r"cifar_resnet8 takes no keyword 'foo'"),
    ("model_name: vit", "modelname: vit", r"timm_model takes no keyword 'modelname' \(did you mean 'model_name'"),
    ("student_model:", "studnt_model:", r"models needs a student_model"),
    ("key: SGD", "key: SDG", r"unknown optimizer 'SDG' at train.optimizer.key"),
    ("momentum: 0.9", "momentun: 0.9", r"SGD takes no keyword 'momentun'"),
    ("T_max: 4", "Tmax: 4", r"CosineAnnealingLR takes no keyword 'Tmax' \(did you mean 'T_max'"),
    ("{T_max: 4}", "{}", r"CosineAnnealingLR needs the keyword 'T_max' at train.scheduler.kwargs"),
    ("  optimizer:", "  optimiser:", r"unknown key 'optimiser' \(did you mean 'optimizer'\?\) at train.optimiser"),
    ("num_epochs: 2", "num_epochs: 0", r"num_epochs must be a whole number above 0, found 0"),
    ("num_epochs: 2", "num_epochs: two", r"num_epochs must be a whole number above 0, found 'two'"),
    ("  num_epochs: 2\n", "", r"train needs 'num_epochs'"),
    ("kd_pre_epoch", "kd_preepoch", r"unknown process 'kd_preepoch' at train.pre_epoch_process"),
    ("forward_batch_only, requires", "forward_batch, requires", r"unknown forward process 'forward_batch'"),
    ("{forward_proc: forward_batch_only}", "{requires_grad: True}", r"train.student needs 'forward_proc'"),
    ("dataset_id: *train", "dataset_id: digits/trian", r"unknown dataset id 'digits/trian' \(did you mean 'digits/train'"),
    ("sampler: {class_or_func: !import_get {key: torch.utils.data.Random", "sampler: {class: !import_get {key: torch.utils.data.Random", r"train_data_loader.sampler needs 'class_or_func'"),
    ("requires_grad: False}", "requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeach}}", r"unknown model wrapper 'FrozenTeach'"),
    ("requires_grad: False}", "requires_grad: False, auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {means: [0.5]}}}", r"FrozenTeacher takes no keyword 'means'"),
    ("num_workers: 0}\n  val", "num_workers: 0}\n    dataset_wrapper: {key: TwoViews, kwargs: {strong: 1}}\n  val", r"add collate_fn: collate_two_views at train.train_data_loader"),
    ("{key: LSKDLoss, kwargs: {temperature: 2.0}}", "{key: CTKDLoss, kwargs: {}}", r"CTKDLoss needs student.auxiliary_model_wrapper: \{key: CTKDStudent"),
    ("{key: LSKDLoss, kwargs: {temperature: 2.0}}", "{key: MLKDLoss, kwargs: {}}", r"MLKDLoss needs train_data_loader.dataset_wrapper: \{key: TwoViews"),
]  # fmt: skip


def built(text):
    return build_config(parse_config(text, "c.yaml"))


def test_the_config_without_mistakes_passes():
    assert built(small_configs.text())["train"]["num_epochs"] == 2


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_named_with_its_place(right, wrong, message):
    text = small_configs.text()
    assert right in text
    with pytest.raises(ConfigError, match=message):
        built(text.replace(right, wrong, 1))


def test_a_tensor_loss_without_a_wrapper():
    text = small_configs.text(CE_TERM="        ce: {criterion: {key: CrossEntropyLoss, kwargs: {}}, weight: 1.0}\n")
    with pytest.raises(ConfigError, match=r"CrossEntropyLoss takes tensors, not io dicts: add criterion_wrapper"):
        built(text)


def test_a_wrapper_that_its_base_forbids():
    wrapped = (
        "        lskd:\n"
        "          criterion: {key: KDLoss, kwargs: {student_module_path: '.', student_module_io: output, "
        "teacher_module_path: '.', teacher_module_io: output, temperature: 4.0, alpha: 0.5}}\n"
        "          criterion_wrapper: {key: LogitStandardization, kwargs: {}}\n"
        "          weight: 1.0\n"
    )
    with pytest.raises(
        ConfigError, match=r"would also apply standardize to the logits of the cross-entropy .* at .*lskd \(line 48\)"
    ):
        built(small_configs.text(KD_TERM=wrapped))


@pytest.mark.parametrize(
    ("side", "hooks", "message"),
    [
        (
            "teacher",
            "output: [layer4]",
            r"the teacher has no module 'layer4' at train.teacher.forward_hook.output",
        ),
        (
            "student",
            "input: [blocks.0, block.0.attn]",
            r"the student has no module 'block.0.attn' .* 'blocks.0.attn'",
        ),
        ("student", "outputs: [head]", r"keys of forward_hook must be input or output, found 'outputs'"),
    ],
)
def test_a_module_path_that_leads_nowhere(side, hooks, message):
    line = {"teacher": "requires_grad: False", "student": "student: {forward_proc: forward_batch_only"}[side]
    text = small_configs.text().replace(line, f"{line}, forward_hook: {{{hooks}}}")
    config = parse_config(text, "c.yaml")
    objects = build_config(config)
    procs = Processes(0, 1, torch.device("cpu"))
    teacher, student, _ = build_models(config, objects, procs)
    with pytest.raises(ConfigError, match=message):
        build_box(config, objects, teacher, student, procs, 0)


def test_paths_that_torchdistill_reaches_are_let_through():
    model = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
    check_module_paths(model, ["layer1.0", "layer1.-1", "fc.weight", "+added"], what="student", where="here")
    with pytest.raises(ConfigError, match=r"no module 'layer1.7' at here; its nearest paths are .*'layer1.0'"):
        check_module_paths(model, ["layer1.7"], what="student", where="here")


def test_a_checkpoint_that_is_missing_is_an_error_and_not_a_log_line(tmp_path):
    text = small_configs.text().replace(
        "num_classes: 10}}\n", f"num_classes: 10}}, src_ckpt: {tmp_path}/none.pt}}\n", 1
    )
    config = parse_config(text, "c.yaml")
    with pytest.raises(ConfigError, match=r"cifar_resnet8 at models.teacher_model \(line 20\): .*none.pt"):
        build_models(config, build_config(config), Processes(0, 1, torch.device("cpu")))


def test_a_teacher_with_random_weights_is_remarked_on(caplog):
    config = parse_config(small_configs.text(), "c.yaml")
    build_models(config, build_config(config), Processes(0, 1, torch.device("cpu")))
    assert "c.yaml: the teacher at models.teacher_model (line 20) has random weights" in caplog.text


def test_persistent_workers_are_switched_off_with_a_word(caplog):
    config = parse_config(small_configs.text(LOADER_KWARGS=", persistent_workers: True"), "c.yaml")
    objects = build_config(config)
    objects["train"]["train_data_loader"]["kwargs"]["num_workers"] = 1
    procs = Processes(0, 1, torch.device("cpu"))
    teacher, student, _ = build_models(config, objects, procs)
    box = build_box(config, objects, teacher, student, procs, 0)
    assert not box.train_data_loader.persistent_workers
    assert "train_data_loader: persistent_workers is set to False" in caplog.text
