"""Which weights of a file are taken, and what is said about it."""

import copy
import re

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


@pytest.fixture
def other():
    return network()


def prefixed(prefix, model):
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


def assert_loaded(path, source, **kwargs):
    model = load_checkpoint(network(), path, **kwargs)
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def follow(message, folder, monkeypatch):
    """Run the code that a message advises; return the file that it writes."""
    monkeypatch.chdir(folder)
    (code,) = re.findall("`([^`]*)`", message)
    exec(code, {"torch": torch})
    return folder / "weights.pth"


@pytest.mark.parametrize("prefix", ["backbone.", "model.", "student.", "module.model.", "a.b._orig_mod."])
def test_a_common_prefix_is_left_out_and_said(tmp_path, source, prefix, caplog):
    torch.save({"model": prefixed(prefix, source)}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    (record,) = caplog.records
    assert f"left out {prefix.removeprefix('module.')!r}" in record.getMessage()


def test_a_prefix_and_counters_that_are_absent(tmp_path, source):
    state = {k: v for k, v in prefixed("backbone.", source).items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)


@pytest.mark.parametrize("safe", [False, True])
def test_a_part_of_the_weights_is_refused_with_advice_that_works(tmp_path, source, other, safe, monkeypatch):
    state = prefixed("student.", source) | prefixed("teacher.", other)
    if safe:
        save_file(state, tmp_path / "a.safetensors")
    else:
        torch.save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"begin with 'student\.' or 'teacher\.' would fit") as caught:
        load_checkpoint(network(), tmp_path / ("a.safetensors" if safe else "a.pth"))
    if not safe:
        assert_loaded(follow(str(caught.value), tmp_path, monkeypatch), source)


@pytest.mark.parametrize("keys", [("checkpoint", "model"), ("weights",), ("a", "b", "c")])
def test_keys_that_nobody_knows_are_said(tmp_path, source, keys, caplog):
    content = source.state_dict()
    for key in reversed(keys):
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    (record,) = caplog.records
    assert "took the weights under " + "".join(f"[{key!r}]" for key in keys) in record.getMessage()


@pytest.mark.parametrize("key", ["model", "state_dict", "net"])
def test_nothing_is_said_of_the_usual_places(tmp_path, source, key, caplog):
    optimizer = torch.optim.Adam(source.parameters())
    torch.save({key: source.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    assert not caplog.records


def test_weights_of_other_models_beside_are_passed_over(tmp_path, source):
    torch.save({"generator": nn.Linear(9, 9).state_dict(), "student": source.state_dict()}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)


def test_two_that_could_be_meant_are_refused_with_advice_that_works(tmp_path, source, other, monkeypatch):
    torch.save({"student": source.state_dict(), "teacher": other.state_dict()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"several state dicts that fit: \['student'\] or \['teacher'\]") as caught:
        load_checkpoint(network(), tmp_path / "a.pth")
    assert_loaded(follow(str(caught.value), tmp_path, monkeypatch), source)


@pytest.mark.parametrize("averaged", ["state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("raw", ["model", "state_dict", "student"])
def test_averaged_weights_beside_raw_ones(tmp_path, source, other, averaged, raw, caplog):
    torch.save({raw: source.state_dict(), averaged: prefixed("module.", other)}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", other)
    assert (
        f"took the averaged weights under ['{averaged}'], not ['{raw}'] (use_ema: False beside checkpoint"
        in caplog.text
    )
    assert_loaded(tmp_path / "a.pth", source, use_ema=False)
    assert f"took the raw weights under ['{raw}'], not ['{averaged}'] (use_ema: True beside checkpoint" in caplog.text


def test_averaged_weights_that_do_not_fit_are_said(tmp_path, source, caplog):
    torch.save({"model": source.state_dict(), "model_ema": nn.Linear(2, 2).state_dict()}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    assert "the averaged weights under ['model_ema'] do not fit, those under ['model'] do" in caplog.text


def test_averaged_weights_alone(tmp_path, source):
    torch.save({"model_ema": source.state_dict()}, tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)
    with pytest.raises(ValueError, match=r"use_ema is False, but .* \['model_ema'\]: set use_ema: True"):
        load_checkpoint(source, tmp_path / "a.pth", use_ema=False)
    with pytest.raises(ValueError, match="use_ema must be True or False, found 'no'"):
        load_checkpoint(source, tmp_path / "a.pth", use_ema="no")


def test_an_averaged_model_of_torch(tmp_path, source):
    torch.save(torch.optim.swa_utils.AveragedModel(copy.deepcopy(source)).state_dict(), tmp_path / "a.pth")
    assert_loaded(tmp_path / "a.pth", source)


def test_the_message_of_a_misfit_names_the_place(tmp_path):
    torch.save({"state_dict": network(classes=7).state_dict()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"the weights under \['state_dict'\], does not fit .*num_classes: 7"):
        load_checkpoint(network(), tmp_path / "a.pth")


def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, source):
    for value in (torch.zeros(5, 4).to_sparse(), torch.zeros(5, 4, dtype=torch.complex64)):
        torch.save({**source.state_dict(), "0.weight": value}, tmp_path / "a.pth")
        with pytest.raises(ValueError, match=r"tensors are not plain real ones at '0\.weight'"):
            load_checkpoint(network(), tmp_path / "a.pth")


def test_builders_choose_between_averaged_and_raw(tmp_path):
    raw, averaged = (CIFAR_MODELS["cifar_resnet8"](num_classes=4) for _ in range(2))
    torch.save({"model": raw.state_dict(), "model_ema": averaged.state_dict()}, tmp_path / "a.pth")
    for use_ema, expected in ((True, averaged), (False, raw)):
        model = CIFAR_MODELS["cifar_resnet8"](num_classes=4, checkpoint=tmp_path / "a.pth", use_ema=use_ema)
        assert torch.equal(model.fc.weight, expected.fc.weight)
