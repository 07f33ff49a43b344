"""`--dataset torchvision:NAME` and fashion-mnist: every set builds, and its images reach the models in one size."""

import inspect
from pathlib import Path

import pytest
import torchvision

from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.data.datasets import find_dataset
from kd_plugins.recipes.data.torchvision_sets import SETS


def built(dataset, method="ce", teacher=None, student="cifar_resnet8", **options):
    """Return the data sets of a recipe by train, val and test, of noise."""
    text = recipe(Request(method, teacher, student, dataset, **options))
    parts = build_config(with_fake_data(parse_config(text, Path("recipe.yaml"))))
    return {name.rpartition("/")[2]: images for name, images in parts["datasets"].items()}


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_torchvision_makes_a_config(name):
    found = built(f"torchvision:{name}")
    shapes = {tuple(images[0][0].shape) for images in found.values()}
    assert len(shapes) == 1
    (shape,) = shapes
    assert shape[0] == 3
    assert shape[1] == shape[2] == {28: 32}.get(SETS[name].size, SETS[name].size or 32)


@pytest.mark.parametrize("name", SETS)
def test_the_keywords_are_those_of_torchvision(name):
    signature = inspect.signature(getattr(torchvision.datasets, name))
    for part in (SETS[name].train, SETS[name].test, SETS[name].val):
        if part is not None and name not in ("EMNIST",):  # whose signature takes any keyword
            assert not set(part) - set(signature.parameters)


def test_a_set_without_test_images_lends_some():
    dataset = find_dataset("torchvision:EuroSAT")
    train, test = dataset.train, dataset.test
    assert [part[1]["part"] for part in (train, test)] == ["train", "val"]
    assert [part[1]["val_share"] for part in (train, test)] == [0.2, 0.2]
    found = built("torchvision:EuroSAT")
    assert [len(found[name]) for name in ("train", "val", "test")] == [19440, 2160, 5400]
    inner = found["train"].dataset  # what the test images leave
    own, chosen = ({inner.indices[index] for index in found[name].indices} for name in ("train", "val"))
    assert not own & chosen
    assert not (own | chosen) & set(found["test"].indices)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PCAM", "pip install h5py gdown"),
        ("StanfordCars", "put the folders cars_train, cars_test and devkit, and cars_test_annos_withlabels.mat into "
         "./data/stanford_cars"),
        ("FER2013", "put fer2013.csv from Kaggle into ./data/fer2013"),
    ],
)  # fmt: skip
def test_what_is_not_downloaded_is_named(name, said):
    text = recipe(Request("ce", None, "cifar_resnet8", f"torchvision:{name}"))
    assert said in text.replace("\n# ", " ")
    assert ("download: True" in text) is (name == "PCAM")


def test_letters_and_digits_are_not_mirrored():
    for name in ("MNIST", "SVHN"):
        text = recipe(Request("mlkd", "resnet20", "resnet8", f"torchvision:{name}"))
        assert "Flip" not in text
        assert "AutoAugment," not in text
        assert "RandomAffine" in text
    assert "RandomHorizontalFlip" in recipe(
        Request("ce", None, "resnet8", "torchvision:KMNIST".replace("K", "Fashion"))
    )


def test_both_views_of_a_grey_set_have_three_channels():
    text = recipe(Request("mlkd", "resnet20", "resnet8", "torchvision:FashionMNIST"))
    strong = text[text.index("strong:") :]
    assert [name in strong for name in ("*grey", "*pad", "*crop", "*flip")] == [True] * 4


def test_a_known_name_of_torchvision_does_not_select_the_papers_files():
    assert find_dataset("torchvision:CIFAR10").name == "cifar10_torchvision"


def test_the_nearest_name_is_named():
    with pytest.raises(ValueError, match="unknown classification set of torchvision 'FasionMNIST'; did you mean 'Fash"):
        find_dataset("torchvision:FasionMNIST")


def test_fashion_mnist_has_a_name_of_its_own():
    dataset = find_dataset("fashion-mnist")
    assert (dataset.title, dataset.classes) == ("Fashion-MNIST", 10)
    assert dataset.train == ("kd_plugins.data.FashionMNIST", {"root": "./data", "train": True, "download": True})
    found = built("fashion-mnist")
    assert tuple(found["train"][0][0].shape) == (3, 32, 32)
    assert "mean: [0.286, 0.286, 0.286], std: [0.353, 0.353, 0.353]" in recipe(
        Request("ce", None, "resnet8", "fashion-mnist")
    )
