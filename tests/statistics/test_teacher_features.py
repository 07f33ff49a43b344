import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from kd_plugins.statistics import StatisticsError, TeacherFeatures


class Pixels(nn.Module):
    """A teacher whose map is its input, with batch norm that training mode would move."""

    def __init__(self, classes=3):
        super().__init__()
        self.map = nn.Identity()
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, classes)

    def forward(self, x):
        return self.head(self.norm(self.map(x)).mean((2, 3)))


def images_and_labels(count=10, height=2, width=3):
    images = torch.arange(float(count * 2 * height * width)).reshape(count, 2, height, width)
    return images, torch.arange(count) % 3


def stream_of(dataset, **keywords):
    teacher = keywords.pop("teacher", None) or Pixels()
    return TeacherFeatures(teacher, teacher.map, dataset, **{"batch_size": 4, **keywords})


def test_positions_come_row_by_row_with_the_label_of_their_image():
    images, labels = images_and_labels()
    stream = stream_of(TensorDataset(images, labels))
    shape = stream.shape
    assert (shape.images, shape.height, shape.width, shape.channels) == (10, 2, 3, 2)
    assert (shape.positions, shape.rows, shape.bytes, stream.classes) == (6, 60, 480, 3)
    blocks = list(stream.blocks(""))
    features, own = torch.cat([b.features for b in blocks]), torch.cat([b.labels for b in blocks])
    order = (features[:, 0, 0] / 12).long()
    assert sorted(order.tolist()) == list(range(10))
    assert order.tolist() != list(range(10))  # one class after the other would mislead a single pass
    assert torch.equal(own, labels[order])
    assert torch.equal(features, images[order].permute(0, 2, 3, 1).reshape(10, 6, 2))


def test_every_pass_is_the_same_and_the_seed_fixes_the_order():
    dataset = TensorDataset(*images_and_labels())
    passes = [torch.cat([b.features for b in stream_of(dataset, seed=s).blocks("")]) for s in (0, 0, 1)]
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])


def test_larger_maps_are_pooled_to_the_students_smaller_ones_are_kept():
    images = torch.arange(32.0).reshape(2, 1, 4, 4).expand(2, 2, 4, 4)
    dataset = TensorDataset(images, torch.tensor([0, 1]))
    stream = stream_of(dataset, map_size=(2, 4))
    assert (stream.shape.height, stream.shape.width) == (2, 4)
    (block,) = stream.blocks("")
    first = block.features[block.labels == 0][0, :, 0]
    assert first.tolist() == [2, 3, 4, 5, 10, 11, 12, 13]  # means of rows 0, 1 and 2, 3
    assert stream_of(dataset, map_size=(8, 8)).shape.positions == 16


def test_the_teacher_is_left_as_it_was():
    teacher = Pixels().train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    stream = stream_of(TensorDataset(*images_and_labels()), teacher=teacher)
    for _ in stream.blocks(""):
        assert not teacher.training
        break  # a pass that ends early gives the hook back too
    assert not teacher.map._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_input_of_a_module_and_half_precision():
    teacher = Pixels().half()
    images, labels = images_and_labels()
    stream = TeacherFeatures(teacher, teacher.norm, TensorDataset(images.half(), labels), io="input")
    (block,) = stream.blocks("")
    assert block.features.dtype == torch.float32
    assert sorted(block.features[:, 0, 0].tolist()) == [12.0 * n for n in range(10)]


class Alone(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.full((2, 2, 2), float(index))


def test_images_without_labels():
    (block, _) = stream_of(Alone()).blocks("")
    assert block.labels is None
    with pytest.raises(
        StatisticsError, match=r"need a class index with each image .* use a data set of \(image, class index\)"
    ):
        block.need_labels()


def test_labels_that_are_no_classes_of_the_teacher():
    images, labels = images_and_labels()
    stream = stream_of(TensorDataset(images, labels + 2))
    with pytest.raises(StatisticsError, match=r"labels must lie in 0\.\.2, the classes of the teacher, found"):
        list(stream.blocks(""))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers(value):
    images, labels = images_and_labels()
    images[3, 0, 0, 0] = value
    with pytest.raises(StatisticsError, match="infinite values or NaN"):
        list(stream_of(TensorDataset(images, labels)).blocks(""))


def test_a_layer_without_a_map():
    teacher = Pixels()
    with pytest.raises(StatisticsError, match=r"must lead to a feature map \(B, c, H, W\), found \(1, 3\); .* points"):
        TeacherFeatures(teacher, teacher.head, TensorDataset(*images_and_labels()))


def test_a_layer_that_never_runs():
    with pytest.raises(StatisticsError, match="found NoneType"):
        TeacherFeatures(Pixels(), nn.Identity(), TensorDataset(*images_and_labels()))


def test_data_of_another_form():
    class Dictionaries(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"image": torch.zeros(2, 2, 2)}

    with pytest.raises(StatisticsError, match=r"must give \(image, class index\) .* found dict; name one that does"):
        stream_of(Dictionaries())
    with pytest.raises(StatisticsError, match="the training data set is empty"):
        stream_of(TensorDataset(torch.zeros(0, 2, 2, 2), torch.zeros(0).long()))
