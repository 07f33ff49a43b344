import pytest
import small_configs
import torch
from torch.utils.data import RandomSampler

from kd_plugins._errors import ConfigError
from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config, read_config


def config(text, *overrides):
    return parse_config(text, "c.yaml", overrides)


def test_torchdistills_tags_build_objects():
    built = config(small_configs.text()).construct()
    assert len(built["datasets"]["digits/train"]) == 48
    assert built["train"]["train_data_loader"]["sampler"]["class_or_func"] is RandomSampler
    assert built["test"]["test_data_loader"] is built["train"]["val_data_loader"]


def test_every_construction_is_fresh():
    parsed = config("a: !import_call {key: torch.zeros, init: {args: [2]}}\n")
    first, second = parsed.construct()["a"], parsed.construct()["a"]
    assert first is not second
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.num_epochs=7", ("train", "num_epochs"), 7),
        (
            "train.optimizer.kwargs.lr=1e-3",
            ("train", "optimizer", "kwargs", "lr"),
            "1e-3",
        ),  # YAML 1.1: no float
        ("train.optimizer.kwargs.lr=0.001", ("train", "optimizer", "kwargs", "lr"), 0.001),
        ("train.optimizer.kwargs.nesterov=True", ("train", "optimizer", "kwargs", "nesterov"), True),
        ("train.log_freq=", ("train", "log_freq"), None),
        ("train.scheduler={}", ("train", "scheduler"), {}),
        ("dependencies.0=json", ("dependencies", 0), "json"),
    ],
)
def test_overrides(override, path, value):
    built = config(small_configs.text(), override).construct()
    for key in path:
        built = built[key]
    assert built == value


def test_an_override_changes_one_path_and_not_its_alias():
    built = config(small_configs.text(), "train.val_data_loader.kwargs.batch_size=3").construct()
    assert built["train"]["val_data_loader"]["kwargs"]["batch_size"] == 3
    assert built["test"]["test_data_loader"]["kwargs"]["batch_size"] == 16


def test_overridden_text_reads_back_to_the_same_objects():
    changed = config(small_configs.text(), "train.num_epochs=7", "train.optimizer.kwargs.lr=0.25")
    again = parse_config(changed.text, "again.yaml")
    assert again.canonical() == changed.canonical()
    assert again.construct()["train"]["num_epochs"] == 7
    assert len(again.construct()["datasets"]["digits/test"]) == 45


def test_merged_keys_can_be_overridden_and_found():
    text = "base: &b {x: 1, y: 2}\nuser: {<<: *b, z: 3}\n"
    changed = config(text, "user.x=5")
    assert changed.construct()["user"] == {"x": 5, "y": 2, "z": 3}
    assert changed.construct()["base"]["x"] == 1


def test_where_names_path_and_line():
    parsed = config("models:\n  a: 1\ntrain:\n  num_epochs: 3\n  list: [1,\n    {k: 2}]\n")
    assert parsed.where("train", "num_epochs") == "train.num_epochs (line 4)"
    assert parsed.where("train", "list", 1, "k") == "train.list.1.k (line 6)"
    assert parsed.where("train", "absent", "deeper") == "train.absent.deeper (line 3)"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_epochs", r"--set must be KEY.PATH=VALUE"),
        (".=3", r"--set must be KEY.PATH=VALUE"),
        ("train.num_epoch=3", r"the config has no 'train.num_epoch'; did you mean 'num_epochs'"),
        ("trian.num_epochs=3", r"'trian' is not a mapping or list in the config; did you mean 'train'"),
        ("train.num_epochs.x=3", r"'train.num_epochs' is not a mapping or list"),
        ("train.num_epochs=[1", r"the value is not valid YAML: .*line 1"),
        ("dependencies.4=x", r"the config has no 'dependencies.4'"),
    ],
)
def test_mistakes_in_overrides(override, message):
    with pytest.raises(ConfigError, match=message):
        config(small_configs.text(), override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", r"c.yaml: line 2, column 2: invalid YAML"),
        ("a:\n\t- b\n", r"c.yaml: line 2, column 1: invalid YAML"),
        ("a: *nothing\n", r"line 1, column 4: .*undefined alias"),
        ("- just\n- a list\n", r"a config must be a YAML mapping"),
        ("", r"a config must be a YAML mapping"),
        (
            "a: 1\nb:\n  x: 1\n  x: 2\n",
            r"line 4, column 3: duplicate key 'x' \(first on line 3\)",
        ),
    ],
)
def test_broken_yaml(text, message):
    with pytest.raises(ConfigError, match=message):
        config(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !import_call {key: torch.zeroes}\n",
            r"line 1, column 4: !import_call failed: .*'zeroes'; did you mean 'zeros'",
        ),
        ("a: !import_get {key: tortch.zeros}\n", r"No module named 'tortch'"),
        (
            "a: !nothing {}\n",
            r"line 1, column 4: invalid YAML: could not determine a constructor for the tag '!nothing'",
        ),
        (
            "a: !import_call {key: kd_plugins.data.Digits, init: {kwargs: {train: 3}}}\n",
            r"!import_call failed: train",
        ),
    ],
)
def test_failing_tags_say_where(text, message):
    with pytest.raises(ConfigError, match=message):
        config(text).construct()


def test_missing_and_unreadable_files(tmp_path):
    small_configs.write(tmp_path)
    with pytest.raises(ConfigError, match=r"config file .*smal.yaml does not exist; did you mean .*small.yaml\?"):
        read_config(tmp_path / "smal.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "image.yaml")


def test_a_missing_dependency():
    with pytest.raises(
        ConfigError,
        match=r"a dependency cannot be imported at dependencies \(line 1\): .*No module.*searched in the config",
    ):
        build_config(config(small_configs.text().replace("[kd_plugins]", "[kd_plugin]")))
