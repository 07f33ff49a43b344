import json
import shutil

import pytest
import torch

from kd_plugins.demo import run_demo
from kd_plugins.demo.configs import Schedule
from kd_plugins.runtime.checksums import read_sealed_json, sealed_json

SHORT = Schedule(teacher_epochs=1, student_epochs=1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A finished demo of one method and seed, and its folder."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    return run_demo(folder, methods=["lskd"], seeds=[0], schedule=SHORT), folder


def test_a_demo_leaves_table_numbers_plot_configs_and_runs(demo):
    found, folder = demo
    names = {"configs", "vit", "ce", "lskd", "table.md", "results.json", "plot.png"}
    assert {p.name for p in folder.iterdir()} == names
    assert {p.name for p in (folder / "configs").iterdir()} == {"vit.yaml", "ce.yaml", "lskd.yaml"}
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert found == json.loads((folder / "results.json").read_text())
    assert [row["method"] for row in found["rows"]] == ["ce", "lskd"]
    assert "| LSKD " in (folder / "table.md").read_text()


def test_the_numbers_are_those_of_the_runs(demo):
    found, folder = demo
    for row in found["rows"]:
        summary = json.loads((folder / row["method"] / "seed0" / "summary.json").read_text())
        assert row["accuracies"] == [summary["test_last"]["top1"]]
    distilled = json.loads((folder / "lskd" / "seed0" / "summary.json").read_text())
    assert found["teacher"] == distilled["teacher"]["top1"]
    assert distilled["teacher_unchanged"] is True
    assert found["threads"] == [torch.get_num_threads()]


def test_a_second_call_trains_nothing_and_prints_the_same_table(demo, capsys):
    found, folder = demo
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("last.pt")}
    assert len(before) == 3
    assert run_demo(folder, methods=["lskd"], seeds=[0], schedule=SHORT) == found
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("last.pt")} == before
    printed = capsys.readouterr().out
    assert (folder / "table.md").read_text() in printed
    assert printed.count("from an earlier call") == 3


def test_an_unfinished_run_goes_on_to_the_same_result(demo):
    found, folder = demo
    (folder / "lskd" / "seed0" / "summary.json").unlink()
    again = run_demo(folder, methods=["lskd"], seeds=[0], schedule=SHORT)
    assert again["rows"][1]["accuracies"] == found["rows"][1]["accuracies"]


def test_a_folder_of_another_demo_is_refused_untouched(demo):
    _, folder = demo
    before = {p: p.read_bytes() for p in (folder / "configs").iterdir()}
    with pytest.raises(ValueError, match=r"holds another demo \(configs/vit.yaml differs"):
        run_demo(folder, methods=["kd"], seeds=[0], schedule=Schedule(teacher_epochs=2))
    assert {p: p.read_bytes() for p in (folder / "configs").iterdir()} == before


def test_students_of_different_teachers_are_not_compared(demo):
    _, folder = demo
    file = folder / "lskd" / "seed0" / "summary.json"
    text = file.read_text()
    other = read_sealed_json(file)
    other["teacher"]["weights"] = "others"
    try:
        file.write_text(sealed_json(other))
        with pytest.raises(ValueError, match="learned from different teachers"):
            run_demo(folder, methods=["lskd", "kd"], seeds=[0], schedule=SHORT)
    finally:
        file.write_text(text)
        shutil.rmtree(folder / "kd", ignore_errors=True)
        (folder / "configs" / "kd.yaml").unlink(missing_ok=True)


def test_a_folder_with_other_files_and_a_file_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files and no demo"):
        run_demo(tmp_path, schedule=SHORT)
    with pytest.raises(ValueError, match=r"is a file; name a folder"):
        run_demo(tmp_path / "notes.txt", schedule=SHORT)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unknown_method_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="unknown method 'lsdk'; did you mean 'lskd'"):
        run_demo(tmp_path / "run", methods=["kd", "lsdk"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [True], ["0"]])
def test_seeds_that_are_none_are_refused(tmp_path, seeds):
    with pytest.raises(ValueError, match="seeds must be different whole numbers of at least 0"):
        run_demo(tmp_path / "run", seeds=seeds)


def test_the_teacher_is_much_larger_than_the_student(demo):
    _, folder = demo

    def size(name):
        weights = torch.load(folder / name / "seed0" / "best.pt", weights_only=True)["model"]
        return sum(w.numel() for w in weights.values())

    assert size("vit") > 10 * size("ce")
