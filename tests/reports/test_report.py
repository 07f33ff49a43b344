"""`kd-plugins report`: rows, gains over a baseline, formats and the picture."""

import csv
import json

import pytest
import small_configs

from kd_plugins.cli import main
from kd_plugins.config.config import parse_config
from kd_plugins.reports.formats import markdown
from kd_plugins.reports.runs import finished_runs
from kd_plugins.reports.runs_table import tabulate
from kd_plugins.training.run_folder import Options, RunFolder

CE = small_configs.text(**small_configs.without_teacher())
KD, LSKD = (small_configs.text(KD_TERM=small_configs.PARTS["KD_TERM"].replace("0.9", w)) for w in ("0.5", "0.9"))
SCORES = {
    "ce": (CE, {0: 75.0, 1: 75.6, 2: 75.8}),
    "kd": (KD, {0: 76.0, 1: 77.0, 2: 76.6}),  # differences of 1.0, 1.4, 0.8: 1.07 +- 0.76
    "lskd": (LSKD, {0: 75.5, 1: 75.4, 2: 75.9}),  # differences of both signs
}


def finish(folder, config, text, seed, score, **more):
    """Write what a finished run leaves behind."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    run.claim(parse_config(text, config), Options(seed=seed, amp="no", world_size=1), {})
    result = {"top1": score, "samples": 100, **more}
    teacher = {"top1": 79.0} if text != CE else None
    run.write_json(
        "summary.json", {"test_best": result, "test_last": result, "teacher": teacher, "seconds": 10.0 + seed}
    )


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (text, scores) in SCORES.items():
        for seed, score in scores.items():
            finish(tmp_path / f"runs/{name}/seed{seed}", f"{name}.yaml", text, seed, score, nll=0.5 + seed, ece=4.0)
    return ["runs/kd", "runs/ce", "runs/lskd"]


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_gains_are_over_the_run_without_a_teacher(runs, capsys):
    assert main(["report", *runs]) == 0
    out = capsys.readouterr().out
    heads, _, *rows = cells(out)
    found = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert {name: row["gain, points"] for name, row in found.items()} == {
        "kd.yaml": "+1.07 [+0.31, +1.83]",
        "ce.yaml": "baseline",
        "lskd.yaml": "+0.13 [-0.74, +1.01] ~",
    }
    kd = found["kd.yaml"]
    assert (kd["n"], kd["NLL"], kd["ECE, %"], kd["time, s"], kd["teacher"]) == ("3", "1.500", "4.00", "11.0", "79.00")
    assert "best minus that of ce.yaml with the same seed" in out
    assert "~ marks a gain within noise" in out


@pytest.mark.parametrize("name", ["kd", "kd.yaml"])
def test_another_baseline_can_be_named(runs, capsys, name):
    assert main(["report", *runs, "--baseline", name]) == 0
    rows = {row[0]: row[4] for row in cells(capsys.readouterr().out)}
    assert (rows["kd.yaml"], rows["ce.yaml"]) == ("baseline", "-1.07 [-1.83, -0.31]")


def test_an_unknown_baseline_is_an_error_with_the_nearest_rows(runs, capsys):
    assert main(["report", *runs, "--baseline", "lkd"]) == 2
    err = capsys.readouterr().err
    assert "unknown row 'lkd' at --baseline; did you mean 'lskd' or 'kd'?" in err


def test_the_first_row_is_the_baseline_where_several_or_none_have_no_teacher(runs):
    rows = tabulate(finished_runs(["runs/lskd", "runs/kd"]))
    assert [row.is_baseline for row in rows] == [True, False]


def test_fewer_than_two_shared_seeds_are_within_noise(runs, tmp_path):
    finish(tmp_path / "other/seed7", "dkd.yaml", KD.replace("temperature: 2.0", "temperature: 3.0"), 7, 90.0)
    rows = tabulate(finished_runs(["runs/ce/seed0", "runs/kd/seed0", "other/seed7"]))
    assert [row[4] for row in cells(markdown(rows))[2:]] == ["baseline", "+1.00 ~", "no shared seed"]


def test_runs_of_older_versions_have_no_calibration(runs, tmp_path):
    finish(tmp_path / "old/seed0", "old.yaml", KD.replace("temperature: 2.0", "temperature: 3.0"), 0, 75.0)
    row = cells(markdown(tabulate(finished_runs(["runs/ce", "old"]))))[-1]
    assert row[5:7] == ["-", "-"]


def test_configs_of_one_name_are_told_apart_by_folder(runs, tmp_path, capsys):
    for number, text in enumerate((CE, KD, LSKD)):
        finish(tmp_path / f"a/{number}/seed0", f"{number}/same.yaml", text, 0, 70.0 + number)
    folders = [f"a/{number}" for number in range(3)]
    rows = tabulate(finished_runs(folders))
    assert [row.name for row in rows] == [f"same.yaml (a/{number}/seed0)" for number in range(3)]
    assert tabulate(finished_runs(folders), baseline="same.yaml (a/1/seed0)")[1].is_baseline
    assert main(["report", *folders, "--baseline", "same"]) == 2
    assert "--baseline same names 3 rows; write one of: 'same.yaml (a/0/seed0)'" in capsys.readouterr().err


def test_csv_and_json_have_the_numbers(runs, capsys):
    assert main(["report", *runs, "--format", "csv"]) == 0
    lines = {line["config"]: line for line in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert float(lines["kd.yaml"]["gain"]) == pytest.approx(16 / 15)
    assert lines["lskd.yaml"]["within_noise"] == "True"
    assert (lines["ce.yaml"]["gain"], lines["ce.yaml"]["seeds"]) == ("", "0 1 2")
    assert main(["report", *runs, "--format", "json", "--json", "same.json"]) == 0
    text = capsys.readouterr().out
    with open("same.json", encoding="utf-8") as file:
        assert file.read() == text
    kd = json.loads(text)[0]
    assert (kd["gain"]["seeds"], kd["within_noise"], kd["nll_mean"]) == (3, False, 1.5)


def test_table_and_picture_go_to_files(runs, capsys, pictured, tmp_path):
    assert main(["report", *runs, "--out", "table.md", "--plot", "runs.png"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "table.md").read_text().startswith("| config")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
    _, texts = pictured
    wanted = {
        "Test top-1 of every config and seed",
        "test top-1 of the best epoch, %",
        "config",
        "mean of ce.yaml",
        "one seed",
        "mean and 95 % interval",
        "lskd.yaml",
    }
    assert wanted <= texts()
