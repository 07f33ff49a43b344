import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from kd_plugins.data import Split
from kd_plugins.data.inside import base_datasets


class Labelled(TensorDataset):
    """``counts[c]`` samples of class c."""

    def __init__(self, counts, attribute="targets"):
        labels = np.repeat(np.arange(len(counts)), counts)
        super().__init__(torch.arange(len(labels)))
        setattr(self, attribute, labels)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(10, 40), min_size=2, max_size=5), st.integers(0, 3))
def test_the_parts_are_disjoint_complete_stratified_and_always_the_same(counts, seed):
    data = Labelled(counts)
    parts = {part: Split(data, part=part, val_share=0.3, seed=seed) for part in ("train", "val")}
    train, val = parts["train"].indices, parts["val"].indices
    assert sorted([*train, *val]) == list(range(sum(counts)))
    assert (np.abs(np.bincount(parts["val"].targets) - 0.3 * np.array(counts)) <= 1).all()
    assert Split(data, part="val", val_share=0.3, seed=seed).indices == val
    assert [int(data[i][0]) for i in val] == [int(parts["val"][k][0]) for k in range(len(val))]


def test_fewer_training_images_leave_the_validation_images_as_they_are():
    data = Labelled([30, 60])
    val = Split(data, part="val", val_share=0.2).indices
    few = Split(data, part="train", val_share=0.2, images=24)
    assert Split(data, part="val", val_share=0.2, images=24).indices == val
    assert not set(few.indices) & set(val)
    assert np.bincount(few.targets).tolist() == [8, 16]
    assert len(Split(data, part="train", val_share=0.2, images=72)) == 72


def test_another_seed_draws_other_images_and_the_global_random_state_is_left_alone():
    data = Labelled([50, 50])
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    one, other = (Split(data, part="val", seed=seed).indices for seed in (0, 1))
    assert one != other
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels", "y"])
def test_labels_are_found_where_torchvision_has_them(attribute):
    assert len(Split(Labelled([5, 5], attribute), part="val", val_share=0.4)) == 4


def test_labels_of_listed_samples_and_of_a_split_are_found():
    data = Labelled([9, 9], "_none")
    data._samples = [(f"{n}.png", n % 2) for n in range(18)]
    rest = Split(data, part="train", val_share=0.34)
    inner = Split(rest, part="val", val_share=0.5)
    assert np.bincount(inner.targets).tolist() == [3, 3]
    assert base_datasets(inner) == [data]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"val_share": 0}, r"val_share must be a number above 0 and below 1, found 0"),
        ({"val_share": 1.0}, r"val_share must be a number above 0 and below 1"),
        (
            {"val_share": 0.01},
            r"val_share asks for 1 of 100 images in 2 classes.*as many images as there are classes, and each class two",
        ),
        ({"part": "val", "val_share": None}, r"part val needs a val_share"),
        ({"part": "test"}, r"part must be train or val, found 'test'"),
        ({"images": 0}, r"images must be a whole number above 0, found 0"),
        ({"images": 1}, r"images asks for 1 of 90 images in 2 classes"),
        ({"images": 91}, r"images is 91, but 90 of 100 images are left for training: lower images or val_share"),
    ],
)
def test_wrong_values_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Split(Labelled([50, 50]), **kwargs)


def test_a_class_of_one_image_and_a_set_without_labels_are_refused():
    with pytest.raises(
        ValueError, match="the smallest of which has 1: each part needs as many images as there are classes"
    ):
        Split(Labelled([50, 1]))
    with pytest.raises(ValueError, match=r"TensorDataset has no list of labels .* give a validation set of its own"):
        Split(TensorDataset(torch.arange(4)))


def test_without_validation_the_training_part_is_drawn_from_all_images():
    few = Split(Labelled([30, 60]), val_share=None, images=9)
    assert np.bincount(few.targets).tolist() == [3, 6]
    assert few.classes == ["0", "1"]
    assert len(Split(Labelled([3, 6]), val_share=None)) == 9
