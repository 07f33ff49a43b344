import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from synthetic_folders import write_folder, write_shard
from torchvision.transforms import ToTensor

from kd_plugins.data import SyntheticImages


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path):
    shards = write_folder(tmp_path, shards=(2, 0), size=(8, 6))
    # 100000 has one digit more than the others, so its name is the first by alphabet.
    shards.append(write_shard(tmp_path, 100_000, size=(8, 6)))
    (tmp_path / "shard-00001.safetensors.tmp").write_bytes(b"unfinished")
    (tmp_path / ".shard-00003.safetensors.7.tmp").write_bytes(b"unfinished")
    data = SyntheticImages(tmp_path)
    ordered = [shards[1], shards[0], shards[2]]
    assert np.array_equal(data.data, torch.cat([shard["images"] for shard in ordered]))
    assert data.data.dtype == np.uint8
    assert data.targets == torch.cat([shard["labels"] for shard in ordered]).tolist()
    assert all(type(label) is int for label in data.targets)
    assert torch.equal(data.teacher_logits, torch.cat([shard["logits"] for shard in ordered]))
    image, label = data[7]
    assert (image.mode, image.size, label, data.classes[label]) == ("RGB", (6, 8), 1, "class 1")
    assert np.array_equal(image, shards[0]["images"][1])


def hundred_more(label):
    return label + 100


def test_a_transform_a_loader_and_pickle(tmp_path):
    write_folder(tmp_path)
    data = SyntheticImages(tmp_path, ToTensor(), target_transform=hundred_more)
    images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=4)))
    assert (images.shape, labels.tolist()) == ((4, 3, 8, 8), [100, 101, 102, 103])
    assert np.array_equal(data.data[3], (images[3] * 255).round().byte().permute(1, 2, 0))
    assert repr(data).splitlines()[3].strip() == "Synthetic: (8, 8, 3), 10 classes"
    data.transform = data.target_transform = None
    assert np.array_equal(pickle.loads(pickle.dumps(data))[5][0], data[5][0])


def test_without_a_description_classes_are_numbers_and_nothing_warns(tmp_path):
    write_shard(tmp_path, 4, classes=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = SyntheticImages(str(tmp_path))
    assert data.classes == ["0", "1", "2"]
    assert data.class_to_idx["2"] == 2


def test_a_gap_warns_only_if_images_are_lacking(tmp_path):
    write_folder(tmp_path, shards=(0, 2), images=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SyntheticImages(tmp_path)
    write_folder(tmp_path, shards=(0, 2), images=18)
    with pytest.warns(UserWarning, match=r"has 12 of 18 images: `kd-plugins synthesize` with --out .* computes the "):
        SyntheticImages(tmp_path)


def test_a_missing_or_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere' of synthetic images: write it with `kd-plug"):
        SyntheticImages(tmp_path / "nowhere")
    (tmp_path / "shard-00000.safetensors.tmp").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no shard, such as shard-00000.safetensors: write shards with"):
        SyntheticImages(tmp_path)


def test_a_damaged_shard_is_named(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"shard-00001.safetensors is damaged \(.*\): delete it and run"):
        SyntheticImages(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"shard-00001.safetensors is damaged"):
        SyntheticImages(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": torch.zeros(6, 8, 8, 3)}, "images must be torch.uint8, found torch.float32"),
        (
            {"images": torch.zeros(6, 3, 8, 8, dtype=torch.uint8)},
            r"images must have shape \(B, H, W, 3\), found \(6",
        ),
        ({"images": torch.zeros(0, 8, 8, 3, dtype=torch.uint8)}, r"images must have shape .* found \(0, 8, 8, 3\)"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, r"labels must have shape \(6,\), found \(5,\)"),
        ({"labels": torch.full((6,), 10)}, r"labels must be in 0..9, found 10..10"),
        ({"logits": torch.zeros(5, 10)}, r"logits must have shape \(6, K\), found \(5, 10\)"),
        ({"logits": torch.zeros(6, 10).double()}, "logits must be torch.float32, found torch.float64"),
    ],
)
def test_a_file_of_other_tensors_is_no_shard(tmp_path, changed, message):
    write_shard(tmp_path, 3, **changed)
    with pytest.raises(ValueError, match=f"shard-00003.safetensors is no shard of synthetic images, as {message}"):
        SyntheticImages(tmp_path)


def test_a_file_without_logits_is_no_shard(tmp_path):
    from safetensors.torch import save_file

    save_file({"images": torch.zeros(1, 8, 8, 3, dtype=torch.uint8)}, tmp_path / "shard-00000.safetensors")
    with pytest.raises(ValueError, match="is no shard of synthetic images, as it has no labels: delete it"):
        SyntheticImages(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": (8, 9)}, r"differs in image size from shard-00000.safetensors: \[8, 9, 3\], not \[8, 8, 3\]"),
        ({"classes": 9}, r"differs in number of classes from shard-00000.safetensors: \[9\], not \[10\]"),
    ],
)
def test_shards_of_two_runs_are_refused(tmp_path, changed, message):
    write_folder(tmp_path)
    write_shard(tmp_path, 7, **changed)
    with pytest.raises(ValueError, match=f"shard-00007.safetensors {message}; one folder holds the images of one run"):
        SyntheticImages(tmp_path)


def test_a_damaged_description_is_named(tmp_path):
    write_folder(tmp_path, classes=10)
    path = tmp_path / "synthesis.json"
    for text, message in (
        ("{", "synthesis.json cannot be read"),
        ("[]", "synthesis.json must hold a mapping, found list"),
        (json.dumps({"classes": ["a"]}), "synthesis.json must be 10 names, one a logit, found 1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            SyntheticImages(tmp_path)
