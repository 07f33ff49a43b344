"""What a run tests, when, and that nothing is tested twice."""

import json

import pytest
import small_configs
import torch

from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training import tests
from kd_plugins.training.train import train

FILE = "teacher_scores.json"
RESULTS = ("val_best", "test_best", "test_last", "teacher", "best_epoch", "teacher_unchanged")


@pytest.fixture
def tested(monkeypatch):
    """Return the list of what is tested."""
    titles, evaluate = [], tests.evaluate

    def recorded(*arguments, title, **keywords):
        titles.append(title)
        return evaluate(*arguments, title=title, **keywords)

    monkeypatch.setattr(tests, "evaluate", recorded)
    return titles


@pytest.fixture
def config(tmp_path):
    """A teacher with weights of its own: they differ from seed to seed otherwise."""
    path = small_configs.write(tmp_path)
    torch.manual_seed(5)
    from kd_plugins.models.cifar import CIFAR_MODELS

    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict(), tmp_path / "teacher.pt")
    known = "cifar_resnet8, kwargs: {num_classes: 10}"
    path.write_text(path.read_text().replace(known, f"{known}, src_ckpt: {tmp_path / 'teacher.pt'}"))
    return path


def results(summary):
    return {name: summary[name] for name in RESULTS}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_teacher_is_tested_once_over_all_runs_of_a_folder(tmp_path, config, tested):
    first = train(config, run_dir=tmp_path / "runs/seed0", device="cpu")
    assert tested.count("teacher") == 1
    second = train(config, run_dir=tmp_path / "runs/seed1", device="cpu", seed=1)
    assert tested.count("teacher") == 1
    assert second["teacher"] == first["teacher"]
    assert first["teacher_unchanged"] is second["teacher_unchanged"] is True


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("range, init: {args: [0, 45]}", "range, init: {args: [1, 46]}"),
        lambda text: text.replace(
            "teacher: {forward_proc: forward_batch_only, requires_grad: False",
            "teacher: {forward_proc: forward_batch_only, requires_grad: False, auxiliary_model_wrapper: {key: "
            "FrozenTeacher, kwargs: {student_mean: [0., 0., 0.], student_std: [1., 1., 1.], mean: [9., 9., 9.], "
            "std: [1., 1., 1.]}}",
        ),
    ],
    ids=["images", "preprocessing"],
)
def test_other_images_or_preprocessing_are_tested_anew(tmp_path, config, tested, change):
    train(config, run_dir=tmp_path / "one", device="cpu")
    changed = change(config.read_text())
    assert changed != config.read_text()
    config.write_text(changed)
    train(config, run_dir=tmp_path / "two", device="cpu")
    assert tested.count("teacher") == 2


def test_a_damaged_file_of_scores_is_replaced(tmp_path, config, tested):
    first = train(config, run_dir=tmp_path / "one", device="cpu")
    sound = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(sound[:-30])
    second = train(config, run_dir=tmp_path / "two", device="cpu")
    assert tested.count("teacher") == 2
    assert second["teacher"] == first["teacher"]
    assert (tmp_path / FILE).read_text() == sound


def test_training_is_the_same_whether_the_scores_are_known(tmp_path, config):
    for name in ("a/one", "a/two"):
        train(config, run_dir=tmp_path / name, device="cpu")
    one, two = (load_state(tmp_path / name) for name in ("a/one", "a/two"))
    assert torch.equal(one["random"][0]["torch"], two["random"][0]["torch"])
    assert torch.equal(one["model"]["head.weight"], two["model"]["head.weight"])


@pytest.mark.parametrize("best", [1, 2])
def test_the_last_epoch_is_tested_once_where_it_is_the_best(tmp_path, config, tested, monkeypatch, best):
    monkeypatch.setattr("kd_plugins.training.trainer._score", lambda line: float(line["epoch"] == best))
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert summary["best_epoch"] == best
    assert tested == ["teacher", "last", *(["best"] if best == 1 else [])]
    assert (summary["test_best"] == summary["test_last"]) or best == 1


def test_tests_during_training_change_nothing(tmp_path, config, tested):
    plain = train(config, run_dir=tmp_path / "plain", device="cpu", overrides=["train.num_epochs=3"])
    tested.clear()
    often = train(config, run_dir=tmp_path / "often", device="cpu", overrides=["train.num_epochs=3"], test_every=1)
    assert tested == ["test"] * 3  # the best and the last epoch are among them
    assert results(often) == results(plain)
    one, two = (load_state(tmp_path / name) for name in ("plain", "often"))
    assert torch.equal(one["model"]["head.weight"], two["model"]["head.weight"])
    assert lines(tmp_path / "often")[-1]["test"] == often["test_last"]
    assert set(lines(tmp_path / "often")[0]) - set(lines(tmp_path / "plain")[0]) == {"test"}


def test_a_run_without_tests_is_tested_later_without_training(tmp_path, config, tested, monkeypatch):
    whole = train(config, run_dir=tmp_path / "whole", device="cpu")
    tested.clear()
    found = train(config, run_dir=tmp_path / "run", device="cpu", test=False)
    assert tested == []
    assert (found["test_best"], found["test_last"], found["teacher"]) == (None, None, None)
    assert found["val_best"] == whole["val_best"] == max(line["val"]["top1"] for line in lines(tmp_path / "run"))
    assert train(config, run_dir=tmp_path / "run", device="cpu", resume=True, test=False) == found
    monkeypatch.setattr("kd_plugins.training.trainer.Trainer._epoch", None)
    later = train(config, run_dir=tmp_path / "run", device="cpu", resume=True)
    assert results(later) == results(whole)
    assert json.loads((tmp_path / "run/summary.json").read_text())["test_best"] == whole["test_best"]


def test_val_best_is_none_without_validation(tmp_path):
    config = small_configs.write(tmp_path, EPOCHS=1, **small_configs.without_teacher())
    text = config.read_text()
    validation = text[text.index("  val_data_loader") : text.index("  model: {forward")]
    test = validation.replace("  val_data_loader: &val", "  test_data_loader:")
    config.write_text(text.replace(validation, "").replace("  test_data_loader: *val\n", test))
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert summary["val_best"] is None
    assert summary["test_best"]["samples"] == 45


@pytest.mark.parametrize("every", [-1, 1.5, True])
def test_test_every_is_a_number_of_epochs(tmp_path, config, every):
    with pytest.raises(ValueError, match="--test-every must be a whole number of at least 0 epochs, found"):
        train(config, run_dir=tmp_path / "run", device="cpu", test_every=every)
