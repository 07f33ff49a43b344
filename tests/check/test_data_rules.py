"""What a check finds in folders of images."""

import folder_configs
import pytest

from kd_plugins.check import check_config


def errors(path):
    return [(found.place, found.message) for found in check_config(path).findings if found.level == "error"]


def test_a_class_that_validation_lacks(tmp_path):
    ((place, message),) = errors(folder_configs.write(tmp_path, val="bc"))
    assert place == "train.val_data_loader.dataset_id"
    assert "own/train and own/val must have the same classes (only in own/train: a; 'b' is label 1" in message


def test_folders_of_other_names_are_remarked_on(tmp_path):
    report = check_config(folder_configs.write(tmp_path, val="xyz"))
    warnings = [found.message for found in report.findings if found.level == "warning"]
    assert not report.failed
    assert any("only in own/val: x, y, z" in message for message in warnings)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_damaged_image_of_any_class(tmp_path, split):
    path = folder_configs.write(tmp_path)
    folder_configs.cut_short(tmp_path / split / "c" / "z.jpg")
    ((place, message),) = errors(path)
    assert place == f"train.{split}_data_loader"
    assert message.startswith(f"image {tmp_path}/{split}/c/z.jpg is damaged: ")


def test_files_and_folders_that_are_no_images_and_no_classes(tmp_path):
    path = folder_configs.write(tmp_path)
    for split in ("train", "val"):
        folder_configs.save_class(tmp_path / split / "@eaDir", images=1)
    (tmp_path / "val" / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    found = errors(path)
    assert [place for place, _ in found] == [
        f"train.{split}_data_loader.dataset_id" for split in ("train", "val", "val")
    ]
    assert "delete @eaDir" in found[0][1]
    assert "macOS files that are read as images" in found[2][1]
