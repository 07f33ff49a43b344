"""Tiny-ImageNet-200 and CUB-200-2011, on small folders of the downloads' layouts."""

import pickle

import numpy as np
import pytest
from PIL import Image

from kd_plugins.data import CUB200, TinyImageNet

WNIDS = ("n03", "n01", "n02")  # not sorted, as in the download


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), value, dtype=np.uint8)).save(path)


@pytest.fixture
def tiny(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for value, wnid in enumerate(WNIDS):
        for number in range(2):
            save(root / "train" / wnid / "images" / f"{wnid}_{number}.png", 10 * value + number)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("0 0 63 63\n")
    rows = []
    for number, wnid in enumerate(("n02", "n03", "n01", "n02")):
        save(root / "val" / "images" / f"val_{number}.png", 100 + number)
        rows.append(f"val_{number}.png\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return root


@pytest.fixture
def cub(tmp_path):
    root = tmp_path / "CUB_200_2011"
    names = ("001.Albatross", "002.Auklet")
    files = [f"{names[i % 2]}/bird_{i}.png" for i in range(5)]
    for value, name in enumerate(files):
        save(root / "images" / name, 20 * value)
    tables = {
        "classes.txt": names,
        "images.txt": files,
        "image_class_labels.txt": [i % 2 + 1 for i in range(5)],
        "train_test_split.txt": [1, 0, 1, 1, 0],
    }
    for name, values in tables.items():
        (root / name).write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, 1)))
    return root


def pixel(item):
    return int(np.asarray(item[0])[0, 0, 0])


def test_tiny_imagenet_numbers_its_classes_by_their_sorted_names(tiny):
    data = TinyImageNet(tiny)
    assert data.classes == ["n01", "n02", "n03"]
    assert data.targets == [0, 0, 1, 1, 2, 2]
    # n01 stands second in wnids.txt, so that its images have the values 10 and 11.
    assert [pixel(data[i]) for i in range(6)] == [10, 11, 20, 21, 0, 1]
    assert (data[0][0].mode, data[0][0].size) == ("RGB", (5, 4))


def test_tiny_imagenet_takes_its_validation_labels_from_the_annotations(tiny):
    data = TinyImageNet(tiny, train=False)
    assert data.targets == [1, 2, 0, 1]
    assert [pixel(data[i]) for i in range(4)] == [100, 101, 102, 103]


@pytest.mark.parametrize("deep", [True, False])
def test_tiny_imagenet_reads_sorted_validation_images_too(tiny, deep):
    sorted_ = {"n02": [0, 3], "n03": [1], "n01": [2]}
    for wnid, numbers in sorted_.items():
        for number in numbers:
            target = tiny / "val" / wnid / ("images" if deep else "") / f"val_{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            (tiny / "val" / "images" / f"val_{number}.png").rename(target)
    (tiny / "val" / "images").rmdir()
    data = TinyImageNet(tiny, train=False)
    assert [(pixel(data[i]), data[i][1]) for i in range(4)] == [(102, 0), (100, 1), (103, 1), (101, 2)]


def test_tiny_imagenet_reads_sorted_images_beside_the_empty_folder_they_came_from(tiny):
    for number, wnid in enumerate(("n02", "n03", "n01", "n02")):
        (tiny / "val" / wnid / "images").mkdir(parents=True, exist_ok=True)  # empty as well
        (tiny / "val" / "images" / f"val_{number}.png").rename(tiny / "val" / wnid / f"val_{number}.png")
    (tiny / "val" / "images" / ".DS_Store").touch()
    data = TinyImageNet(tiny, train=False)
    assert [(pixel(data[i]), data[i][1]) for i in range(4)] == [(102, 0), (100, 1), (103, 1), (101, 2)]


def test_files_of_macos_are_no_images(tiny):
    for place in ("train/n01/images", "val/images"):
        (tiny / place / "._n01_0.png").write_bytes(b"\0\5\x16\7")
    assert (len(TinyImageNet(tiny)), len(TinyImageNet(tiny, train=False))) == (6, 4)


