"""A config that cannot be built is refused, with the place and the line of the mistake."""

import pytest
import small_configs
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.config.build import build_box, build_config, build_models
from kd_plugins.config.config import parse_config
from kd_plugins.config.module_paths import check_module_paths
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.distributed import Processes

LSKD_AT = "train.criterion.kwargs.sub_terms.lskd"


def built(text):
    return build_config(parse_config(text, "c.yaml"))


def test_the_config_without_mistakes_passes():
    assert built(small_configs.text())["train"]["num_epochs"] == 2


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "LSKDLoss",
            "LSKDLos",
            rf"unknown loss 'LSKDLos' at {LSKD_AT}.criterion.key \(line 48\); did you mean 'LSKDLoss'",
        ),
        (
            "temperature: 2.0",
            "temperature: -2.0",
            rf"temperature must be .* above 0, found -2.0 at {LSKD_AT} \(line 48\)",
        ),
        (", weight: 0.9}", "}", rf"sub_terms.lskd needs 'weight' at {LSKD_AT} \(line 48\)"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_line(right, wrong, message):
    with pytest.raises(ConfigError, match=message):
        built(small_configs.text().replace(right, wrong, 1))


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
