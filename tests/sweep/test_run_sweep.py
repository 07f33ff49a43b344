import json

import pytest
import small_configs

from kd_plugins._errors import ConfigError
from kd_plugins.cli import main
from kd_plugins.sweep import run as module
from kd_plugins.sweep import run_sweep
from kd_plugins.sweep.space import parse_grid, parse_range
from kd_plugins.training.run_folder import RunError

LR = "train.optimizer.kwargs.lr"
HELD_OUT = """\
  digits/val: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init: {kwargs: {train: True, transform: !import_call {key: torchvision.transforms.ToTensor}}}
        indices: !import_call {key: builtins.range, init: {args: [48, 96]}}
models:
"""
TESTED = """\
test:
  test_data_loader:
    dataset_id: *test
    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: {batch_size: 16, num_workers: 0}
"""


@pytest.fixture
def config(tmp_path):
    """A student alone for one epoch, with validation images that are not the test images."""
    text = small_configs.text(**small_configs.without_teacher(EPOCHS=1))
    text = text.replace("models:\n", HELD_OUT, 1).replace("dataset_id: *test", "dataset_id: digits/val")
    text = text.replace("student_model:", "model:").replace("test:\n  test_data_loader: *val\n", TESTED)
    (tmp_path / "small.yaml").write_text(text)
    return tmp_path / "small.yaml"


def sweep(config, *grids, **options):
    return run_sweep(config, [parse_grid(grid) for grid in grids], run_dir=config.parent / "sweep", **options)


def summaries(config):
    files = sorted((config.parent / "sweep").glob("*/seed*/summary.json"))
    return {file.parent.parent.name: json.loads(file.read_text()) for file in files}, {
        f: f.stat().st_mtime for f in files
    }


def test_only_the_pick_is_tested_and_a_second_call_trains_nothing(config):
    result = sweep(config, f"{LR}=0.05,0.0001")
    found, times = summaries(config)
    assert set(found) == {"lr=0.05", "lr=0.0001"}
    picked = max(result["points"], key=lambda point: point["val"])
    assert result["pick"]["values"] == picked["values"]
    for name, summary in found.items():
        assert (summary["test_best"] is not None) == (name == f"lr={picked['values'][LR]}")
    assert result["pick"]["test_scores"] == [found[f"lr={picked['values'][LR]}"]["test_best"]["top1"]]
    assert (config.parent / "sweep" / "sweep.png").stat().st_size > 1000
    assert sweep(config, f"{LR}=0.05,0.0001") == result
    assert summaries(config)[1] == times


def test_an_interrupted_sweep_ends_as_an_uninterrupted_one(config, monkeypatch):
    trained, train = [], module.train

    def interrupted(*args, **kwargs):
        trained.append(kwargs["run_dir"])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(config, f"{LR}=0.05,0.01")
    result = sweep(config, f"{LR}=0.05,0.01")
    assert [point["values"][LR] for point in result["points"]] == ["0.05", "0.01"]
    assert len(trained) == 4  # one point twice, the other once, the test of the pick


def test_an_error_of_a_run_folder_ends_the_sweep_and_the_point_is_tried_again(config, monkeypatch):
    train = module.train

    def refused(*args, **kwargs):
        raise RunError("was started with threads 2 (now 1)")

    monkeypatch.setattr(module, "train", refused)
    with pytest.raises(RunError, match="was started with threads 2"):
        sweep(config, f"{LR}=0.05")
    monkeypatch.setattr(module, "train", train)
    result = sweep(config, f"{LR}=0.05")
    assert (len(result["points"]), result["failed"]) == (1, [])


def test_a_point_that_diverges_is_left_out_and_named(config, capsys):
    weight = "train.criterion.kwargs.sub_terms.ce.weight"
    command = ["sweep", str(config), "--grid", f"{weight}=0.1,1e38", "--run-dir", str(config.parent / "sweep")]
    assert main([*command, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "point 1 of 2: weight=0.1" in captured.err
    assert "not trained: weight = 1.0e+38: " in captured.out
    assert "|    0.1 |" in captured.out
    assert "Pick: weight = 0.1. Tested once: " in captured.out


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (f"{LR}=0.1,'1'", r"the sweep's point lr=1 is no valid config: .*lr must be a number, found '1'"),
        ("train.optimiser.kwargs.lr=0.1", r"'train.optimiser' is not a mapping or list in the config; .*'optimizer'"),
        ("train.num_epoch=1,2", r"the config has no 'train.num_epoch'; .*'num_epochs'"),
    ],
)
def test_a_mistake_is_found_before_the_first_run(config, grid, message):
    with pytest.raises(ConfigError, match=message):
        sweep(config, grid)
    assert not (config.parent / "sweep").exists()


def test_what_the_check_calls_an_error_is_found_before_the_first_run(config, capsys):
    folder = config.parent / "sweep"
    assert main(["sweep", str(config), "--grid", f"{LR}=0.1,0", "--run-dir", str(folder), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "the sweep's point lr=0 is no valid config: " in error
    assert "the learning rate is 0, so nothing is trained: raise lr" in error
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": []}, "sweep needs at least one --grid"),
        ({"axes": [parse_grid("a=1"), parse_grid("a=2")]}, "a is swept twice: give all of its values in one --grid"),
        ({"axes": [parse_range("a=1:2")]}, "--range a needs --random N or --tpe N"),
        ({"axes": [parse_range("a=1:2")], "sampler": "tpe"}, "--tpe must be a whole number above 0, found 0"),
        ({"axes": [parse_grid("a=1")], "sampler": "best"}, "sampler must be one of 'grid', 'random', 'tpe'"),
        ({"axes": [parse_grid("a=1")], "seeds": (0, 0)}, "--seeds must be distinct whole numbers"),
    ],
)
def test_wrong_options_are_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        run_sweep(config, **options)


def test_the_test_images_must_not_pick(tmp_path):
    text = small_configs.text(**small_configs.without_teacher()).replace("student_model:", "model:")
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"must not pick on the test images, but .* both read digits/test: hold out"):
        sweep(tmp_path / "small.yaml", f"{LR}=0.05,0.01")


def test_another_sweep_in_the_folder_is_refused(config):
    folder = config.parent / "sweep"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"config": "small.yaml", "seeds": [0, 1]}))
    with pytest.raises(RunError, match=r"holds a sweep with other settings \(axes is None there"):
        sweep(config, f"{LR}=0.05,0.01")
    (folder / "settings.json").write_text("{")
    with pytest.raises(RunError, match=r"settings.json is damaged: restore it, or name another --run-dir"):
        sweep(config, f"{LR}=0.05,0.01")
