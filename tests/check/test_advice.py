"""What a check says of configs that are right, or that are wrong in a way that needs other words."""

import blobs
import pytest
import torch
from several_processes import alone, command

from kd_plugins.check import check_config
from kd_plugins.config.config import parse_config
from kd_plugins.config.renamed_keys import old_config

OLD = """\
datasets:
  cifar10:
    name: &name cifar10
    type: CIFAR10
    splits: {train: {dataset_id: cifar10/train, params: {train: True, transform_params: []}}}
models:
  student_model: {name: resnet18, params: {num_classes: 10}, experiment: e, ckpt: ./s.pt}
train:
  num_epochs: 2
  train_data_loader: {dataset_id: cifar10/train, random_sample: True, batch_size: 8}
  optimizer: {type: SGD, params: {lr: 0.1}}
  criterion:
    type: GeneralizedCustomLoss
    org_term: {criterion: {type: KDLoss, params: {temperature: 4.0}}, factor: 1.0}
"""


def messages(config, level):
    return [f.message for f in check_config(config).findings if f.level == level]


def test_a_config_of_torchdistill_0_is_called_one(tmp_path):
    config = tmp_path / "old.yaml"
    config.write_text(OLD)
    report = check_config(config)
    (found,) = [f for f in report.findings if f.level != "ok"]
    assert found.message.startswith("this config is written for torchdistill 0.x; its keys are splits (line 5)")
    assert "params is kwargs" in found.message


def test_a_config_of_today_is_not(tmp_path):
    assert old_config(parse_config(blobs.text(), tmp_path / "c.yaml")) is None


@pytest.mark.parametrize(
    ("old", "new", "now"),
    [
        ("optimizer: {key: SGD, kwargs: ", "optimizer: {key: SGD, params: ", "params was renamed to kwargs"),
        ("weight: 1.0}", "factor: 1.0}", "factor was renamed to weight"),
        ("src_ckpt: }", "ckpt: }", "ckpt was renamed to src_ckpt"),
        ("{key: SGD,", "{type: SGD,", "type was renamed to key"),
    ],
)
def test_one_key_of_torchdistill_0_is_told_its_new_name(tmp_path, old, new, now):
    config = blobs.write(tmp_path)
    config.write_text(config.read_text().replace(old, new))
    assert any(f"{now} in torchdistill 1.0" in message for message in messages(config, "error"))


def test_keys_that_carry_anchors_are_not_superfluous(tmp_path):
    config = blobs.write(tmp_path)
    config.write_text(
        config.read_text()
        .replace("src_ckpt: }", "src_ckpt: , _experiment: &name blob, _unread: 3}")
        .replace("kwargs: {num_classes: 4}}\ntrain", "kwargs: {num_classes: 4}, dst_ckpt: *name}\ntrain")
    )
    found = [message for message in messages(config, "warning") if "is not used here" in message]
    assert found == ["key '_unread' is not used here: remove it"]


def test_an_anchor_inside_an_unread_key_counts_as_well(tmp_path):
    config = blobs.write(tmp_path)
    config.write_text(
        config.read_text()
        .replace("src_ckpt: }", "src_ckpt: , _own: {a: &name blob}}")
        .replace("kwargs: {num_classes: 4}}\ntrain", "kwargs: {num_classes: 4}, dst_ckpt: *name}\ntrain")
    )
    assert not [m for m in messages(config, "warning") if "is not used here" in m]


def trained(path, classes, *, steps=60):
    torch.manual_seed(0)
    model, data = blobs.blob_net(classes), blobs.Blobs(128, classes)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(data.x), data.y).backward()
        optimizer.step()
    torch.save(model.state_dict(), path)


@pytest.mark.parametrize(("classes", "batch"), [(2, 8), (2, 4), (4, 8)])
def test_a_teacher_that_is_always_right_does_not_guess(tmp_path, classes, batch):
    trained(tmp_path / "t.pth", classes)
    config = blobs.write(tmp_path, CLASSES=str(classes))
    text = config.read_text().replace("src_ckpt: }", f"src_ckpt: {tmp_path / 't.pth'}}}")
    config.write_text(text.replace("batch_size: 8", f"batch_size: {batch}"))
    assert not [m for m in messages(config, "warning") if "no better than chance" in m]


def test_a_teacher_that_knows_nothing_guesses(tmp_path):
    torch.save(blobs.blob_net(2).state_dict(), tmp_path / "t.pth")
    config = blobs.write(tmp_path, CLASSES="2")
    text = config.read_text().replace("src_ckpt: }", f"src_ckpt: {tmp_path / 't.pth'}}}")
    config.write_text(text.replace("batch_size: 8", "batch_size: 32"))
    assert [m for m in messages(config, "warning") if "no better than chance" in m]


def test_a_module_beside_the_config_is_found_by_the_command_too(tmp_path, monkeypatch):
    (tmp_path / "parts_of_mine.py").write_text("import kd_plugins\n")
    config = blobs.write(tmp_path)
    config.write_text(config.read_text().replace("[kd_plugins, blobs]", "[parts_of_mine, blobs]"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = alone(command, "check", config)
    assert "0 errors" in found.stdout, found.stdout + found.stderr


def test_a_teacher_without_logits_is_found_by_the_check_as_by_the_training(tmp_path):
    config = blobs.write(tmp_path, TEACHER="{forward_proc: forward_batch_only, requires_grad: False, "
                         "forward_hook: {output: ['5']}}", TERM="{criterion: {key: SoftTargetLoss, kwargs: {"
                         "teacher_module_path: '5'}}, weight: 1.0}")  # fmt: skip
    config.write_text(
        config.read_text().replace("teacher_model: {key: blob_net", "teacher_model: {key: blob_in_a_dict")
    )
    assert any("must return logits of shape (B, C)" in message for message in messages(config, "error"))
