"""The analysis of synthetic training images, on digits that take their place."""

import json

import pytest
import small_configs
import synthetic_folders
import torch
from torch import nn

from kd_plugins.analysis.analyze import analyze
from kd_plugins.analysis.kinds._synthetic_images import beside_running, noise_like
from kd_plugins.cli import main
from kd_plugins.data import Digits
from kd_plugins.models import CIFAR_MODELS

KEYS = {
    "size", "classes", "counts", "judge", "agreement", "channels", "normalisation", "first_bn", "neighbours", "shown",
}  # fmt: skip
DIGITS = "kd_plugins.data.Digits\n          init: {kwargs: {train: True,"


def write_config(folder, name, root, *, seed=0, classes=10):
    """Write the config of a teacher with weights of its own, which trains on the images in ``root``."""
    torch.manual_seed(seed)
    teacher = CIFAR_MODELS["cifar_resnet8"](num_classes=classes).eval()
    nn.init.normal_(teacher.fc.weight)
    teacher.fc.bias.data[seed] += 100 * seed
    torch.save(teacher.state_dict(), folder / f"{name}.pt")
    section = f"key: cifar_resnet8, kwargs: {{num_classes: {classes}}}, src_ckpt: {folder / name}.pt"
    synthetic = DIGITS.replace("Digits", "SyntheticImages").replace("train: True", f"root: {root}")
    text = small_configs.text(TEACHER_MODEL=f"  teacher_model: {{{section}}}\n").replace(DIGITS, synthetic)
    (folder / f"{name}.yaml").write_text(text)
    return teacher


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with two configs and 60 digits in two shards, and the teacher's logits of these."""
    folder = tmp_path_factory.mktemp("synthesis")
    root = folder / "images"
    root.mkdir()
    teacher = write_config(folder, "first", root)
    write_config(folder, "second", root, seed=1)
    digits = Digits(train=True)
    images = torch.stack([torch.tensor(list(digits[i][0].tobytes()), dtype=torch.uint8) for i in range(60)])
    images = images.view(60, 32, 32, 3)
    with torch.no_grad():
        logits = teacher(images.permute(0, 3, 1, 2).float() / 255)
    labels = torch.tensor([digits[i][1] for i in range(60)])
    for number in (0, 1):
        rows = slice(30 * number, 30 * number + 30)
        shard = {"images": images[rows].contiguous(), "labels": labels[rows], "logits": logits[rows]}
        synthetic_folders.write_shard(root, number, **shard)
    return folder, logits, labels


def test_numbers_table_and_picture(made, tmp_path, capsys):
    folder, logits, labels = made
    line = ["analyze", str(folder / "first.yaml"), "--what", "synthesis", "--out", str(tmp_path), "--device", "cpu"]
    assert main([*line, "--judge", str(folder / "first.yaml")]) == 0
    found = json.loads((tmp_path / "synthesis.json").read_text())
    assert found.keys() == KEYS | {"what", "config", "data", "images", "seed", "models"}
    assert (found["data"], found["images"], found["size"]) == ("digits/train", 60, [32, 32])
    share = (logits.argmax(1) == labels).float().mean().item()
    assert found["agreement"]["teacher"]["all"] == pytest.approx(share)
    assert found["agreement"]["judge"] == found["agreement"]["teacher"]
    assert found["judge"]["architecture"] == "cifar_resnet8"
    assert found["counts"] == labels.bincount(minlength=10).tolist()
    near = found["neighbours"]
    assert near["images"] == 45
    # Digits are nearer to each other than noise of the same mean and deviation is.
    assert near["pixels"]["synthetic"]["mean"] < 0.6 * near["pixels"]["noise"]["mean"]
    assert near["pixels"]["synthetic"]["mean"] == pytest.approx(near["pixels"]["test images"]["mean"], rel=0.2)
    assert len(near["features"]["synthetic"]["distances"]) == 45
    assert found["first_bn"]["layer"] == "bn1"
    assert (tmp_path / "synthesis.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "first BN: bn1, against its running statistics" in printed
    assert "nearest other of 45 images" in printed


def test_some_images_and_another_judge(made, tmp_path):
    folder, _, _ = made

    def call(**options):
        options = {"out": tmp_path, "plot": False, "device": "cpu", **options}
        (done,) = analyze(folder / "first.yaml", ["synthesis"], **options)
        return done.result

    some = call(images=20, options={"judge": str(folder / "second.yaml")})
    assert some["images"] == sum(some["counts"]) == 20
    assert some["neighbours"]["images"] == 20
    assert some["agreement"]["judge"] != some["agreement"]["teacher"]
    assert call(images=20)["shown"] == some["shown"] != call(images=20, seed=1)["shown"]


def test_statistics_of_the_batch_norms_own_input():
    norm = nn.BatchNorm2d(3, momentum=1.0)
    x = 2 * torch.randn(8, 3, 5, 5) + 1
    norm(x)
    moments = torch.stack([x.double().mean((2, 3)), x.double().square().mean((2, 3))], dim=1)
    found = beside_running(moments, norm)
    assert found["mean_distance"] < 1e-6
    assert found["std_ratio"] == pytest.approx(1, abs=0.01)  # the running variance divides by n - 1
    shifted = beside_running(moments + torch.tensor([2.0, 0])[None, :, None], norm)
    assert shifted["mean_distance"] == pytest.approx((2 / norm.running_var.sqrt()).mean().item(), rel=1e-3)


def test_noise_has_the_images_channels():
    images = torch.stack([torch.full((64, 64), 100), torch.full((64, 64), 150)], dim=0)[None].byte()
    images[..., ::2] += 20
    noise = noise_like(images, seed=0).float()
    assert noise.mean((0, 2, 3)).tolist() == pytest.approx([110, 160], abs=1)
    assert noise.std((0, 2, 3)).tolist() == pytest.approx([10, 10], abs=1)


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (
            "digits.yaml",
            [],
            "needs kd_plugins.data.SyntheticImages as training images, found Digits; `kd-plugins synth",
        ),
        ("first.yaml", ["--images", "1"], "at least two synthetic and two test images"),
        ("first.yaml", ["--judge", "none.yaml"], "none.yaml"),
        ("first.yaml", ["--judge", "FOLDER/alone.yaml"], "alone.yaml: the config has no models.teacher_model"),
        ("first.yaml", ["--judge", "FOLDER/few.yaml"], "its teacher has 12 classes, the config's 10"),
    ],
)
def test_a_mistake_is_one_message(made, tmp_path, capsys, config, arguments, message):
    folder, _, _ = made
    (folder / "digits.yaml").write_text(small_configs.text())
    (folder / "alone.yaml").write_text(small_configs.text(**small_configs.without_teacher()))
    write_config(folder, "few", folder / "images", classes=12)
    line = ["analyze", str(folder / config), "--what", "synthesis", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*line, *(text.replace("FOLDER", str(folder)) for text in arguments)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