def test_tables_may_begin_with_a_byte_order_mark(tiny, cub):
    for table in (tiny / "wnids.txt", tiny / "val" / "val_annotations.txt", cub / "images.txt", cub / "classes.txt"):
        table.write_text(table.read_text(), encoding="utf-8-sig")
    assert TinyImageNet(tiny, train=False).classes == ["n01", "n02", "n03"]
    assert TinyImageNet(tiny, train=False).targets == [1, 2, 0, 1]
    assert CUB200(cub).classes == ["001.Albatross", "002.Auklet"]
    (cub / "images.txt").write_text("1 a/b.png", encoding="utf-16")
    with pytest.raises(ValueError, match=r"must be UTF-8 text: save it as UTF-8, or unpack the download"):
        CUB200(cub)


@pytest.mark.parametrize(("kind", "folder"), [(TinyImageNet, "tiny"), (CUB200, "cub")])
def test_the_folder_may_lie_in_one_of_the_same_name_or_of_another(kind, folder, request, tmp_path):
    inside = request.getfixturevalue(folder)
    expected = len(kind(inside))
    assert len(kind(tmp_path)) == expected
    (tmp_path / "same").mkdir()
    inside.rename(tmp_path / "same" / "same")
    assert len(kind(tmp_path / "same")) == expected


def test_cub_splits_and_labels_as_its_tables_say(cub):
    train, test = CUB200(cub), CUB200(cub, train=False)
    assert train.classes == ["001.Albatross", "002.Auklet"]
    assert [(pixel(item), item[1]) for item in (train[i] for i in range(len(train)))] == [(0, 0), (40, 0), (60, 1)]
    assert [(pixel(item), item[1]) for item in (test[i] for i in range(len(test)))] == [(20, 1), (80, 0)]
    assert len(CUB200(cub.parent)) == 3  # the folder around it


def test_transforms_are_applied_and_the_set_survives_pickling(cub):
    data = CUB200(cub, transform=lambda image: image.size, target_transform=lambda label: f"class {label}")
    assert data[0] == ((5, 4), "class 0")
    assert "Split: Train" in repr(data)
    plain = pickle.loads(pickle.dumps(CUB200(cub)))
    assert pixel(plain[2]) == 60


@pytest.mark.parametrize(
    ("gone", "train", "message"),
    [
        ("wnids.txt", True, "has no wnids.txt"),
        ("train", True, "has no train"),
        ("train/n02", True, "has no folder n02, a class of wnids.txt"),
        ("val", False, "has no val"),
        ("val/val_annotations.txt", False, r"has neither val/val_annotations.txt beside val/images nor one folder per"),
        ("val/images/val_2.png", False, r"1 of 4 images are missing, .*val_2.png"),
    ],
)
def test_tiny_imagenet_says_what_is_missing(tiny, gone, train, message):
    (tiny / gone).rename(tiny.parent / "gone")
    with pytest.raises(ValueError, match=message):
        TinyImageNet(tiny, train=train)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("images.txt", "has no images.txt"),
        ("train_test_split.txt", "has no train_test_split.txt"),
        ("images", "has no images"),
        ("images/001.Albatross/bird_2.png", r"1 of 3 images are missing, .*bird_2.png"),
    ],
)
def test_cub_says_what_is_missing(cub, gone, message):
    (cub / gone).rename(cub.parent / "gone")
    with pytest.raises(ValueError, match=message):
        CUB200(cub)


def test_tables_that_contradict_each_other_are_refused(cub, tiny):
    (cub / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n4 1\n")
    with pytest.raises(ValueError, match=r"image 5 is in only one of images.txt and train_test_split.txt"):
        CUB200(cub)
    (cub / "train_test_split.txt").write_text("1 0\n2 0\n3 0\n4 0\n5 0\n")
    with pytest.raises(ValueError, match="names no training image"):
        CUB200(cub)
    (cub / "image_class_labels.txt").write_text("1 1\n2 2\n3 1\n4 9\n5 1\n")
    with pytest.raises(ValueError, match=r"has class 9, which classes.txt lacks"):
        CUB200(cub)
    (tiny / "val" / "val_annotations.txt").write_text("val_0.png n07\n")
    with pytest.raises(ValueError, match=r"names the class n07, which wnids.txt lacks"):
        TinyImageNet(tiny, train=False)
    (tiny / "val" / "val_annotations.txt").write_text("val_0.png\n")
    with pytest.raises(ValueError, match=r"line 1 must have 2 words, found 1"):
        TinyImageNet(tiny, train=False)


@pytest.mark.parametrize("kind", [CUB200, TinyImageNet])
def test_train_must_be_a_bool(kind, tmp_path):
    with pytest.raises(ValueError, match="train must be True or False, found 'test'"):
        kind(tmp_path, train="test")
