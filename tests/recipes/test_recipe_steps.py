"""Recipes beside the committed ones build, and take a step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd_plugins.config.build import build_box, build_config, build_model
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.fitting.sample import sample_statistics
from kd_plugins.host.boxes.processes import complete_pre_epoch
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.data.folder import read_folder
from kd_plugins.runtime.distributed import Processes

ON_ONE_CPU = Processes(0, 1, torch.device("cpu"))
LIGHT = ("batch_size=2", "num_workers=0", "pin_memory=False")
SMALL = [f"train.{side}_data_loader.kwargs.{item}" for side in ("train", "val") for item in LIGHT]


def take_step(text, *, fake=True):
    """Build a config and return the loss of one step, after its backward pass."""
    config = parse_config(text, Path("recipe.yaml"), SMALL)
    config = with_fake_data(config) if fake else config
    parts = build_config(config)
    models = [
        build_model(config, name, parts["models"][name], ON_ONE_CPU) for name in ("teacher_model", "student_model")
    ]
    statistics = sample_statistics(config, parts, models[0], ON_ONE_CPU)
    box = build_box(config, parts, *models, ON_ONE_CPU, seed=0)
    complete_pre_epoch(box, 0)
    statistics.cleanup()
    loss = box.forward_process(*next(iter(box.train_data_loader)))
    loss.backward()
    gradients = [p.grad for p in models[1].parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    return loss.detach()


@pytest.mark.parametrize("method", ["fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "simkd", "reviewkd", "cat"])
@pytest.mark.parametrize("mask", ["", "_sfkd"])
def test_features_of_tokens(method, mask):
    assert take_step(recipe(Request(method + mask, "vit", "resnet8", "digits"))).isfinite()


@pytest.mark.parametrize("method", ["fitnet_sfkd", "at", "sp+kd", "vid", "crd", "simkd", "reviewkd_sfkd+kd", "lakd"])
def test_features_of_pairs_whose_stages_differ(method):
    assert take_step(recipe(Request(method, "wrn_16_2", "shufflenetv1"))).isfinite()


@pytest.mark.parametrize(
    ("teacher", "student"), [("wrn_16_2", "shufflenetv1"), ("resnet8x4", "mobilenetv2"), ("deit_tiny", "resnet8")]
)
def test_clusters_of_pairs_whose_maps_differ(teacher, student):
    for method in ("letkd1", "letkd2+kd"):
        assert take_step(recipe(Request(method, teacher, student))).isfinite()


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("wrn_16_2", "mobilenetv2"),
        ("resnet8x4", "mobilenetv2"),
        ("vgg13", "mobilenetv2"),
        ("vgg13", "wrn_16_2"),
        ("resnet50", "wrn_16_2"),
        ("resnet50", "shufflenetv1"),
        ("resnet50", "vgg8"),
    ],
)
def test_local_learning_of_pairs_with_other_numbers_of_stages(teacher, student):
    assert take_step(recipe(Request("lakd", teacher, student))).isfinite()


@pytest.mark.parametrize(
    ("teacher", "student", "dataset"),
    [
        ("vgg13", "vgg8", "cifar100"),
        ("vgg13", "wrn_16_2", "cifar100"),
        ("vgg13", "mobilenetv2", "cifar100"),
        ("vgg13", "vgg8", "tiny-imagenet"),
    ],
)
def test_clusters_inside_a_vgg(teacher, student, dataset):
    assert take_step(recipe(Request("letkd2", teacher, student, dataset))).isfinite()


def test_vid_pools_the_teacher_s_larger_maps():
    assert "key: PooledVIDLoss" in recipe(Request("vid", "vgg13", "mobilenetv2"))
    assert "PooledVIDLoss" not in recipe(Request("vid", "resnet56", "resnet20"))


@pytest.mark.parametrize("method", ["vid", "reviewkd"])
def test_a_vgg_on_large_images(method):
    assert take_step(recipe(Request(method, "vgg8", "mobilenetv2", "tiny-imagenet"))).isfinite()


def test_layers_of_one_student_are_built_once():
    with pytest.raises(ValueError, match="letKD-1 and a method that builds the student in its own way cannot be added"):
        recipe(Request("simkd+letkd1", "resnet32x4", "resnet8x4"))


@pytest.mark.parametrize(
    ("dataset", "teacher", "student"),
    [
        ("cifar10", "wrn_16_2", "wrn_16_1"),
        ("tiny-imagenet", "resnet14", "resnet8"),
        ("cub200", "resnet14", "resnet8"),
        ("imagenet", "resnet18", "mobilenetv1"),
        ("cifar100", "deit_tiny", "mobilenetv2"),
        ("cifar100", "resnet8", "timm:resnet18"),
    ],
)
def test_every_data_set(dataset, teacher, student):
    for method in ("kd", "fitnet"):
        assert take_step(recipe(Request(method, teacher, student, dataset))).isfinite()


@pytest.mark.parametrize("method", ["aekd_sfkd", "aekd_f", "aekd_f_sfkd", "average"])
def test_several_teachers_on_their_own_normalisation_and_size(method):
    text = recipe(Request(method, "resnet8,deit_tiny", "resnet8"))
    assert "student_mean: *mean" in text
    assert "input_size: 224" in text
    assert take_step(text).isfinite()


@pytest.fixture
def folder(tmp_path):
    for split, names in (("train", "ab"), ("val", "ab"), ("test", "ab")):
        for value, name in enumerate(names):
            place = tmp_path / "birds" / split / name
            place.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((40, 50, 3), 90 * value + number, np.uint8)).save(place / f"{number}.png")
    return tmp_path / "birds"


def test_own_images(folder):
    text = recipe(Request("kd", "cifar_resnet14", "cifar_resnet8", f"folder:{folder}"))
    assert "num_classes: 2" in text
    assert "dataset_id: *val" in text  # the test images choose nothing
    config = parse_config(text, Path("recipe.yaml"))
    found = build_config(config)["datasets"]
    assert {name: len(images) for name, images in found.items()} == {
        "birds/train": 4,
        "birds/val": 4,
        "birds/test": 4,
    }
    without = text.replace("src_ckpt: ./checkpoints/resnet14_birds.pth", "src_ckpt:")
    assert take_step(without, fake=False).isfinite()


def test_folders_of_programs_are_no_classes_and_are_named(folder):
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "val" / "@eaDir").mkdir()
    (folder / "train" / "a" / "._0.png").write_bytes(b"")
    found = read_folder(str(folder))
    assert (found.classes, len(found.paths), found.stray) == (2, 4, ("train/.ipynb_checkpoints", "val/@eaDir"))
    text = recipe(Request("kd", "resnet50", "resnet18", f"folder:{folder}"))
    assert "Delete train/.ipynb_checkpoints, val/@eaDir first" in text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: (f / "train").rename(f / "training"),
            r"has no folder train \(found test, training, val; is 'traini",
        ),
        (lambda f: [(f / s).rename(f.parent / s) for s in ("val", "test")], "has train and neither val nor test"),
        (lambda f: (f / "val" / "b").rename(f / "val" / "c"), "train and val must have the same classes, but b, c are"),
        (lambda f: [p.unlink() for p in (f / "test" / "a").iterdir()], "test/a has no image"),
        (lambda f: [(f / s / "b").rename(f.parent / s) for s in ("train", "val", "test")], "has one class, a"),
        (lambda f: (f / "train").rename(f / "x") and (f / "train").mkdir(), "train has no folder a class"),
    ],
)
def test_a_folder_of_another_layout_says_what_is_missing(folder, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message):
        recipe(Request("kd", "resnet50", "resnet18", f"folder:{folder}"))


def test_a_part_of_a_data_set_has_no_labels_for_crd():
    with pytest.raises(ValueError, match="crd needs the labels of the whole training set"):
        recipe(Request("crd", "vit", "resnet8", "digits"))
