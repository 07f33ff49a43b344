"""The demo of detection: its files, its table, and another call; and a committed config that trains."""

import json
from pathlib import Path

import pytest

from kd_plugins.cli import main
from kd_plugins.demo.detection.run import DetectionSchedule, run_detection_demo
from kd_plugins.demo.detection.table import collect, markdown
from kd_plugins.metrics import average_precision
from kd_plugins.training.train import train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHORT = DetectionSchedule(teacher_images=4, teacher_epochs=1, student_images=4, student_epochs=1)


@pytest.fixture(scope="module")
def few_test_images():
    """Let recipes test on a few canvases."""
    from kd_plugins.recipes.detection import recipe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "CANVAS_IMAGES", {"val": 2, "test": 4})
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory, few_test_images):
    """A finished demo of one method and seed, and its folder."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    return run_detection_demo(folder, methods=["ckd+reviewkd"], seeds=[0], schedule=SHORT), folder


def test_a_demo_leaves_table_numbers_picture_configs_and_runs(demo):
    found, folder = demo
    names = {"configs", "resnet10t", "ce", "ckd+reviewkd", "table.md", "results.json", "boxes.png"}
    assert {p.name for p in folder.iterdir()} == names
    assert (folder / "boxes.png").read_bytes().startswith(b"\x89PNG")
    assert [row["method"] for row in found["rows"]] == ["ce", "ckd+reviewkd"]
    summary = json.loads((folder / "ckd+reviewkd" / "seed0" / "summary.json").read_text())
    assert found["rows"][1]["scores"]["ap"] == [summary["test_last"]["ap"]]
    assert found["test_images"] == 4


def test_a_second_call_trains_nothing(demo):
    found, folder = demo
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("last.pt")}
    assert run_detection_demo(folder, methods=["ckd+reviewkd"], seeds=[0], schedule=SHORT) == found
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("last.pt")} == before
    with pytest.raises(ValueError, match="holds another demo"):
        run_detection_demo(folder, methods=["kd"], seeds=[0], schedule=DetectionSchedule(4, 2, 4, 1))


def test_the_table():
    def summary(ap):
        scores = {"ap": ap, "ap50": ap + 20, "ap75": ap + 10, "samples": 200}
        return {"test_last": scores, "test_best": scores, "seconds": 10.0}

    students = {"ce": [summary(50.0), summary(52.0)], "ckd": [summary(53.0), summary(55.0)]}
    results = collect(summary(70.0), students, [0, 1], threads=[1], schedule=vars(SHORT))
    text = markdown(results)
    assert "| + ckd                  | 54.00 +- 1.41 |" in text
    assert "+3.00" in text
    assert "2 seeds" in text


def test_refusals(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["--methods", "mlkd"], "mlkd is not made for detectors"),
        (["--transforms", "standardize"], "--transforms is no option of the demo on detection"),
        (["--seeds", "0,0"], "seeds"),
    ):
        assert main(["demo", "--task", "detection", *words]) != 0
        assert message in capsys.readouterr().err
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(ValueError, match="holds other files and no demo of detection"):
        run_detection_demo(tmp_path, schedule=SHORT)
    monkeypatch.setattr(average_precision.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install 'kd_plugins\[detection\]'"):
        run_detection_demo(tmp_path / "run", schedule=SHORT)


def test_a_committed_config_trains(tmp_path):
    overrides = [
        "datasets.canvas/train.init.kwargs.images=8",
        "datasets.canvas/val.init.kwargs.images=2",
        "datasets.canvas/test.init.kwargs.images=2",
        "models.teacher_model.src_ckpt=",
        "train.num_epochs=2",
        "train.train_data_loader.kwargs.batch_size=4",
    ]
    path = CONFIGS / "canvas-digits" / "ckd+reviewkd" / "test_resnet_from_resnet10t.yaml"
    summary = train(path, run_dir=tmp_path / "run", device="cpu", overrides=overrides)
    first, second = (json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert summary["epochs"] == 2
    assert second["loss"] < first["loss"]
    assert second["lr"] != first["lr"]
