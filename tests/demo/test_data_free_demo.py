"""The demo of data-free distillation: its files, its table, and another call."""

import pytest

from kd_plugins.cli import main
from kd_plugins.demo.data_free.run import RUNS, DataFreeSchedule, run_data_free_demo
from kd_plugins.demo.data_free.table import Images, collect, markdown

SHORT = DataFreeSchedule(teacher_epochs=1, student_epochs=1, images=32, batch=32, steps=2)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    return run_data_free_demo(folder, seeds=[0], schedule=SHORT), folder


def test_a_demo_leaves_table_numbers_picture_images_and_runs(demo):
    found, folder = demo
    assert [(row["images"], row["method"]) for row in found["rows"]] == list(RUNS)
    assert {path.name for path in (folder / "images").iterdir()} == {"DeepInversion", "DeepDream", "noise"}
    assert (folder / "images.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "table.md").read_text().count("\n| ") == len(RUNS) + 1
    assert all(set(row["accuracies"]) == {"0"} for row in found["rows"])
    assert found["rows"][0]["about"]["batch_norms"] < found["rows"][3]["about"]["batch_norms"]


def test_a_second_call_makes_and_trains_nothing(demo):
    found, folder = demo
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.pt")} | {
        p: p.stat().st_mtime_ns for p in folder.rglob("shard-*")
    }
    assert run_data_free_demo(folder, seeds=[0], schedule=SHORT) == found
    assert {p: p.stat().st_mtime_ns for p in before} == before
    with pytest.raises(ValueError, match="holds another demo"):
        run_data_free_demo(folder, seeds=[0], schedule=DataFreeSchedule(1, 2, 32, 32, 2))


def test_the_table():
    accuracies = {
        ("DeepInversion", "kd"): {0: 80.0, 1: 82.0, 2: 84.0},
        ("DeepInversion", "sfkd"): {0: 82.0, 1: 84.0, 2: 86.0},
        ("real", "kd"): {0: 90.0, 1: 81.0, 2: 99.0},
    }
    results = collect(accuracies, {"DeepInversion": Images(0.9, 3.0)}, teacher=97.0, schedule=vars(SHORT))
    lines = markdown(results).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells == ["DeepInversion", "kd", "82.00 +- 2.00", "baseline", "0.90", "3.00"]
    assert "+2.00 [+2.00, +2.00] " in lines[3]
    assert "~" not in lines[3]
    # differences 10, -1, 15: sd 8.19, half of the interval 4.303 * 8.19 / sqrt(3)
    assert "+8.00 [-12.33, +28.33] ~" in lines[4]
    assert "mean +- sample standard deviation, 3 seeds" in markdown(results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "kd"], "--methods is no option of the demo on data-free; leave it out"),
        (["--dataset", "digits"], "--dataset is no option of the demo on data-free"),
        (["--seeds", "1,1"], "--seeds must be distinct whole numbers"),
    ],
)
def test_one_message_for_a_mistake(tmp_path, capsys, arguments, message):
    assert main(["demo", "--task", "data-free", "--run-dir", str(tmp_path / "d"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_refuses_too_few_images():
    with pytest.raises(ValueError, match="images must be a finite number of at least 32, found 10"):
        DataFreeSchedule(images=10)
