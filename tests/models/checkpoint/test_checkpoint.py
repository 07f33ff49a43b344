import argparse
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kd_plugins.models import CIFAR_MODELS, load_checkpoint


def network(classes=3):
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, classes))


@pytest.fixture
def source():
    return network()


def assert_loaded(path, source):
    model = network()
    assert load_checkpoint(model, path) is model
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@pytest.mark.parametrize("wrapping", [None, "model", "state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappings_and_prefixes(tmp_path, source, wrapping, prefix):
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({wrapping: state, "epoch": 240} if wrapping else state, tmp_path / "best.pth")
    assert_loaded(tmp_path / "best.pth", source)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar", "a.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_kinds_of_file(tmp_path, source, name, zipped):
    torch.save(source.state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert_loaded(str(tmp_path / name), source)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_safetensors(tmp_path, source, name):
    save_file(source.state_dict(), tmp_path / name)
    assert_loaded(tmp_path / name, source)


def test_the_home_folder(tmp_path, source, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(source.state_dict(), tmp_path / "a.pth")
    assert_loaded("~/a.pth", source)
    with pytest.raises(ValueError, match=rf"'{tmp_path}/b.pth' is missing"):
        load_checkpoint(source, "~/b.pth")


def test_an_address_is_downloaded_once(tmp_path, source, monkeypatch):
    torch.save(source.state_dict(), tmp_path / "a.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    calls = []

    def download(address, target, progress):
        calls.append(address)
        shutil.copy(tmp_path / "a.pth", target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert_loaded("https://example.org/weights/a.pth?download=1", source)
    assert calls == ["https://example.org/weights/a.pth?download=1"]


def test_an_address_that_is_out_of_reach(tmp_path, source, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"'http://127.0.0.1:9/a.pth' cannot be downloaded .*give its path"):
        load_checkpoint(source, "http://127.0.0.1:9/a.pth")


def test_counters_of_batches_may_be_absent(tmp_path, source):
    """PyTorch 0.4 and older wrote none; the rest stays strict."""
    old = {name: t for name, t in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    del old["1.running_var"]
    torch.save(old, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"the file lacks '1\.running_var'$"):
        load_checkpoint(source, tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_and_arguments_beside_the_weights(tmp_path, source, zipped):
    extra = {"acc": np.float64(71.5), "top5": np.float32(0.9), "epoch": np.int64(3), "best": np.bool_(True)}
    extra |= {"args": argparse.Namespace(lr=0.05, milestones=[150, 180])}
    path = tmp_path / "a.pth"
    torch.save({"model": source.state_dict(), **extra}, path, _use_new_zipfile_serialization=zipped)
    assert_loaded(path, source)


def test_names_of_older_numpy_are_read(tmp_path, source):
    """NumPy 1 pickles numbers under another module; the bytes are rewritten to look like its own."""
    path = tmp_path / "a.pth"
    torch.save({"net": source.state_dict(), "acc": np.float64(1)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"cnumpy._core.multiarray\nscalar" in data
    path.write_bytes(data.replace(b"cnumpy._core.multiarray\nscalar", b"cnumpy.core.multiarray\nscalar"))
    assert_loaded(path, source)


def test_missing_file_names_the_nearest(tmp_path, source):
    for name in ("resnet20_best.pth", "resnet56_best.pth", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"is missing; did you mean 'resnet20_best.pth'"):
        load_checkpoint(source, tmp_path / "resnet20_bst.pth")


def test_missing_folder(tmp_path, source):
    with pytest.raises(ValueError, match=r"is missing: there is no folder '.*nowhere'"):
        load_checkpoint(source, tmp_path / "nowhere" / "a.pth")


def test_empty_folder_and_folder_given(tmp_path, source):
    with pytest.raises(ValueError, match="that folder has no files"):
        load_checkpoint(source, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="must be a file, found the folder"):
        load_checkpoint(source, tmp_path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"PK\x03\x04", b"\x00" * 9])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_bytes_that_are_no_checkpoint(tmp_path, source, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or is not a checkpoint"):
        load_checkpoint(source, tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["zipped", "legacy", "safetensors"])
def test_truncated_file(tmp_path, source, kind, share):
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=kind == "zipped")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match="is damaged or is not a checkpoint"):
        load_checkpoint(source, path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "weights": {}}, "a dictionary with 'epoch', 'weights'"),
        ([1, 2], "list"),
        ({"model": {"a": 1}}, "a dictionary with 'model'"),
        ({}, "a dictionary with nothing in it"),
    ],
)
def test_no_state_dict_inside(tmp_path, source, content, found):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"must hold a state dict, .*; found {found}$"):
        load_checkpoint(source, tmp_path / "a.pth")


def test_wrong_names_and_shapes_are_shown_and_nothing_is_loaded(tmp_path, source):
    state = source.state_dict()
    state["head.weight"] = state.pop("2.weight")
    state["0.weight"] = torch.ones(7, 4)
    torch.save(state, tmp_path / "a.pth")
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit Sequential") as caught:
        load_checkpoint(model, tmp_path / "a.pth")
    message = str(caught.value)
    assert "the file lacks '2.weight'" in message
    assert "the model lacks 'head.weight'" in message
    assert "'0.weight' (expected (5, 4), found (7, 4))" in message
    assert "classifier" not in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_long_lists_are_cut(tmp_path):
    torch.save({"x": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"the file lacks '0\.weight', '0\.bias', '1\.weight' and 5 more"):
        load_checkpoint(network(), tmp_path / "a.pth")


def test_another_number_of_classes_is_named(tmp_path):
    torch.save(network(classes=100).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"number of classes expected 10, found 100; .* num_classes: 100"):
        load_checkpoint(network(classes=10), tmp_path / "a.pth")


def test_builders_load_and_freeze(tmp_path):
    source = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "a.pth")
    model = CIFAR_MODELS["cifar_resnet8"](num_classes=10, checkpoint=str(tmp_path / "a.pth"), frozen=True)
    assert torch.equal(model.fc.weight, source.fc.weight)
    assert not model.training
    assert not model.fc.weight.requires_grad
