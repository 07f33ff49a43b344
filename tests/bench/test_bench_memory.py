"""The most memory that a config's training step takes."""

import json

import pytest
import small_configs
import torch
from torch import nn
from torchdistill.models.registry import register_model

from kd_plugins.bench.config import bench_config
from kd_plugins.bench.memory import LiveBytes, SavedBytes
from kd_plugins.bench.steps.memory import SCRATCH
from kd_plugins.cli import main

BATCH = 16
STUDENT = "  student_model: {key: timm_model, kwargs: "


@register_model
def bench_chain():
    """Two linear layers on 32x32 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 64, bias=False), nn.ReLU(), nn.Linear(64, 10, bias=False))


@register_model
def bench_chain_with_floor():
    """The same, with a floor."""
    model = bench_chain()
    model.memory_floor = lambda: 2**20
    return model


def chain(folder, key="bench_chain", momentum="0.0"):
    """Write a config that trains the chain without a teacher."""
    text = small_configs.text(**small_configs.without_teacher()).replace("momentum: 0.9", f"momentum: {momentum}")
    start = text.index(STUDENT)
    end = text.index("\n", start)
    path = folder / f"{key}.yaml"
    path.write_text(text[:start] + f"  student_model: {{key: {key}, kwargs: {{}}}}" + text[end:])
    return path


def test_peak_of_a_chain_is_the_hand_count(tmp_path):
    row, reference = bench_config(chain(tmp_path), memory=True).memory
    weights = 4 * (3072 * 64 + 64 * 10)
    batch = 4 * BATCH * 3072 + 8 * BATCH  # images, and labels of 8 bytes
    # The peak is when the gradient of the first weight has come to that of the second; the gradient at the first
    # layer's output, from which it was computed, is still there.
    expected = weights + batch + weights + 4 * BATCH * 64
    few_numbers = 128  # the loss, its terms and their sums
    assert expected <= row.peak <= expected + few_numbers
    assert expected <= reference.peak <= expected + few_numbers
    assert row.ratio == row.peak / reference.peak
    assert row.parts["backward"] == row.peak
    # The forward's peak: the ReLU runs, and the first layer's output is still there.
    forward = weights + batch + 2 * 4 * BATCH * 64
    assert forward <= row.parts["student forward"] <= forward + few_numbers
    assert not reference.parts
    # Saved: the ReLU's output, by it and by the second layer, once; the log-softmax's; the cross-entropy's weight.
    assert row.saved == reference.saved == 4 * BATCH * 64 + 4 * BATCH * 10 + 4


def test_the_optimizers_state_counts(tmp_path):
    path = chain(tmp_path)
    (without, _) = bench_config(path, memory=True).memory
    (row, reference) = bench_config(chain(tmp_path, momentum="0.9"), memory=True).memory
    weights = 4 * (3072 * 64 + 64 * 10)
    assert row.peak - without.peak == weights
    assert reference.peak - without.peak == pytest.approx(weights, abs=128)


def test_teacher_and_its_forward_count_and_json_equals_the_table(tmp_path, capsys):
    config, file = small_configs.write(tmp_path), tmp_path / "memory.json"
    code = main(["bench", str(config), "--memory", "--against", str(config), "--json", str(file)])
    out = capsys.readouterr().out
    assert code == 0
    written = json.loads(file.read_text())
    assert [row["name"] for row in written["memory"]] == [str(config), str(config), SCRATCH]
    table = out.rstrip().splitlines()
    table = table[next(i for i, line in enumerate(table) if line.startswith("step ")) + 1 :]
    for row in written["memory"]:
        shown = [f"{row['peak'] / 2**20:.2f}", f"{row['ratio']:.3f}", f"{row['saved'] / 2**20:.2f}"]
        assert table.pop(0).split()[-3:] == shown
        for name, peak in row["parts"].items():
            assert table.pop(0).split() == [*name.split(), f"{peak / 2**20:.2f}"]
    assert not table
    first, second, reference = written["memory"]
    assert first == second
    assert first["ratio"] > 1 == reference["ratio"]
    assert written["times"] == []


def test_a_floor_is_shown_after_its_config(tmp_path):
    path = chain(tmp_path, "bench_chain_with_floor")
    row, floor, reference = bench_config(path, memory=True).memory
    assert (floor.name, floor.peak, floor.saved) == (f"floor of {path}", 2**20, None)
    assert floor.ratio == 2**20 / reference.peak
    assert f"floor of {path}" in bench_config(path, memory=True).text()
    assert row.name == str(path)


def test_saved_bytes_follow_every_graph_to_its_end():
    x = torch.ones(256, requires_grad=True)
    saved = SavedBytes(given=(x,))
    with saved:
        first = x.exp()  # keeps its result, 1024
        second = first.sin()  # keeps its input, the same storage
        assert saved.live == 1024
        third = second.exp()
        assert saved.live == 2048
        third.sum().backward()
        assert (saved.live, saved.peak) == (0, 2048)
        x.exp().sum().backward()
    assert (saved.live, saved.peak) == (0, 2048)


def test_live_bytes_count_down():
    x = torch.ones(256)
    with LiveBytes((x,)) as counted:
        y = x.exp()
        z = y[:8].clone()
        assert (counted.live, counted.peak) == (1056, 1056)
        del y
        assert (counted.live, counted.peak) == (32, 1056)
        del z
    assert counted.live == 0
