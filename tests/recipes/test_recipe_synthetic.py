"""Configs that train on a folder of synthetic images and validate on real ones."""

import pytest
import torch
from synthetic_folders import write_folder, write_shard
from torchvision.transforms.functional import normalize

from kd_plugins.cli import main
from kd_plugins.config.build import build_config
from kd_plugins.config.config import read_config
from kd_plugins.methods import METHODS
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.recipes import Request, recipe, reported
from kd_plugins.recipes.recipe import sheet_of

DIGITS, CIFAR10 = {"real": {"dataset": "digits"}}, {"real": {"dataset": "cifar10"}}
ON_FEATURES = (
    "at", "cat", "cc", "crd", "fitnet", "lakd", "letkd1", "letkd2", "mgd", "pkt", "reviewkd", "rkd", "sp", "vid",
)  # fmt: skip
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def request(method="sfkd", folder="di", **more):
    several = method in METHODS and METHODS[method].teachers
    return Request(method, "vgg11,vgg8" if several else "vgg11", "cifar_resnet18", f"synthetic:{folder}", **more)


def section(text, name):
    """Return the lines of a data set."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"  &{name} "))
    end = next(n for n, line in enumerate(lines[start + 1 :], start + 1) if not line.startswith("    "))
    return "\n".join(lines[start:end])


def test_the_config_has_the_distillation_term_alone_and_the_images_of_both_kinds():
    write_folder("di", size=(32, 32), options={"flip": True}, teacher={"architecture": "cifar_vgg11"}, **CIFAR10)
    text = recipe(request())
    made = sheet_of(request())
    assert [(term.criterion, term.kwargs, term.weight) for term in made.terms] == [
        ("SFKDLoss", {"keep": 0.7, "temperature": 4.0}, 1.0)
    ]
    assert "CrossEntropyLoss" not in text
    assert "# No cross-entropy: a label is what the optimisation aimed at, not what an image shows." in text
    train, test = section(text, "train"), section(text, "test")
    assert "key: kd_plugins.data.SyntheticImages" in train
    assert "root: di" in train
    assert "RandomCrop, init: {kwargs: {size: 32, padding: 4}}" in train
    assert "RandomHorizontalFlip" in train
    assert "mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.1]" in train
    assert "key: torchvision.datasets.CIFAR10" in test
    assert "init: {args: [[*to_tensor, *normalize]]}" in test
    assert "&val cifar10" not in text
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0] == "# VGG-11 -> ResNet-18 on 12 synthetic images by SFKD, logit form."
    assert "made from cifar_vgg11, train; validation is on CIFAR-10." in " ".join(head)
    assert "src_ckpt: ./checkpoints/vgg11_cifar10.pth" in text
    optimizer = "{key: SGD, kwargs: {lr: 0.1, momentum: 0.9, weight_decay: 0.0005}}"
    assert f"  optimizer: {optimizer}\n  scheduler: {{key: CosineAnnealingLR, kwargs: {{T_max: 200}}}}" in text
    assert "# Command: kd-plugins recipe sfkd --teacher vgg11 --student cifar_resnet18 --dataset synthetic:di" in text


def test_the_batch_of_the_schedule_is_that_of_many_images():
    write_folder("di", batch=2048, shards=(0,), size=(2, 2), **CIFAR10)
    made = sheet_of(request("ckd"))
    assert (made.schedule.batch, made.schedule.epochs, made.schedule.lr, made.ce) == (256, 200, 0.1, 0.0)
    assert "those of CMI's public code" in made.schedule.source
    assert sheet_of(request("kd", options=("ce=0.1", "batch=32"))).ce == 0.1


def test_digits_choose_the_best_epoch_on_images_of_their_own_and_nothing_is_mirrored():
    write_folder("di", size=(32, 32), images=100, **DIGITS)
    text = recipe(request("kd", options=("temperature=2",)))
    assert "Flip" not in text
    assert "indices: !import_call {key: builtins.range, init: {args: [1200, 1437]}}" in section(text, "val")
    assert "kwargs:\n        train: False" in section(text, "test")
    assert "# di has 12 of 100 images: `kd-plugins synthesize` with --out di computes the others." in text
    assert "criterion: {key: SoftTargetLoss, kwargs: {temperature: 2.0}}\n          weight: 1.0" in text
    assert "src_ckpt: runs/vgg11/seed0/best.pt" in text


def test_real_images_of_another_size_and_grey_ones_are_made_alike():
    write_folder("di", size=(32, 32), real={"dataset": "torchvision:MNIST"})
    text = recipe(request("kd"))
    assert "Grayscale" not in section(text, "train")
    test = section(text, "test")
    assert "Grayscale" in test
    assert "Pad, init: {kwargs: {padding: 2}}" in test


@pytest.mark.parametrize(
    ("pair", "kd", "sfkd"),
    [
        ("vgg11>vgg11", 84.16, 85.24),
        ("vgg11>cifar_resnet18", 83.82, 84.86),
        ("cifar_resnet34>cifar_resnet18", 91.43, 91.82),
    ],
)
def test_the_rows_of_table_8(pair, kd, sfkd):
    write_folder("di", size=(32, 32), **CIFAR10)
    teacher, student = pair.split(">")
    for method, options, accuracy in (("kd", (), kd), ("sfkd", (), sfkd), ("sfkd", ("keep=0.7",), sfkd)):
        text = recipe(Request(method, teacher, student, "synthetic:di", options=options))
        assert f"# Reported: {accuracy:.2f} (SFKD, Table 8)" in text
    assert "# Reported" not in recipe(Request("sfkd", teacher, student, "synthetic:di", options=("keep=0.5",)))
    assert reported("ce", teacher, student, "cifar10")[0].accuracy == {"vgg11": 92.25}.get(student, 95.20)


def test_every_method_is_printed_or_refused_in_one_sentence():
    write_folder("di", size=(32, 32), **CIFAR10)
    for method in METHODS:
        if method in ON_FEATURES:
            message = f"^{method} leaves the student's classifier to the cross-entropy, and .*as in {method}[+]kd$"
            with pytest.raises(ValueError, match=message):
                recipe(request(method))
        name = f"{method}+kd" if method in ON_FEATURES else method
        assert "CrossEntropyLoss" not in recipe(request(name))
    for method in ("dkd", "nkd", "supcon", "letkd2+kd"):
        assert "takes the labels that the optimisation aimed at for true ones." in " ".join(
            sheet_of(request(method)).head
        )
    both = sheet_of(request("dkd_sfkd"))
    assert both.terms[0].wrapper == {"key": "SalientFeatureMask", "kwargs": {"keep": 0.7}}
    assert "K: that of SFKD's Table 8 (under review) for KD." in both.head


def test_the_real_images_are_those_of_the_option_of_the_folder_or_cifar10():
    write_folder("di", size=(32, 32), **DIGITS)
    assert sheet_of(request(real="fashion-mnist")).dataset.real.name == "fashion-mnist"
    assert "--dataset synthetic:di --real fashion-mnist" in recipe(request(real="fashion-mnist"))
    write_folder("di", size=(32, 32))
    made = sheet_of(request())
    assert made.dataset.real.name == "cifar10"
    assert "The folder does not name the real images: CIFAR-10, unless --real names others." in made.head


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(folder="nowhere"), "there is no folder 'nowhere' of synthetic images: write it with"),
        (request(folder="empty"), "empty has no shard, such as shard-00000.safetensors"),
        (request(folder=""), "synthetic:DIR needs the folder of `kd-plugins synthesize`"),
        (request(folder="small"), "small has images of 8x8 in 10 classes and does not name .* add --real"),
        (request(folder="small", real="cifar100"), "small has 10 classes, CIFAR-100 has 100: name the teacher's"),
        (request(folder="small", real="synthetic:di"), "must be a data set such as cifar10, found 'synthetic:di'"),
        (request(folder="wide", real="cifar10"), "recipe writes configs for square images, found 8x9"),
        (request(folder="small", val_share=0.1), "--val-share 0.1: real images validate, not synthetic ones"),
        (request(folder="bare"), "bare does not tell the teacher's normalisation: add --mean V,V,V --std V,V,V"),
        (Request("ce", None, "vgg8", "synthetic:bare", mean=MEAN, std=STD), "ce trains by labels, which synth"),
        (Request("kd", "vgg13", "vgg8", real="digits"), "--real digits goes with --dataset synthetic:DIR, found"),
    ],
)  # fmt: skip
def test_errors(asked, message, tmp_path):
    (tmp_path / "empty").mkdir()
    write_folder("small")
    write_folder("wide", size=(8, 9))
    (tmp_path / "bare").mkdir()
    write_shard("bare", 0, size=(32, 32))
    with pytest.raises(ValueError, match=message):
        recipe(asked)


def test_a_missing_folder_is_one_line_of_the_command(capsys):
    words = ["recipe", "kd", "--teacher", "vgg13", "--student", "vgg8", "--dataset", "synthetic:nowhere"]
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("kd-plugins: error: there is no folder 'nowhere'")


def test_check_train_and_report_of_a_config_on_digits(tmp_path, capsys):
    """The images are noise in which a random teacher sees what their labels say, as after an optimisation."""
    torch.manual_seed(0)
    teacher = CIFAR_MODELS["cifar_resnet8"](num_classes=10).eval()
    (tmp_path / "runs/cifar_resnet8/seed0").mkdir(parents=True)
    torch.save(teacher.state_dict(), "runs/cifar_resnet8/seed0/best.pt")
    (shard,) = write_folder("di", shards=(0,), batch=32, size=(32, 32), names=list("0123456789"), **DIGITS)
    with torch.no_grad():
        logits = teacher(normalize(shard["images"].permute(0, 3, 1, 2) / 255, MEAN, STD))
    write_shard("di", 0, batch=32, size=(32, 32), labels=logits.argmax(1), logits=logits)
    words = ["--teacher", "resnet8", "--student", "resnet8", "--dataset", "synthetic:di", "--epochs", "1"]
    assert main(["recipe", "sfkd", *words, "--augment", "none", "--option", "keep=0.6", "--out", "s.yaml"]) == 0
    built = build_config(read_config("s.yaml"))
    assert [len(data) for data in built["datasets"].values()] == [32, 237, 360]
    capsys.readouterr()
    assert main(["check", "s.yaml"]) == 0
    assert "s.yaml: 0 errors, 0 warnings" in capsys.readouterr().out
    assert main(["train", "s.yaml", "--run-dir", "runs/s"]) == 0
    assert main(["report", "runs/s"]) == 0
    assert "s.yaml" in capsys.readouterr().out


def test_check_does_not_ask_whether_a_teacher_recognises_noise(capsys, tmp_path):
    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict(), "t.pt")
    write_folder("di", shards=(0,), batch=32, size=(32, 32), names=list("0123456789"), options={"steps": 0}, **DIGITS)
    text = recipe(Request("kd", "resnet8", "resnet8", "synthetic:di", checkpoint="t.pt"))
    (tmp_path / "n.yaml").write_text(text)
    assert main(["check", "n.yaml"]) == 0
    assert "no better than chance" not in capsys.readouterr().out
