"""Image files: what cannot be read is named, and 16 bits are scaled."""

import pickle

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision.datasets import DatasetFolder, ImageFolder
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import ToTensor

from kd_plugins.data import Digits, TwoViews
from kd_plugins.data.images import DamagedImageError, read_image, use_our_reader
from kd_plugins.data.loading import DataError, batches

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)


def red(path):
    return np.asarray(read_image(path))[0, :, 0].tolist()


def cut(path):
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two classes with two images each."""
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(NOISE).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_sound_image_is_read_as_torchvision_does(tmp_path, ending):
    Image.fromarray(NOISE).save(tmp_path / f"x.{ending}")
    assert np.array_equal(read_image(tmp_path / f"x.{ending}"), pil_loader(tmp_path / f"x.{ending}"))


# 16-bit values and their high bytes; Pillow clips all above 255 to white.
DEEP, HIGH_BYTES = [0, 255, 256, 32767, 65535], [0, 0, 1, 127, 255]


@pytest.mark.parametrize(
    ("ending", "kind", "mode"),
    [("png", "<u2", "I;16"), ("tif", "<u2", "I;16"), ("tif", ">u2", "I;16B"), ("pgm", "<u2", "I")],
)
def test_grey_images_of_16_bits_are_scaled_to_8(tmp_path, ending, kind, mode):
    path = tmp_path / f"deep.{ending}"
    Image.fromarray(np.array([DEEP], dtype=kind)).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    assert red(path) == HIGH_BYTES


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_grey_images_of_32_bits_must_lie_in_the_range_of_8(tmp_path, kind):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.array([[0, 7, 255]], dtype=kind)).save(path)
    assert red(path) == [0, 7, 255]
    Image.fromarray(np.array([[0, 7, 256]], dtype=kind)).save(path)
    with pytest.raises(DamagedImageError, match=r"deep.tif cannot be read: pixels of 32 bits .* found 0..256; save"):
        read_image(path)
    Image.fromarray(np.array([[0, 0.5, 1]], dtype="float32")).save(path)
    with pytest.raises(DamagedImageError, match=r"must lie in 0..255, found 0..1; save the images with 8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.jpg",
            b"<!DOCTYPE html><html>",
            r"image .*x.jpg is damaged: it begins with b'<!DOCTYPE html><', unlike any image",
        ),
        ("x.png", b"", r"image .*x.png is damaged: it is empty; replace the file, or delete it"),
        (
            "._x.png",
            b"\0\5\x16\7",
            r"._x.png is a macOS file, not an image; delete all such: find .* -name '._\*' -delete",
        ),
        ("x.png", None, r"image .*x.png cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DamagedImageError, match=message):
        read_image(tmp_path / name)


@pytest.mark.parametrize(("ending", "workers"), [("jpg", 0), ("png", 0), ("bmp", 0), ("webp", 0), ("jpg", 1)])
def test_a_file_that_is_cut_short_is_one_message_in_every_process(folder, ending, workers):
    cut(folder / "b" / f"cut.{ending}")
    data = ImageFolder(folder, transform=ToTensor())
    use_our_reader([data])
    with pytest.raises(DamagedImageError) as caught:
        list(batches(DataLoader(data, batch_size=2, num_workers=workers)))
    assert str(caught.value).startswith(f"image {folder}/b/cut.{ending} is damaged: ")
    assert str(caught.value).endswith("; replace the file, or delete it")
    assert "\n" not in str(caught.value)


def test_folders_inside_subsets_concatenations_and_wrappers_are_reached(folder):
    for wrap in (
        lambda data: Subset(Subset(data, [0, 1]), [0]),
        lambda data: ConcatDataset([Digits(train=False), data]),
        lambda data: TwoViews(data, strong=ToTensor()),
    ):
        data = ImageFolder(folder, transform=ToTensor())
        wrapped = wrap(data)
        use_our_reader([wrapped])
        inside = wrapped.raw if isinstance(wrapped, TwoViews) else data
        assert inside.loader is read_image
        assert pickle.loads(pickle.dumps(inside)).loader is read_image


def test_a_loader_of_the_users_own_stays(folder):
    data = DatasetFolder(folder, loader=np.fromfile, extensions=("png",))
    use_our_reader([data])
    assert data.loader is np.fromfile


class Plain(Digits):
    """A data set that reads files in its own way."""

    def __getitem__(self, index):
        if index == 3:
            raise OSError("image file is truncated")
        return super().__getitem__(index)


def test_another_data_set_is_named_with_the_sample():
    data = Subset(Plain(train=False, transform=ToTensor()), [5, 3])
    data.dataset.root = "somewhere"
    message = r"^sample 3 of Plain \(somewhere\) cannot be loaded: image file is truncated$"
    with pytest.raises(DataError, match=message):
        list(batches(DataLoader(data, batch_size=2)))
    # A worker process tells its message only.
    message = r"^a batch of Plain \(somewhere\) cannot be loaded: image file is truncated; set num_workers: 0 to"
    with pytest.raises(DataError, match=message):
        list(batches(DataLoader(data, batch_size=2, num_workers=1)))


def test_images_of_several_sizes_and_images_that_are_no_tensors_are_told_what_to_add(folder):
    Image.fromarray(NOISE[:20]).save(folder / "a" / "small.png")
    with pytest.raises(DataError, match=r"a batch of ImageFolder \(.*images\) cannot be .*; the images differ in size"):
        list(batches(DataLoader(ImageFolder(folder, transform=ToTensor()), batch_size=5)))
    with pytest.raises(DataError, match=r"TypeError: .*; the images are not tensors: add ToTensor to the transform"):
        list(batches(DataLoader(ImageFolder(folder))))
