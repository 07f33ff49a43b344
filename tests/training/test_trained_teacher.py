"""A teacher that a config trains, whole or in part."""

import blobs
import pytest
import torch

from kd_plugins import check
from kd_plugins._errors import ConfigError
from kd_plugins.config.config import read_config
from kd_plugins.runtime.distributed import Processes
from kd_plugins.training.run_folder import Options, RunFolder
from kd_plugins.training.train import train
from kd_plugins.training.trainer import TeacherChangedError, Trainer

CONV, NORM, HEAD = "0", "1", "5"
PARTLY = f"{{forward_proc: forward_batch_only, requires_grad: True, frozen_modules: ['{CONV}', '{NORM}']}}"
TEACHER_CE = (
    "{criterion: {key: CrossEntropyLoss, kwargs: {}}, criterion_wrapper: {key: SimpleLossWrapper, kwargs: {"
    "input: {is_from_teacher: True, module_path: '.', io: output}, target: {uses_label: True}}}, weight: 1.0}"
)
"""A loss term that trains what of the teacher is not frozen."""

NO_STUDENT = "{forward_proc: forward_batch_only, requires_grad: False}"


def trainer(config, folder):
    folder.mkdir()
    options = Options(seed=0, amp="no", world_size=1)
    return Trainer(read_config(config), RunFolder(folder), options, Processes(0, 1, torch.device("cpu")))


def state(model, *parts):
    return {n: t.clone() for n, t in model.state_dict().items() if n.split(".")[0] in parts}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("process", ["kd_pre_epoch", "default_pre_epoch_process_with_teacher"])
def test_the_frozen_part_stays_and_the_rest_is_trained(tmp_path, process, caplog):
    config = blobs.write(tmp_path, TEACHER=PARTLY, TERM=TEACHER_CE)
    config.write_text(config.read_text().replace("kd_pre_epoch", process))
    made = trainer(config, tmp_path / "run")
    frozen, head = state(made.teacher, CONV, NORM), state(made.teacher, HEAD)
    assert made.fit()["teacher_unchanged"] is True
    assert same(frozen, state(made.teacher, CONV, NORM))
    assert not same(head, state(made.teacher, HEAD))
    assert "so it is trained with the student" not in caplog.text


def test_a_part_is_trained_in_one_stage_and_teaches_in_the_next(tmp_path):
    first = {"TEACHER": PARTLY, "TERM": TEACHER_CE, "STUDENT_SIDE": NO_STUDENT}
    config = blobs.write_two_stages(tmp_path, first, {})
    made = trainer(config, tmp_path / "run")
    before = state(made.teacher, CONV, NORM, HEAD)
    assert made.fit()["teacher_unchanged"] is True
    after = state(made.teacher, CONV, NORM, HEAD)
    assert same({n: before[n] for n in before if not n.startswith(HEAD)}, after)
    assert not torch.equal(before[f"{HEAD}.weight"], after[f"{HEAD}.weight"])


def test_a_stage_that_changes_its_frozen_part_stops_the_training_there(tmp_path, monkeypatch):
    config = blobs.write_two_stages(tmp_path, {}, {})
    made = trainer(config, tmp_path / "run")
    original = made._train_batches

    def spoil(epoch):
        original(epoch)
        made.teacher[1].running_mean.add_(1e-3)

    monkeypatch.setattr(made, "_train_batches", spoil)
    with pytest.raises(TeacherChangedError, match="changed during stage1"):
        made.fit()
    assert made.progress.epoch == 1


def test_a_resumed_run_has_the_trained_part_too(tmp_path, monkeypatch):
    config = blobs.write(tmp_path, TEACHER=PARTLY, TERM=TEACHER_CE)
    config.write_text(config.read_text().replace("num_epochs: 1", "num_epochs: 3"))
    whole = train(config, run_dir=tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finish", lambda _self: {})
        made = trainer(config, tmp_path / "cut")
        made.box.num_epochs = 1
        made.fit()
    cut = train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert cut["teacher"] == whole["teacher"]
    assert cut["test_last"] == whole["test_last"]


def test_a_part_of_the_teacher_is_trained_in_one_process_only(tmp_path):
    config = blobs.write(tmp_path, TEACHER=PARTLY, TERM=TEACHER_CE)
    made = trainer(config, tmp_path / "run")
    made.procs = Processes(0, 2, torch.device("cpu"))
    with pytest.raises(ConfigError, match="trains a part of the teacher, which is supported in one process"):
        made._wrap_student()


def findings(config, level):
    return [f.message for f in check.check_config(config).findings if f.level == level]


def test_the_check_takes_partly_frozen_teachers_and_stages_without_a_student(tmp_path):
    assert findings(blobs.write(tmp_path, TEACHER=PARTLY, TERM=TEACHER_CE), "error") == []
    first = {"TEACHER": PARTLY, "TERM": TEACHER_CE, "STUDENT_SIDE": NO_STUDENT}
    config = blobs.write_two_stages(tmp_path, first, {})
    errors = findings(config, "error")
    assert errors == ["the term has no gradient: it does not depend on the student"]  # the first stage's ce


def test_the_check_finds_a_frozen_part_in_training_mode(tmp_path):
    config = blobs.write(tmp_path, TEACHER=PARTLY, TERM=TEACHER_CE)
    config.write_text(config.read_text().replace("  pre_epoch_process: kd_pre_epoch\n", ""))
    errors = findings(config, "error")
    assert len(errors) == 1
    assert f"the frozen teacher is in training mode ('{NORM}')" in errors[0]


@pytest.mark.parametrize(
    ("said", "level", "message"),
    [
        ("", "error", "the teacher is not frozen: add requires_grad: False"),
        (", requires_grad: True", "warning", "the whole teacher is trained together with the student"),
    ],
)
def test_a_teacher_that_is_trained_whole_is_remarked_on(tmp_path, said, level, message):
    found = findings(blobs.write(tmp_path, TEACHER=f"{{forward_proc: forward_batch_only{said}}}"), level)
    assert any(message in one for one in found)
