import pickle
import random

import numpy as np
import pytest
import torch
from torchvision import transforms

from kd_plugins.data import Digits
from kd_plugins.data.digits import MEAN, STD


@pytest.fixture(scope="module")
def train():
    return Digits()


@pytest.fixture(scope="module")
def test():
    return Digits(train=False)


def test_sizes_and_names(train, test):
    assert (len(train), len(test)) == (1437, 360)
    assert train.classes == list("0123456789")
    assert train.class_to_idx["7"] == 7
    assert train.data.shape == (1437, 32, 32, 3)
    assert train.data.dtype == np.uint8
    assert all(type(label) is int for label in train.targets)


def test_item_is_an_image_and_its_label(train):
    image, label = train[3]
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert np.array_equal(np.asarray(image), train.data[3])
    assert label == train.targets[3]


def test_images_show_the_originals(test):
    """Averaging 4x4 pixels undoes the enlargement, up to what the interpolation smooths away."""
    from sklearn.datasets import load_digits

    originals = load_digits().images / 16
    shrunk = test.data[..., 0].reshape(360, 8, 4, 8, 4).mean((2, 4)) / 255
    distance = np.abs(shrunk[:, None] - originals[None]).mean((2, 3))
    closest = distance.argmin(1)
    assert (load_digits().target[closest] == test.targets).all()
    assert distance.min(1).max() < 0.1
    assert len(set(closest)) == 360


def test_split_is_disjoint_and_keeps_class_shares(train, test):
    seen = {image.tobytes() for image in train.data}
    assert not any(image.tobytes() in seen for image in test.data)
    shares = np.bincount(train.targets) / np.bincount(train.targets + test.targets)
    assert np.abs(shares - 0.8).max() < 0.005


def test_split_ignores_global_random_state(train):
    np.random.seed(3)
    random.seed(3)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert np.array_equal(Digits().data, train.data)
    assert torch.equal(torch.get_rng_state(), state)


def test_mean_and_std_are_those_of_the_training_images(train):
    pixels = train.data / 255
    assert pixels.mean((0, 1, 2)) == pytest.approx(MEAN, abs=1e-3)
    assert pixels.std((0, 1, 2)) == pytest.approx(STD, abs=1e-3)


def test_transforms_are_applied_and_shown():
    digits = Digits(transform=transforms.ToTensor(), target_transform=lambda label: label + 100)
    image, label = digits[0]
    assert image.shape == (3, 32, 32)
    assert label == digits.targets[0] + 100
    shown = repr(digits)
    assert shown.startswith("Dataset Digits\n    Number of datapoints: 1437\n    Split: Train")
    assert "ToTensor()" in shown


def test_survives_pickling(test):
    copy = pickle.loads(pickle.dumps(test))
    assert np.array_equal(np.asarray(copy[5][0]), np.asarray(test[5][0]))


def test_batches_come_from_worker_free_loader(test):
    test.transform = transforms.ToTensor()
    images, labels = next(iter(torch.utils.data.DataLoader(test, batch_size=4)))
    assert images.shape == (4, 3, 32, 32)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("train", ["test", 1, None])
def test_train_must_be_a_bool(train):
    with pytest.raises(ValueError, match="train must be True or False, found"):
        Digits(train=train)


def test_index_past_the_end_ends_iteration(test):
    with pytest.raises(IndexError):
        test[360]
