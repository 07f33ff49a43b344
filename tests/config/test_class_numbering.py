"""Data sets that number their classes differently, and folders and files that are no class and no image."""

import folder_configs
import pytest
from folder_configs import save_class
from synthetic_folders import write_shard
from torch.utils.data import ConcatDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from kd_plugins._errors import ConfigError
from kd_plugins.cli import main
from kd_plugins.config.build import build_config
from kd_plugins.config.class_numbering import data_faults, folder_faults, numbering_fault
from kd_plugins.config.config import read_config
from kd_plugins.data import Digits, SyntheticImages
from kd_plugins.data.fake_images import FakeImages
from kd_plugins.fitting.data import check_fitted_on


def folder(root, names, **keywords):
    for name in names:
        save_class(root / name, images=1)
    return ImageFolder(root, **keywords)


def fault(trained, other):
    return numbering_fault(trained, other, ("train", "val"))


def test_the_same_classes_are_no_fault(tmp_path):
    train, val = folder(tmp_path / "train", "abc"), folder(tmp_path / "val", "abc")
    assert fault(train, val) is None
    assert fault(Digits(), Subset(Digits(train=False), [0])) is None
    assert fault(train, TensorDataset()) is None  # its labels have no names


def test_names_that_are_made_up_are_not_compared(tmp_path):
    fake = FakeImages(length=3, height=2, width=2, num_classes=3)
    real = folder(tmp_path / "real", "abc")
    assert fault(fake, real) is None
    assert fault(fake, FakeImages(length=4, height=2, width=2, num_classes=4))
    write_shard(tmp_path, 0, classes=3)
    assert fault(SyntheticImages(tmp_path), real) is None
    (tmp_path / "synthesis.json").write_text('{"classes": ["b", "a", "c"]}')
    assert "'b' is label 0 in train and 1 in val" in fault(SyntheticImages(tmp_path), real)[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("bc", r"only in train: a; 'b' is label 1 in train and 0 in val\): give both the same class folders"),
        ("abcd", r"only in val: d\): give both"),
        ("abd", r"only in train: c; only in val: d\)"),
        (["images"], r"only in train: a, b, c; only in val: images\): .* read Tiny-ImageNet with kd_plugins.data.Tiny"),
    ],
)
def test_other_classes_are_named(tmp_path, names, message):
    train, val = folder(tmp_path / "train", "abc"), folder(tmp_path / "val", names)
    for trained, other in ((train, val), (Subset(train, [0]), ConcatDataset([train, Subset(val, [0])]))):
        found, certain = fault(trained, other)
        assert certain
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(found)


def test_an_empty_class_folder_keeps_the_numbers(tmp_path):
    (tmp_path / "val" / "a").mkdir(parents=True)
    assert fault(folder(tmp_path / "train", "abc"), folder(tmp_path / "val", "bc", allow_empty=True)) is None


def test_as_many_classes_of_other_names_may_be_the_same_ones(tmp_path):
    found, certain = fault(folder(tmp_path / "train", ["n1", "n2"]), folder(tmp_path / "val", ["cat", "dog"]))
    assert not certain
    assert "only in train: n1, n2; only in val: cat, dog" in found


def test_a_target_transform_of_its_own_may_mend_the_labels(tmp_path):
    train, names = folder(tmp_path / "train", "abc"), "bc"
    assert fault(train, folder(tmp_path / "val", names, target_transform=lambda label: label + 1)) is None
    both = float
    train.target_transform = both
    assert fault(train, folder(tmp_path / "val", names, target_transform=both)) is not None


def test_parts_of_one_set_are_compared_too(tmp_path):
    joined = ConcatDataset([folder(tmp_path / "one", "ab"), folder(tmp_path / "two", "b")])
    found, certain = numbering_fault(joined, joined, ("all", "all"))
    assert certain
    assert "all (first part) and all (another part) must have the same classes (only in all (first part): a" in found


def test_folders_and_files_that_are_no_classes_and_no_images_are_found(tmp_path):
    data = folder(tmp_path / "train", ["a", ".ipynb_checkpoints", "@eaDir", "lost+found"])
    assert list(folder_faults(Subset(data, [0]))) == [
        f"{tmp_path}/train has folders that are not classes but are read as classes: delete "
        ".ipynb_checkpoints, @eaDir, lost+found"
    ]
    (tmp_path / "val" / "a").mkdir(parents=True)
    (tmp_path / "val" / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    (message,) = folder_faults(ImageFolder(tmp_path / "val"))
    assert f"{tmp_path}/val/a/._0.png (1 in all): delete them with find {tmp_path}/val -name '._*' -delete" in message


def test_images_to_fit_on_are_compared_with_the_training_set(tmp_path):
    train, other = folder(tmp_path / "train", "abc"), folder(tmp_path / "fit", "bc")
    check_fitted_on({"train": train, "plain": train}, "train", "plain")
    with pytest.raises(ValueError, match=r"train and fit must have the same classes \(only in train: a"):
        check_fitted_on({"train": train, "fit": other}, "train", "fit")


def test_every_stage_and_the_test_are_compared_with_what_is_trained_on(tmp_path):
    config = read_config(folder_configs.write(tmp_path, val="bc"))
    built = config.construct()
    assert [fault.path for fault in data_faults(built)] == [("train", "val_data_loader", "dataset_id")]
    train = built["train"]
    built["train"] = {"stage1": {**train, "val_data_loader": {}}, "stage2": {**train, "train_data_loader": {}}}
    found = [fault.path for fault in data_faults(built)]
    assert found == [("train", "stage2", "val_data_loader", "dataset_id")]
    built["train"] = {**train, "val_data_loader": {}}
    assert [fault.path for fault in data_faults(built)] == [("test", "test_data_loader", "dataset_id")]


def test_the_command_line_ends_in_one_message(tmp_path, capsys):
    path = folder_configs.write(tmp_path, val="bc")
    with pytest.raises(ConfigError, match=r"train.val_data_loader.dataset_id \(line \d+\): own/train and own/val must"):
        build_config(read_config(path))
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "only in own/train: a" in error
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images_that_is_no_class_is_named(tmp_path):
    path = folder_configs.write(tmp_path)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    with pytest.raises(ConfigError, match=r"\.ipynb_checkpoints is not a class: delete that folder"):
        read_config(path).construct()
