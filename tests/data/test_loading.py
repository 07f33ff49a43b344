"""What is said of data that cannot be loaded."""

import multiprocessing

import pytest
from torch.utils.data import DataLoader
from torchvision import transforms

from kd_plugins.data import Digits
from kd_plugins.data.loading import DataError, batches

NORMALIZE = transforms.Normalize([0.3] * 3, [0.3] * 3)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([NORMALIZE, transforms.ToTensor()], r"^sample 0 of Digits cannot be loaded: Normalize\(.*\) fails: TypeError"),
        (
            [transforms.Grayscale(), transforms.Compose([transforms.ToTensor(), NORMALIZE])],
            r"Normalize\(.*\) fails: .* mean and std must have one number per image channel",
        ),
        ([transforms.ToTensor(), transforms.ToTensor()], r"ToTensor\(\) fails: TypeError"),
        ([transforms.CenterCrop(32)], r"^a batch of Digits cannot be loaded: .*add ToTensor"),
    ],
    ids=["order", "mode", "twice", "no tensor"],
)
def test_a_failing_transform_is_named(steps, message):
    data = Digits(train=False, transform=transforms.Compose(steps))
    with pytest.raises(DataError, match=message):
        next(batches(DataLoader(data, batch_size=2)))


def test_an_error_ends_the_worker_processes_at_once():
    data, before = Digits(train=False, transform=NORMALIZE), set(multiprocessing.active_children())
    with pytest.raises(DataError, match="the images are not tensors") as caught:
        next(batches(DataLoader(data, batch_size=2, num_workers=1)))
    assert caught.value.__cause__ is not None
    assert set(multiprocessing.active_children()) <= before
