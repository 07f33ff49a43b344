"""Damaged files: whatever happens to the bytes, the answer is ValueError or the weights."""

import io
import pathlib
from contextlib import suppress
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from kd_plugins.models import load_checkpoint

KINDS = ("zipped", "legacy", "safetensors", "refused")


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@cache
def content_of(kind):
    torch.manual_seed(0)
    state = network().state_dict()
    if kind == "safetensors":
        return save(state)
    content = {"model": state, "epoch": 3}
    if kind == "refused":
        content["out"] = pathlib.PurePosixPath("out")
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=kind != "legacy")
    return stream.getvalue()


def assert_loaded_or_refused(path, content):
    path.write_bytes(content)
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with suppress(ValueError):
        load_checkpoint(model, path)
        return
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short(tmp_path, kind, suffix, share):
    content = content_of(kind)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="checkpoint"):
        load_checkpoint(network(), path)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3))
@example(flips=[(0.0, 255)])
def test_bytes_that_were_changed(tmp_path, kind, flips):
    content = bytearray(content_of(kind))
    for share, mask in flips:
        content[int(share * len(content))] ^= mask
    assert_loaded_or_refused(tmp_path / "a.pth", bytes(content))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"c"]))
def test_any_bytes(tmp_path, content, start):
    assert_loaded_or_refused(tmp_path / "a.pth", start + content)
