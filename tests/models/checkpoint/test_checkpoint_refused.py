"""Files that are no weights: each is called what it is, and the advice works on it."""

import os
import pathlib
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from kd_plugins.models import load_checkpoint


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.fixture
def source():
    return network()


class RunsCode:
    """Creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Settings:
    """Something beside the weights that only this program knows."""


def message_of(path):
    with pytest.raises(ValueError, match="checkpoint") as caught:
        load_checkpoint(network(), path)
    return str(caught.value)


def assert_advice_works(path, source, monkeypatch):
    monkeypatch.chdir(path.parent)
    (code,) = re.findall("`([^`]*)`", message_of(path))
    exec(code, {"torch": torch})
    model = load_checkpoint(network(), "weights.pth")
    assert all(torch.equal(t, source.state_dict()[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("how", ["zipped", "legacy", "pickle"])
def test_what_would_run_code_is_called_so(tmp_path, source, how, protocol):
    trace, path = tmp_path / "executed", tmp_path / "evil.pth"
    content = {"state_dict": source.state_dict(), "extra": RunsCode(trace)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol))
    else:
        zipped = how == "zipped"
        torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    message = message_of(path)
    assert f"would run code when it is loaded ({os.mkdir.__module__}.mkdir): refused, nothing was executed" in message
    assert "torch.save(" not in message
    assert not trace.exists()


def test_what_would_run_code_is_called_so_when_cut_short(tmp_path):
    data = pickle.dumps([RunsCode(tmp_path / "executed"), "x" * 100])
    (tmp_path / "evil.pth").write_bytes(data[:-50])
    assert "would run code" in message_of(tmp_path / "evil.pth")


@pytest.mark.parametrize("name", [b"builtins\neval", b"__builtin__\nexec", b"subprocess\nPopen", b"runpy\nrun_path"])
def test_names_that_run_code(tmp_path, name):
    (tmp_path / "evil.pth").write_bytes(b"c" + name + b"\n(S'1'\ntR.")
    assert f"would run code when it is loaded ({name.decode().replace(chr(10), '.')})" in message_of(
        tmp_path / "evil.pth"
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keys", [("model",), ("state_dict",), ("checkpoint", "net"), ("whatever",)])
def test_the_advice_names_the_key_of_the_weights(tmp_path, source, zipped, keys, monkeypatch):
    content = source.state_dict()
    for key in reversed(keys):
        content = {"args": pathlib.Path("out"), "settings": Settings(), key: content}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert "".join(f"[{key!r}]" for key in keys) in message_of(tmp_path / "a.pth")
    assert_advice_works(tmp_path / "a.pth", source, monkeypatch)


@pytest.mark.parametrize("key", [None, "model"])
def test_the_advice_for_a_whole_model(tmp_path, source, key, monkeypatch):
    torch.save({"epoch": 3, key: source} if key else source, tmp_path / "a.pth")
    assert "asks for torch.nn.modules" in message_of(tmp_path / "a.pth")
    assert_advice_works(tmp_path / "a.pth", source, monkeypatch)


def assert_keys_are_shown(path, capsys):
    message = message_of(path)
    exec(re.findall("`([^`]*)`", message)[0], {"torch": torch})
    assert "dict_keys(['all'])" in capsys.readouterr().out
    return message


def test_the_advice_where_the_place_cannot_be_known(tmp_path, source, capsys):
    settings = Settings()
    settings.state = source.state_dict()
    torch.save({"all": settings}, tmp_path / "a.pth")
    assert "asks for" in assert_keys_are_shown(tmp_path / "a.pth", capsys)
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"all": 1}))
    assert "is a pickle that torch.save did not write" in assert_keys_are_shown(tmp_path / "b.pth", capsys)


@pytest.mark.parametrize("zipped", [True, False])
def test_another_pickle_protocol(tmp_path, source, capsys, zipped):
    content = {"all": source.state_dict()}
    torch.save(content, tmp_path / "a.pth", pickle_protocol=4, _use_new_zipfile_serialization=zipped)
    assert "is written in a pickle protocol" in assert_keys_are_shown(tmp_path / "a.pth", capsys)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path, source, monkeypatch):
    torch.jit.save(torch.jit.script(source), tmp_path / "a.pth")
    assert "is a TorchScript program" in message_of(tmp_path / "a.pth")
    assert_advice_works(tmp_path / "a.pth", source, monkeypatch)


def test_an_exported_program(tmp_path, source, monkeypatch):
    program = torch.export.export(source.eval(), (torch.zeros(2, 4),))
    torch.export.save(program, tmp_path / "a.pt2")
    assert "is an exported program" in message_of(tmp_path / "a.pt2")
    assert_advice_works(tmp_path / "a.pt2", source, monkeypatch)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html></html>", "is a web page, not the weights: download the file itself"),
        (b"\n  <HTML lang=en>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (b"\x08\x08\x12\x07pytorch", "is an ONNX graph"),
        (b"\x1f\x8b\x08\x00", "is compressed with gzip: unpack it first"),
        (b"\x89HDF\r\n", "is an HDF5 file"),
        (b"", "is empty; was its download or saving cut short"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_files_of_another_kind(tmp_path, content, kind, name):
    (tmp_path / name).write_bytes(content)
    assert re.search(kind, message_of(tmp_path / name))


def test_archives_of_another_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("run/best.pth", b"x")
    assert "is a zip archive that torch.save did not write; it holds run/best.pth" in message_of(tmp_path / "a.pth")
    np.savez(tmp_path / "b.npz", weight=np.zeros(3))
    assert "is an archive of NumPy arrays" in message_of(tmp_path / "b.npz")
