import pickle

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import FakeData

from kd_plugins.data import Digits, TwoViews, collate_two_views

TO_TENSOR = transforms.ToTensor()


def negative(image):
    return 1 - TO_TENSOR(image)


def test_both_views_are_of_one_image_and_the_data_set_is_left_alone():
    digits = Digits(train=False, transform=TO_TENSOR)
    two = TwoViews(digits, strong=negative)
    (weak, strong), label, supplement = two[7]
    assert torch.equal(weak, digits[7][0])
    assert torch.equal(strong, 1 - weak)
    assert label == digits[7][1]
    assert supplement == {}
    assert len(two) == len(digits)
    assert two.raw.data is digits.data
    assert digits.transform is TO_TENSOR


def test_a_weak_augmentation_of_its_own():
    two = TwoViews(Digits(train=False), strong=negative, weak=TO_TENSOR)
    (weak, strong), *_ = two[0]
    assert torch.equal(strong, 1 - weak)


@pytest.mark.parametrize("target_transform", [None, lambda label: label + 100])
def test_subsets_and_target_transforms(target_transform):
    digits = FakeData(8, (3, 6, 6), transform=TO_TENSOR, target_transform=target_transform)
    subset = Subset(Subset(digits, range(1, 8)), [5, 2])
    two = TwoViews(subset, strong=negative)
    assert len(two) == 2
    for i in range(2):
        (weak, strong), label, _ = two[i]
        assert torch.equal(weak, subset[i][0])
        assert torch.equal(strong, 1 - weak)
        assert label == subset[i][1]
    assert digits.transform is TO_TENSOR


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_holds_the_weak_views_then_the_strong_ones(workers):
    digits = Digits(train=False, transform=TO_TENSOR)
    loader = DataLoader(
        TwoViews(digits, strong=negative), batch_size=3, collate_fn=collate_two_views, num_workers=workers
    )
    images, labels, supplement = next(iter(loader))
    assert images.shape == (6, 3, 32, 32)
    assert torch.equal(images[3:], 1 - images[:3])
    assert torch.equal(images[1], digits[1][0])
    assert labels.tolist() == [digits[i][1] for i in (0, 1, 2)] * 2
    assert supplement == {}


def test_can_be_sent_to_workers():
    two = pickle.loads(pickle.dumps(TwoViews(Digits(train=False, transform=TO_TENSOR), strong=negative)))
    assert torch.equal(two[0][0][1], 1 - two[0][0][0])


def test_refuses():
    with pytest.raises(ValueError, match="with a transform attribute, as torchvision's have, found TensorDataset"):
        TwoViews(TensorDataset(torch.zeros(2)), strong=negative)
    with pytest.raises(ValueError, match="a weak augmentation: set the data set's transform, or weak of TwoViews"):
        TwoViews(Digits(train=False), strong=negative)
    with pytest.raises(ValueError, match="strong of TwoViews must be callable on an image, found 'RandAugment'"):
        TwoViews(Digits(train=False, transform=TO_TENSOR), strong="RandAugment")
    with pytest.raises(ValueError, match=r"needs samples of two views; add dataset_wrapper: \{key: TwoViews"):
        collate_two_views([(torch.zeros(3, 2, 2), 1, {})])
    small, large = torch.zeros(3, 2, 2), torch.zeros(3, 4, 4)
    with pytest.raises(ValueError, match=r"must have the same shape, found \(3, 2, 2\) and \(3, 4, 4\)"):
        collate_two_views([((small, large), 1, {})])
