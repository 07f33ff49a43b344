"""Options of `recipe` about images and schedule, and what a folder's images decide."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_plugins.check import check_config
from kd_plugins.cli import main
from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.data.unaugmented import transform_holder, unaugmented
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.data import measured
from kd_plugins.recipes.recipe import sheet_of


def ce(dataset, student="cifar_resnet8", **options):
    return Request("ce", None, student, dataset, **options)


def save(root, splits=("train", "test"), *, size=(24, 30), count=20, classes="ab", suffix="png"):
    """Write a folder of images whose pixels are 51 in one class and 204 in the other; return its name as a data set."""
    for split in splits:
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            image = Image.fromarray(np.full(size, 51 + 153 * number, np.uint8)).convert("RGB")
            for index in range(count):
                image.save(root / split / name / f"{index}.{suffix}", quality=100)
    return f"folder:{root}"


def datasets(text, *, fake=False):
    config = parse_config(text, Path("recipe.yaml"))
    parts = build_config(with_fake_data(config) if fake else config)["datasets"]
    return {name.rpartition("/")[2]: images for name, images in parts.items()}


def test_the_options_are_in_the_command_which_prints_the_same(capsys):
    words = (
        "ce --student cifar_resnet8 --dataset fashion-mnist --size 20 --mean 0.5,0.5,0.25 --std 0.25,0.5,0.5 "
        "--augment none --train-images 500 --val-share 0.2 --split-seed 3 --epochs 9 --batch 20 --lr 0.003"
    )
    assert main(["recipe", *words.split()]) == 0
    text = capsys.readouterr().out
    head = [line for line in text.splitlines() if line.startswith("# ")]
    start = next(number for number, line in enumerate(head) if line.startswith("# Command: "))
    command = shlex.split(" ".join(line.removeprefix("# ") for line in head[start:]))
    assert command[1:] == ["kd-plugins", "recipe", *words.split()]
    assert main(command[2:]) == 0
    assert capsys.readouterr().out == text
    assert "mean: [0.5, 0.5, 0.25], std: [0.25, 0.5, 0.5]" in text
    assert "batch_size: 20" in text
    assert "lr: 0.003" in text
    assert "num_epochs: 9" in text
    assert "milestones: [6, 7, 8]" in text
    assert "Random" not in text[: text.index("models:")]
    found = datasets(text, fake=True)
    assert {name: len(images) for name, images in found.items()} == {"train": 500, "val": 12000, "test": 10000}
    assert found["train"][0][0].shape == (3, 20, 20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--val-share 0", "--val-share must be above 0 and below 1, found 0"),
        ("--val-share 1", "--val-share must be above 0 and below 1, found 1"),
        (
            "--val-share 0.0001",
            "--val-share 0.0001 of 60000 training images are 6, which leaves 59994: each part",
        ),
        ("--train-images 9", "--train-images must be at least 10, one image for each class, found 9"),
        ("--train-images 54001", "--train-images 54001: 60000 training images, of which 6000 validate, leave 54000"),
        ("--train-images 53995", "take 53990 or fewer, or all 54000"),
        ("--mean 0.5,0.5,0.5", "--mean and --std go together: add --std"),
        ("--std 0.5,0.5,0.5", "--mean and --std go together: add --mean"),
        ("--mean 0.5 --std 0.5", "--mean must be three numbers, one a channel, such as 0.5,0.5,0.5, found 0.5"),
        ("--mean 0,0,0 --std 1,1", "--std must be three numbers, one a channel, such as 0.5,0.5,0.5, found 1,1"),
        ("--mean 0,0,0 --std 1,1,0", "--std must be above 0, found 0"),
        ("--mean a,b,c --std 1,1,1", "--mean must be numbers, such as 0.5,0.5,0.5, found 'a,b,c'"),
        ("--size 4", "--size must be a whole number of at least 8, found 4"),
        ("--augment flip", "unknown value of --augment 'flip'; did you mean 'crop-flip'"),
        ("--epochs 0", "--epochs must be a whole number of at least 1, found 0"),
        ("--batch 0", "--batch must be a whole number of at least 1, found 0"),
        ("--lr 0", "--lr must be a number above 0, found 0"),
        ("--lr nan", "--lr must be a number above 0, found nan"),
        ("--dataset digits --size 16", "--size: digits has a preparation of its own; leave the option out"),
        ("--dataset cifar100 --split-seed 1", "--split-seed 1: no images are drawn; add --train-images or --val-share"),
        ("--dataset torchvision:DTD --val-share 0.1", "torchvision's DTD has validation images of its own; leave the"),
        ("--student vit_small --size 64", "--size 64: vit_small takes images of 224x224; leave the option out"),
        ("--student resnet18 --train-images 20 --batch 32", "--batch 32: there are 20 training images; lower it"),
    ],
)
def test_a_mistake_is_one_message(capsys, words, message):
    words = words.split()
    given = [] if "--student" in words else ["--student", "resnet8"]
    given += [] if "--dataset" in words else ["--dataset", "fashion-mnist"]
    assert main(["recipe", "ce", *given, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kd-plugins: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_batch_is_given_once():
    with pytest.raises(ValueError, match="--batch 8 and --option batch=16: give one of them"):
        recipe(Request("kd", "resnet20", "resnet8", batch=8, options=("batch=16",)))


def test_the_papers_sets_change_only_when_an_option_is_given():
    assert "Split" not in recipe(ce("cifar100"))
    text = recipe(ce("cifar100", train_images=5000))
    assert "5,000 others train" in text
    assert "dataset_id: *val" in text
    assert {name: len(part) for name, part in datasets(text, fake=True).items()} == {
        "train": 5000, "val": 5000, "test": 10000,
    }  # fmt: skip
    assert "Resize, init: {kwargs: {size: [16, 16]}}" in recipe(ce("cifar100", size=16))


def test_validation_images_of_the_set_stay():
    text = recipe(ce("torchvision:DTD", train_images=200))
    assert "200 of the 1,880 training images, drawn by class with seed 0, train." in text
    found = datasets(text, fake=True)
    assert (len(found["train"]), len(found["val"])) == (200, 1880)


@pytest.mark.parametrize(("size", "wanted"), [((36, 50), 32), ((70, 90), 64), ((90, 90), 224)])
def test_a_folder_s_images_decide_size_statistics_and_augmentation(tmp_path, size, wanted):
    made = sheet_of(ce(save(tmp_path / "birds", size=size), student="resnet18"))
    assert made.dataset.size_for(made.student) == wanted
    assert made.dataset.augment == ("imagenet" if wanted == 224 else "crop-flip")
    # Half of the pixels are 0.2, the others 0.8.
    assert made.dataset.stats == ((0.5,) * 3, (0.3,) * 3)
    said = " ".join(made.head)
    assert "Mean and standard deviation are those of 40 training images." in said
    assert ("models of any size get" in said) is (wanted < 224)
    assert sheet_of(ce(f"folder:{tmp_path / 'birds'}", size=48)).dataset.loaded == 48


def test_models_of_a_fixed_size_keep_it(tmp_path):
    made = sheet_of(Request("kd", "timm:vit_small_patch16_224", "resnet18", save(tmp_path / "birds")))
    assert made.setting.teacher.image_size == 224
    assert made.setting.student.image_size == 32
    assert made.setting.renormalised is False  # the commands in the head train it on the loader's images
    assert not any("--size" in line for line in made.head)


def test_a_folder_without_validation_images_takes_them_from_train(tmp_path):
    text = recipe(ce(save(tmp_path / "birds")))
    found = datasets(text)
    assert {name: len(part) for name, part in found.items()} == {"train": 36, "val": 4, "test": 40}
    assert not set(found["train"].indices) & set(found["val"].indices)
    assert "RandomCrop" in repr(transform_holder(found["train"]).transform)
    assert "Random" not in repr(transform_holder(found["val"]).transform)
    assert "val_data_loader:\n    dataset_id: *val" in text


def test_a_folder_with_validation_images_keeps_them(tmp_path):
    both = save(tmp_path / "both", ("train", "val", "test"))
    assert {name: len(part) for name, part in datasets(recipe(ce(both))).items()} == dict.fromkeys(
        ("train", "val", "test"), 40
    )
    with pytest.raises(ValueError, match="has validation images of its own"):
        recipe(ce(both, val_share=0.2))
    one = save(tmp_path / "one", ("train", "val"))
    said = " ".join(sheet_of(ce(one)).head)
    assert "The images in val choose the best epoch and are the test images, too" in said
    assert len(datasets(recipe(ce(one, val_share=0.2)))["val"]) == 8


def test_few_images_lend_one_of_every_class(tmp_path):
    few = save(tmp_path / "few", count=3)
    assert len(datasets(recipe(ce(few)))["val"]) == 2
    with pytest.raises(ValueError, match="a class has a single training image"):
        recipe(ce(save(tmp_path / "single", count=1)))


def test_images_that_cannot_be_read_leave_imagenet_s_numbers(tmp_path):
    dataset = save(tmp_path / "birds")
    for path in (tmp_path / "birds" / "train").rglob("*.png"):
        path.write_bytes(b"")
    assert "Mean and standard deviation are ImageNet's, as the images are not at hand." in recipe(ce(dataset))
    assert measured.torchvision_stats("MNIST", str(tmp_path), "MNIST", {"train": True}) is None
    assert not (tmp_path / "MNIST").exists()


def test_images_of_other_kinds_are_measured(tmp_path):
    Image.fromarray(np.full((4, 4), 51 * 257, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((300, 300), 204, np.uint8)).save(tmp_path / "large.jpg")
    for name, mean in (("deep.png", 0.2), ("large.jpg", 0.8)):
        (means, deviations), count = measured.file_stats([str(tmp_path / name)])
        assert means == pytest.approx((mean,) * 3, abs=0.005)
        assert deviations == pytest.approx((0,) * 3, abs=0.01)
        assert count == 1


def test_a_set_of_torchvision_is_measured_where_its_files_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        save(tmp_path / "data" / "imagenette2-160", (split,), classes=("n01440764", "n02102040"), suffix="jpeg")
    text = recipe(ce("torchvision:Imagenette"))
    assert "mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3]" in text
    assert "those of 40 training images" in text


@pytest.mark.parametrize("method", ["kd", "letkd2", "crd", "mlkd"])
@pytest.mark.parametrize("dataset", ["fashion-mnist", "torchvision:EuroSAT", "folder"])
def test_check_finds_nothing_in_a_config_with_parts(tmp_path, method, dataset):
    dataset = save(tmp_path / "birds", count=60) if dataset == "folder" else dataset
    path = tmp_path / "config.yaml"
    request = Request(method, "cifar_resnet20", "cifar_resnet8", dataset, train_images=100, epochs=20)
    path.write_text(recipe(request))
    report = check_config(path, fake_data=True, images=8)
    assert [finding for finding in report.findings if finding.level != "ok"] == []


def test_check_finds_nothing_in_real_parts_of_one_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / "birds" / split / name).mkdir(parents=True)
            for index in range(20):
                image = Image.fromarray(random.integers(0, 255, (32, 32, 3)).astype(np.uint8))
                image.save(tmp_path / "birds" / split / name / f"{index}.png")
    path = tmp_path / "config.yaml"
    path.write_text(recipe(ce("folder:birds", epochs=20)))
    assert [finding for finding in check_config(path, images=8).findings if finding.level != "ok"] == []


def test_the_fit_reads_a_part_without_augmentation(tmp_path):
    found = datasets(recipe(ce(save(tmp_path / "birds"))))
    plain, described = unaugmented(found, "train", "val", place="here")
    assert plain.indices == found["train"].indices
    assert "Random" not in described
    assert "RandomCrop" in repr(transform_holder(found["train"]).transform)
