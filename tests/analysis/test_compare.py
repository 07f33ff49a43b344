"""`kd-plugins test --compare-teacher`: answers and layers of a student and its teacher."""

import math

import pytest
import small_configs
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.compare import compare
from kd_plugins.cli import main
from kd_plugins.host.teachers.model import frozen_teacher
from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.metrics import MinibatchCKA, agreement, extracurricular_knowledge
from kd_plugins.metrics.cka import gram
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.distributed import Processes

ONE = Processes(0, 1, torch.device("cpu"))


def images(n=40):
    return TensorDataset(torch.randn(n, 3, 32, 32), torch.randint(5, (n,)))


def network(name, scale=1.0):
    model = CIFAR_MODELS[name](num_classes=5)
    nn.init.normal_(model.fc.weight, std=scale)
    return model.eval()


def outputs(model, data, path):
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        logits = model(data)
    handle.remove()
    return logits, kept[0]


def test_answers_and_layers_of_two_networks():
    student, teacher, data = network("cifar_resnet14"), network("cifar_resnet20"), images()
    found = compare(student, teacher, DataLoader(data, batch_size=40), ONE)
    own, own_map = outputs(student, data.tensors[0], "layer2.1")
    other, other_map = outputs(teacher, data.tensors[0], "layer2.2")
    assert found.samples == 40
    assert found.agreement == pytest.approx(agreement(own, other).item())
    assert found.extracurricular == pytest.approx(extracurricular_knowledge(own, other, data.tensors[1]).item())
    assert found.teacher_wrong == (other.argmax(1) != data.tensors[1]).sum()
    assert found.student_layers == (*(f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1)), "logits")
    assert [(found.student_layers[i], found.teacher_layers[j]) for i, j in found.aligned] == [
        ("layer1.1", "layer1.2"), ("layer2.1", "layer2.2"), ("layer3.1", "layer3.2"), ("logits", "logits"),
    ]  # fmt: skip
    row, column = found.student_layers.index("layer2.1"), found.teacher_layers.index("layer2.2")
    expected = MinibatchCKA()
    expected.update([gram(own_map)], [gram(other_map)])
    assert found.cka[row][column] == pytest.approx(expected.value().item(), abs=1e-4)
    assert not any(module._forward_hooks for module in (*student.modules(), *teacher.modules()))


def test_a_network_is_most_like_itself_and_agrees_with_itself():
    student, data = network("cifar_resnet14"), images()
    teacher = FrozenTeacher(student, student_mean=[0.5] * 3, student_std=[1.0] * 3, mean=[0.5] * 3, std=[1.0] * 3)
    found = compare(student, teacher, DataLoader(data, batch_size=13), ONE)  # the last batch is of one image
    assert found.agreement == 1
    assert found.extracurricular == 0
    for number, row in enumerate(found.cka):
        assert row[number] == pytest.approx(1, abs=1e-5)
        assert max(row) == pytest.approx(row[number], abs=1e-5)


def test_a_teacher_that_resizes_its_batches_itself():
    data = images(8)
    model = {"key": "cifar_resnet14", "kwargs": {"num_classes": 5}}
    teacher = frozen_teacher(model=model, input_size=16)
    wrapped = FrozenTeacher(network("cifar_resnet14"), input_size=16)
    wrapped.load_state_dict(teacher.state_dict())
    student, loader = network("cifar_resnet8"), DataLoader(data, batch_size=8)
    assert compare(student, teacher, loader, ONE) == compare(student, wrapped, loader, ONE)
    wrapped.teacher_input.input_size = None
    assert compare(student, teacher, loader, ONE).cka != compare(student, wrapped, loader, ONE).cka


def test_refuses():
    student, data = network("cifar_resnet8"), DataLoader(images(8), batch_size=8)
    with pytest.raises(ConfigError, match="needs all samples in one process"):
        compare(student, student, data, Processes(0, 2, torch.device("cpu")))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    with pytest.raises(ConfigError, match="the blocks of the student, Sequential, are unknown"):
        compare(flat, student, data, ONE)


def test_the_command_prints_a_table_and_writes_a_heat_map(tmp_path, capsys, pictured):
    config = small_configs.write(tmp_path, EPOCHS=1)
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    command = ["test", str(config), "--checkpoint", str(tmp_path / "run" / "best.pt"), "--device", "cpu"]
    capsys.readouterr()
    assert main([*command, "--compare-teacher"]) == 0
    printed = capsys.readouterr().out
    assert "agreement with the teacher: " in printed
    assert "of the" in printed.partition("extracurricular knowledge:")[2].splitlines()[0]
    table = dict(line.rsplit(maxsplit=1) for line in printed.splitlines() if line.startswith(("blocks.0", "logits")))
    assert all(math.isfinite(float(value)) for value in table.values())
    assert len(table) == 2
    assert (tmp_path / "run" / "best_cka.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--compare-teacher", "--plot", str(tmp_path / "other.png")]) == 0
    assert (tmp_path / "other.png").exists()
    models = {"layers of the student\nvit_tiny_patch16_224", "layers of the teacher\ncifar_resnet8"}
    assert {*models, "linear CKA", "45 images"} <= pictured[1]()
    assert main([*command, "--plot", "map.png"]) == 2
    assert "--plot is the heat map of --compare-teacher" in capsys.readouterr().err
    assert main([*command, "--compare-teacher", "--plot", str(tmp_path / "no" / "map.png")]) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_without_a_teacher_there_is_nothing_to_compare(tmp_path, capsys):
    config = small_configs.write(tmp_path, **small_configs.without_teacher())
    state = tmp_path / "student.pt"
    from kd_plugins.models import timm_model

    kwargs = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 10}
    torch.save(timm_model(model_name="vit_tiny_patch16_224", **kwargs).state_dict(), state)
    assert main(["test", str(config), "--checkpoint", str(state), "--device", "cpu", "--compare-teacher"]) == 2
    assert "--compare-teacher needs a teacher; the config has no teacher_model" in capsys.readouterr().err
