"""`--dataset folder:PATH`: what follows from the number of images, and a schedule for all methods of a table."""

import shlex
from pathlib import Path

import folder_configs
import pytest

from kd_plugins.cli import main
from kd_plugins.config.config import parse_config
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.data.few_images import fitting_batch
from kd_plugins.recipes.recipe import sheet_of
from kd_plugins.reports.schedule import first_difference, schedule_of


def own(root, images, *, classes="ab"):
    """Return a data set of empty files, as a recipe reads names only."""
    for split, count in (("train", images), ("val", 2)):
        for number, name in enumerate(classes):
            place = root / split / name
            place.mkdir(parents=True)
            for index in range(number, count, len(classes)):
                (place / f"{index}.png").touch()
    return f"folder:{root}"


def request(method, dataset, **more):
    return Request(method, None if method == "ce" else "resnet34", "resnet18", dataset, **more)


@pytest.mark.parametrize(("images", "batch", "workers"), [(1100, 128, 8), (999, 64, 0), (300, 32, 0), (40, 8, 0)])
def test_batch_and_workers_follow_the_number_of_images(tmp_path, images, batch, workers):
    made = sheet_of(request("kd", own(tmp_path / "birds", images)))
    assert (made.schedule.batch, made.schedule.workers) == (batch, workers)
    assert images // batch >= 5
    text = " ".join(made.head)
    assert ("num_workers is 0" in text) is (workers == 0)
    assert (f"batch_size is {batch}, not 128" in text) is (batch < 128)
    assert "Schedule: heterogeneous_cnn, 300 epochs; nothing of it was tuned on these images." in text
    assert "OFA-KD's scheme" not in text


def test_an_epoch_is_never_empty_where_the_last_batch_is_dropped():
    assert all(images // fitting_batch(128, images) >= 1 for images in range(2, 70))


def test_a_batch_that_is_asked_for_stays(tmp_path):
    assert sheet_of(request("kd", own(tmp_path / "birds", 40), options=("batch=32",))).schedule.batch == 32


def test_as_many_clusters_as_the_positions_allow(tmp_path):
    few, many = own(tmp_path / "few", 40), own(tmp_path / "many", 400)
    made = sheet_of(request("letkd2", few))
    counts = [{**term.kwargs} for term in made.terms]
    # 40 images of 7 x 7 positions: 1960, and 980 of each class.
    assert (counts[0]["num_centres"], counts[1]["subclasses"]) == (256, 8)
    layers = made.setting.student_model["kwargs"]["layers"]
    assert [layer["num_scores"] for layer in layers] == [256, 16]
    assert "num_centres is 256, not 4096" in " ".join(made.head)
    assert sheet_of(request("letkd1", many)).terms[0].kwargs["num_centres"] == 4096
    asked = sheet_of(request("letkd1", few, options=("num_centres=1000",)))
    assert asked.terms[0].kwargs["num_centres"] == 1000


def test_a_folder_with_the_name_of_a_known_data_set_is_none(tmp_path):
    for name in ("digits", "imagenet"):
        made = sheet_of(request("kd", own(tmp_path / name, 40)))
        assert (made.dataset.name, made.dataset.classes) == (f"{name}_folder", 2)
        assert made.checkpoint == f"./checkpoints/resnet34_{name}_folder.pth"


def test_methods_of_one_schedule_are_comparable(tmp_path):
    def found(method, **more):
        pair = (None if method == "ce" else "resnet56", "resnet20")
        text = recipe(Request(method, *pair, "cifar100", **more))
        assert (more and "--schedule cifar_step" in text) or not more
        return schedule_of(parse_config(text, Path("c.yaml")))

    methods = ("kd", "ckd", "lakd", "mlkd", "letkd1", "ce")
    alone = [found(method) for method in methods]
    assert any(first_difference(alone[0], other) for other in alone)
    shared = [found(method, schedule="cifar_step") for method in methods]
    assert [first_difference(shared[0], other) for other in shared] == [None] * len(methods)


@pytest.mark.parametrize(
    ("schedule", "dataset", "message"),
    [
        ("cifar_steps", "cifar100", "unknown schedule 'cifar_steps'; did you mean 'cifar_step'"),
        ("cifar_step", "digits", "--schedule cifar_step: digits has a schedule of its own"),
    ],
)
def test_a_schedule_that_is_none_is_refused(capsys, schedule, dataset, message):
    pair = ("--teacher", "resnet20", "--student", "resnet8")
    assert main(["recipe", "kd", *pair, "--dataset", dataset, "--schedule", schedule]) == 2
    assert message in capsys.readouterr().err


def test_the_commands_in_the_head_train_the_teacher(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        for name in "ab":
            folder_configs.save_class(Path("my birds", split, name))
    text = recipe(Request("kd", "cifar_resnet8", "cifar_resnet8", "folder:my birds"))
    commands = [shlex.split(line[1:]) for line in text.splitlines() if line.startswith("#   kd-plugins ")]
    assert [command[1] for command in commands] == ["recipe", "train"]
    assert main(commands[0][1:]) == 0
    assert main([*commands[1][1:], "--device", "cpu", "--set", "train.num_epochs=1"]) == 0
    (tmp_path / "kd.yaml").write_text(text)
    assert main(["train", "kd.yaml", "--device", "cpu", "--set", "train.num_epochs=1"]) == 0
    assert "teacher: " in capsys.readouterr().out
