"""Configs whose data and weights are not there."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from kd_plugins._errors import ConfigError
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.data.fake_images import BUFFER, FakeImages

HEAD = """\
dependencies: [kd_plugins]
datasets:
  &train some/train: !import_call
    key: KEY
    init: INIT
models:
  teacher_model: {key: cifar_resnet8, kwargs: {num_classes: 7}, src_ckpt: CHECKPOINT}
  student_model:
    key: timm_model
    kwargs: {model_name: resnet10t, num_classes: &classes 7, pretrained: True, checkpoint: CHECKPOINT}
train:
  train_data_loader: {dataset_id: *train, kwargs: {batch_size: 12}}
  val_data_loader: {dataset_id: *train, kwargs: {batch_size: 20}}
"""


def built(tmp_path, key, init, checkpoint="nowhere.pth"):
    text = HEAD.replace("KEY", key).replace("INIT", init).replace("CHECKPOINT", str(checkpoint))
    return with_fake_data(parse_config(text, tmp_path / "some.yaml")).construct()


def data(*arguments, **keywords):
    return built(*arguments, **keywords)["datasets"]["some/train"]


TO_TENSOR = "!import_call {key: torchvision.transforms.ToTensor}"


@pytest.mark.parametrize(
    ("name", "init", "length", "classes", "shape"),
    [
        ("CIFAR10", "{args: [nowhere, False]}", 10_000, 10, (3, 32, 32)),
        ("CIFAR100", "{kwargs: {root: nowhere, download: True}}", 50_000, 100, (3, 32, 32)),
        ("ImageNet", "{kwargs: {root: nowhere, split: val}}", 50_000, 1000, (3, 375, 500)),
        ("MNIST", "{kwargs: {root: nowhere, train: True}}", 60_000, 10, (1, 28, 28)),
        ("ImageFolder", "{kwargs: {root: nowhere}}", 80, 7, (3, 375, 500)),  # four batches of 20
    ],
)
def test_noise_has_the_real_sets_shape_labels_and_length(tmp_path, name, init, length, classes, shape):
    closing = init.rindex("}}") if "kwargs" in init else init.rindex("}")
    transform = f"transform: {TO_TENSOR}"
    with_transform = f", {transform}" if "kwargs" in init else f", kwargs: {{{transform}}}"
    images = data(tmp_path, f"torchvision.datasets.{name}", init[:closing] + with_transform + init[closing:])
    assert isinstance(images, FakeImages)
    assert len(images) == len(images.targets) == length
    assert len(images.classes) == classes
    assert set(images.targets) == set(range(classes))
    image, label = images[length - 1]
    assert image.shape == shape
    assert label == images.targets[-1]


def test_a_package_and_a_subset_are_seen_through(tmp_path):
    inner = "!import_call {key: CIFAR100, package: torchvision.datasets, init: {kwargs: {root: nowhere}}}"
    indices = "!import_call {key: builtins.range, init: {args: [0, 45000]}}"
    init = f"{{kwargs: {{dataset: {inner}, indices: {indices}}}}}"
    images = data(tmp_path, "torch.utils.data.Subset", init)
    assert isinstance(images, Subset)
    assert isinstance(images.dataset, FakeImages)
    assert images[44_999][0].size == (32, 32)


@pytest.mark.parametrize(
    ("key", "init"),
    [
        ("kd_plugins.data.Digits", "{kwargs: {train: False}}"),
        ("torchvision.datasets.FakeData", "{kwargs: {size: 5}}"),
        ("torch.nn.Identity", "{}"),
    ],
)
def test_what_needs_no_files_stays(tmp_path, key, init):
    assert type(data(tmp_path, key, init)).__name__ == key.rpartition(".")[2]


def test_a_wrong_keyword_of_the_real_set_is_still_an_error_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"line 3, column 22: !import_call failed: .*unexpected keyword.*trian"):
        built(tmp_path, "torchvision.datasets.CIFAR100", "{kwargs: {root: x, trian: True}}")


def test_a_wrong_name_is_left_to_construction(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'CIFAR10'"):
        built(tmp_path, "torchvision.datasets.CIFA10", "{}")


def test_weights_that_are_not_there_are_left_out(tmp_path):
    there = tmp_path / "there.pth"
    there.touch()
    key, init = "torchvision.datasets.CIFAR10", "{args: [nowhere]}"
    for checkpoint, expected in ((there, str(there)), ("nowhere.pth", None), ("https://x.org/w.pth", None)):
        models = built(tmp_path, key, init, checkpoint)["models"]
        assert models["teacher_model"]["src_ckpt"] == expected
        assert models["student_model"]["kwargs"]["checkpoint"] == expected
        assert models["student_model"]["kwargs"]["pretrained"] is False


def test_only_names_of_weights_are_left_out(tmp_path):
    text = HEAD.replace("KEY", "torch.nn.Identity").replace("INIT", "{}").replace("CHECKPOINT", "x")
    text = text.replace("pretrained: True", "weights: DEFAULT, grad_checkpoint: True")
    text = text.replace("kwargs: {num_classes: 7}", "kwargs: {weights: [0.5, 0.5]}")
    models = with_fake_data(parse_config(text, tmp_path / "some.yaml")).construct()["models"]
    assert models["student_model"]["kwargs"]["weights"] is None
    assert models["student_model"]["kwargs"]["grad_checkpoint"] is True
    assert models["teacher_model"]["kwargs"]["weights"] == [0.5, 0.5]


def test_weights_that_a_tag_finds_are_left_out(tmp_path):
    text = HEAD.replace("KEY", "torch.nn.Identity").replace("INIT", "{}").replace("CHECKPOINT", "x")
    found = "    _weights: &weights !import_get {key: torchvision.models.ResNet18_Weights}\n    kwargs: {model_name"
    text = text.replace("    kwargs: {model_name", found).replace(
        "pretrained: True", "weights: !getattr [*weights, IMAGENET1K_V1]"
    )
    models = with_fake_data(parse_config(text, tmp_path / "some.yaml")).construct()["models"]
    assert models["student_model"]["kwargs"]["weights"] is None


def test_transforms_that_are_assigned_later_count():
    images = FakeImages(length=2, height=4, width=4, num_classes=2, transform=lambda image: "first")
    images.transform, images.target_transform = (lambda image: "later"), (lambda label: f"label {label}")
    assert images[0] == ("later", f"label {images.targets[0]}")
    images.transforms = lambda image, label: (image.size, label)
    assert images[0] == ((4, 4), images.targets[0])
    images.transforms = images.transform = images.target_transform = None
    assert images[0][0].size == (4, 4)


def test_a_folder_has_no_more_images_than_a_loss_is_told(tmp_path):
    crd = "{key: CRDLoss, kwargs: {output_size: &images 60, num_samples: *images}}"
    text = HEAD.replace("KEY", "torchvision.datasets.ImageFolder").replace("INIT", "{kwargs: {root: nowhere}}")
    for number, length in ((60, 60), (1_281_167, 80)):
        told = parse_config(text + f"  criterion: {crd.replace('60', str(number))}\n", tmp_path / "some.yaml")
        images = with_fake_data(told).construct()["datasets"]["some/train"]
        assert (len(images), images.real_length) == (length, False)


def test_lines_are_those_of_the_file_and_the_config_given_is_untouched(tmp_path):
    text = HEAD.replace("KEY", "torchvision.datasets.CIFAR10").replace("INIT", "{args: [nowhere]}")
    config = parse_config(text, tmp_path / "some.yaml")
    before = config.canonical()
    fake = with_fake_data(config)
    assert config.canonical() == before
    for path in (("train", "val_data_loader"), ("models", "teacher_model", "src_ckpt")):
        assert fake.where(*path) == config.where(*path)
    # The text is what the nodes say.
    assert parse_config(fake.text, config.path).canonical() == fake.canonical()


def test_images_are_always_the_same_and_differ_from_each_other():
    arguments = {"length": 300, "height": 8, "width": 4, "num_classes": 7}
    torch.manual_seed(1)
    np.random.seed(1)
    first, state = FakeImages(**arguments), torch.get_rng_state()
    np.random.seed(2)
    second = pickle.loads(pickle.dumps(FakeImages(**arguments)))
    assert torch.equal(state, torch.get_rng_state())
    pixels = [np.asarray(image).tobytes() for image, _ in first]
    assert pixels == [np.asarray(image).tobytes() for image, _ in second]
    assert first.targets == second.targets
    assert len(set(pixels)) == 300
    counts = np.bincount(first.targets)
    assert counts.max() - counts.min() <= 1


def test_memory_does_not_grow_with_the_number_of_images():
    images = FakeImages(length=1_281_167, height=375, width=500, num_classes=1000)
    assert images._noise.nbytes <= BUFFER + 375 * 500 * 3
    assert images[-1][1] == images.targets[-1]
    assert np.array_equal(np.asarray(images[-1][0]), np.asarray(images[1_281_166][0]))
    with pytest.raises(IndexError):
        images[1_281_167]


def test_goes_through_a_loader_with_its_transforms():
    images = FakeImages(
        length=6, height=4, width=4, num_classes=3, mode="L",
        transform=lambda image: torch.tensor(np.asarray(image)), target_transform=lambda label: label + 10,
    )  # fmt: skip
    (batch, labels), *rest = DataLoader(images, batch_size=4)
    assert batch.shape == (4, 4, 4)
    assert labels.tolist() == [label + 10 for label in images.targets[:4]]
    assert len(rest) == 1


@pytest.mark.parametrize(("name", "value"), [("length", 0), ("width", 0), ("num_classes", 0), ("mode", "CMYK")])
def test_refuses_a_set_that_cannot_be(name, value):
    arguments = {"length": 4, "height": 8, "width": 8, "num_classes": 2, name: value}
    with pytest.raises(ValueError, match=rf"{name} must be .*, found {value!r}"):
        FakeImages(**arguments)
