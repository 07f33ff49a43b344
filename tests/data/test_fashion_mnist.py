import gzip

import numpy as np
import pytest
from PIL import Image

from kd_plugins.data.downloads import fashion_mnist
from kd_plugins.data.downloads.fashion_mnist import FashionMNIST, read_idx


def idx(values):
    """Return the bytes of an idx file: a zero, a zero, 8 for bytes, the number of dimensions, the sizes, the values."""
    return b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def write(folder, part="train", images=3, labels=None, pack=gzip.compress, end=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(images * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(images, 28, 28)
    classes = np.arange(images if labels is None else labels, dtype=np.uint8)
    for name, values in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", classes)):
        (folder / f"{name}{end}").write_bytes(pack(idx(values)))
    return pixels


@pytest.fixture(autouse=True)
def _no_package(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")


@pytest.mark.parametrize("inside", [".", "FashionMNIST/raw", "debian"])
def test_the_files_are_found_in_the_root_in_torchvisions_folder_and_in_debians(tmp_path, inside):
    root = tmp_path if inside == "debian" else tmp_path / "data"
    pixels = write((tmp_path if inside == "debian" else root) / inside)
    data = FashionMNIST(root / "other" if inside == "debian" else root, transform=np.asarray)
    image, label = data[2]
    assert (len(data), image.shape, label, data.classes[label]) == (3, (28, 28, 3), 2, "Pullover")
    assert (image == pixels[2][:, :, None]).all()


def test_unpacked_files_and_the_test_images_are_read(tmp_path):
    write(tmp_path, part="t10k", images=2, pack=bytes, end="")
    data = FashionMNIST(tmp_path, train=False, target_transform=lambda label: -label)
    assert len(data) == 2
    assert isinstance(data[1][0], Image.Image)
    assert data[1][1] == -1
    with pytest.raises(ValueError, match=r"no train-images-idx3-ubyte\(.gz\) in .*install Debian's package"):
        FashionMNIST(tmp_path)


def test_a_download_that_fails_says_what_else_to_do(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(fashion_mnist, "Downloaded", offline)
    with pytest.raises(ValueError, match=r"cannot be downloaded to .*Error downloading.*put its four files there"):
        FashionMNIST(tmp_path, download=True)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:3], lambda b: b"\1" + b[1:], lambda b: b + b"x"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "labels"
    path.write_bytes(damage(idx(np.zeros(4, np.uint8))))
    with pytest.raises(ValueError, match=r"labels is damaged or is no idx file of 1 dimensions: download it again"):
        read_idx(path, 1)


def test_a_cut_archive_and_unequal_parts_are_named(tmp_path):
    write(tmp_path, labels=2)
    with pytest.raises(ValueError, match="3 train images and 2 labels: download it again"):
        FashionMNIST(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"ubyte.gz cannot be read: .*; download it again"):
        FashionMNIST(tmp_path)


def test_train_must_be_a_bool(tmp_path):
    with pytest.raises(ValueError, match="train must be True or False, found 1"):
        FashionMNIST(tmp_path, train=1)
