"""A config is code; with --safe only known packages run."""

from pathlib import Path

import blobs
import pytest

from kd_plugins._errors import ConfigError
from kd_plugins.check import check_config
from kd_plugins.cli import main
from kd_plugins.config.config import read_config
from kd_plugins.config.safe import refuse_unsafe
from kd_plugins.training.train import train

CONFIGS = Path(__file__).parents[2] / "configs"

HOSTILE = [
    "!import_call {key: os.system, init: {args: [touch executed]}}",
    "!import_call {key: system, package: os, init: {args: [touch executed]}}",
    "!import_get {key: subprocess.run}",
    '!import_call {key: builtins.exec, init: {args: [\'open("executed", "w")\']}}',
    "!import_call {key: !join [os, .system], init: {args: [touch executed]}}",
    "!import_get {key: torch.os}",
    "!call_method {object: !import_get {key: torch.nn.Module}, method_name: __subclasses__}",
    "!getattr [!import_get {key: torch.nn.Module}, __init__]",
    "!getattr [!import_get {key: torch.nn.Module}, !join [__init, __]]",
    "!import_call {key: torch.hub.load, init: {args: [a/b, c]}}",
    "!import_call {key: torch.load, init: {kwargs: {f: x.pth, weights_only: False}}}",
    "!import_call {key: torch.serialization.load, init: {args: [x.pth]}}",
    "!import_call {key: torchdistill.common.main_util.import_call, init: {kwargs: {key: os.system}}}",
    "!import_call {key: torch.utils.cpp_extension.load, init: {args: [a, b]}}",
    "!import_get {key: torchvision.datasets.utils.urllib}",
    "!import_call_method {package: os, class_name: path, method_name: exists}",
    "!!python/name:os.system ''",
    "!!python/object/apply:os.system [touch executed]",
    "!!python/module:os ''",
    "{? !import_call {key: os.system, init: {args: [touch executed]}} : 1}",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_not_from_a_known_package_is_refused_before_anything_runs(tmp_path, monkeypatch, hostile):
    monkeypatch.chdir(tmp_path)
    config = blobs.write(tmp_path, end=f"_own: {hostile}\n")
    with pytest.raises(ConfigError, match=r"--safe refuses .* \(line \d+\)"):
        train(config, run_dir=tmp_path / "run", device="cpu", safe_packages=["blobs"])
    (found,) = check_config(config, fake_data=True, safe_packages=["blobs"]).findings
    assert "--safe refuses" in found.message
    assert not (tmp_path / "executed").exists()


def test_other_packages_need_to_be_named(tmp_path, capsys):
    config = blobs.write(tmp_path)
    assert main(["train", str(config), "--safe", "--run-dir", str(tmp_path / "run")]) == 2
    assert "--safe refuses" in capsys.readouterr().err
    assert not check_config(config, safe_packages=["blobs"]).failed
    assert main(["check", str(config), "--safe", "--allow", "blobs"]) == 0
    assert main(["check", str(config), "--allow", "blobs"]) == 2
    assert "add --safe" in capsys.readouterr().err


def test_hub_models_and_dependencies_are_code(tmp_path):
    config = blobs.write(tmp_path)
    text = config.read_text()
    config.write_text(text.replace("student_model: {key", "student_model: {repo_or_dir: a/b, key"))
    with pytest.raises(ConfigError, match="a hub model runs code"):
        refuse_unsafe(read_config(config), ["blobs"])
    config.write_text(text.replace("[kd_plugins, blobs]", "[kd_plugins, blobs, {name: my_tools.losses}]"))
    with pytest.raises(ConfigError, match=r"the dependency my_tools.losses .* add --allow my_tools"):
        refuse_unsafe(read_config(config), ["blobs"])


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_of_the_package_is_safe(config):
    refuse_unsafe(read_config(config))


def test_a_stage_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    import os

    import torch

    class Code:
        def __reduce__(self):
            return os.system, ("touch executed",)

    monkeypatch.chdir(tmp_path)
    torch.save({"model": Code()}, tmp_path / "evil.pth")
    side = f"{{forward_proc: forward_batch_only, requires_grad: False, src_ckpt: {tmp_path / 'evil.pth'}}}"
    with pytest.raises(ConfigError, match=r"would run code .* at train.teacher.src_ckpt"):
        train(blobs.write(tmp_path, TEACHER=side), run_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "executed").exists()
