import errno

import pytest
import torch

from kd_plugins.statistics import (
    Statistics,
    StatisticsError,
    artefact,
    check_statistics,
    load_statistics,
    part_of,
    save_statistics,
)


def tensors():
    return {
        "penultimate.centres": torch.arange(6.0).reshape(3, 2),
        "intermediate.projection": torch.ones(2, 4),
        "intermediate.projection_bias": torch.zeros(2),
        "intermediate.subclass_centres": torch.rand(6, 2),
        "intermediate.subclass_counts": torch.tensor([3, 0, 1, 1, 1, 1]),
        "intermediate.prototypes": torch.rand(6, 2),
        "intermediate.score_table": torch.eye(6),
    }


def test_both_kinds_come_back(tmp_path):
    path = tmp_path / "new" / "s.safetensors"
    given = tensors()
    save_statistics(path, given, {"teacher": "resnet", "seed": "3"})
    found = load_statistics(path)
    assert found.metadata["teacher"] == "resnet"
    assert found.metadata["format_version"] == artefact.FORMAT_VERSION
    assert torch.equal(found.penultimate.centres, given["penultimate.centres"])
    for name in ("projection", "projection_bias", "subclass_centres", "subclass_counts", "prototypes", "score_table"):
        assert torch.equal(getattr(found.intermediate, name), given[f"intermediate.{name}"])
    assert [p.name for p in path.parent.iterdir()] == ["s.safetensors"]


def test_one_kind_alone(tmp_path):
    path = tmp_path / "s.safetensors"
    save_statistics(path, {"penultimate.centres": torch.ones(2, 2)}, {})
    found = load_statistics(path)
    assert found.intermediate is None
    assert part_of(found, "penultimate", source=path) is found.penultimate
    with pytest.raises(StatisticsError, match="holds no intermediate statistics; fit it again from this config"):
        part_of(found, "intermediate", source=path)
    with pytest.raises(ValueError, match="kind must be one of"):
        part_of(Statistics({}), "last", source=path)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    save_statistics(path, tensors(), {"seed": "1"})
    before = path.read_bytes()

    def full(given, target, metadata):
        target.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artefact, "save_file", full)
    with pytest.raises(StatisticsError, match=r"No space left on device; no partial file is left: free disk space"):
        save_statistics(path, tensors(), {"seed": "2"})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StatisticsError, match="cannot be written"):
        save_statistics(tmp_path / "taken" / "s.safetensors", tensors(), {})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file(tmp_path, share):
    path = tmp_path / "s.safetensors"
    save_statistics(path, tensors(), {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StatisticsError, match=r"truncated or not a statistics file .* `kd-plugins fit CONFIG --force`"):
        load_statistics(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(StatisticsError, match=r"none\.safetensors does not exist; fit it with `kd-plugins fit"):
        load_statistics(tmp_path / "none.safetensors")


def test_other_files(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(StatisticsError, match="holds no letKD statistics"):
        load_statistics(path)
    incomplete = tensors()
    del incomplete["intermediate.prototypes"]
    save_statistics(path, incomplete, {})
    with pytest.raises(StatisticsError, match=r"incomplete: intermediate\.prototypes is missing"):
        load_statistics(path)
    monkeypatch.setattr(artefact, "FORMAT_VERSION", "3")
    with pytest.raises(StatisticsError, match="has format version 2, but this version of kd_plugins reads 3"):
        load_statistics(path)


def test_a_mismatch_names_every_field(tmp_path):
    found = {"teacher": "resnet", "num_classes": "10", "images": "50"}
    check_statistics(found, {"teacher": "resnet", "images": "50"}, source="s")
    expected = {"teacher": "vit", "num_classes": "100", "images": "50", "penultimate.layer": "layer3"}
    with pytest.raises(StatisticsError) as refused:
        check_statistics(found, expected, source="old.safetensors")
    message = str(refused.value)
    assert "old.safetensors do not belong to this config: teacher: expected vit, found resnet; " in message
    assert "num classes: expected 100, found 10; penultimate.layer: expected layer3, found nothing;" in message
    assert "`kd-plugins fit CONFIG --force`" in message
    assert "images" not in message


@pytest.mark.parametrize("place", ["tensor", "metadata"])
def test_one_flipped_byte_is_noticed(tmp_path, place):
    path = tmp_path / "s.safetensors"
    save_statistics(path, tensors(), {"teacher": "resnet", "seed": "3"})
    data = bytearray(path.read_bytes())
    position = len(data) - 3 if place == "tensor" else data.index(b"resnet")
    data[position] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StatisticsError, match="is damaged: its checksum does not fit"):
        load_statistics(path)
