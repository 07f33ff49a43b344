"""Several seeds of one config, and the table over finished runs."""

import json

import pytest
import small_configs

from kd_plugins.cli import main
from kd_plugins.config.config import parse_config
from kd_plugins.reports import seeds as seeds_module
from kd_plugins.reports.formats import markdown
from kd_plugins.reports.runs import finished_runs
from kd_plugins.reports.runs_table import RunsRow, tabulate
from kd_plugins.reports.schedule import first_difference, schedule_of
from kd_plugins.reports.seeds import train_seeds
from kd_plugins.training.train import train

REPORTED = "# Reported: 76.62 (LSKD, Table 1)\n"
SMALL = {"SAMPLES": "16", "EPOCHS": "1", **small_configs.without_teacher()}


def config(folder, heading=REPORTED, **parts):
    path = folder / "small.yaml"
    path.write_text(heading + small_configs.text(**{**SMALL, **parts}))
    return path


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    rows = train_seeds(config(folder), [0, 3], run_dir=folder / "runs", device="cpu")
    return folder, rows


def test_one_row_of_all_seeds_beside_what_is_reported(two_seeds):
    folder, (row,) = two_seeds
    assert row.seeds == (0, 3)
    assert row.reported == "76.62 (LSKD, Table 1)"
    summaries = [json.loads((folder / f"runs/seed{n}/summary.json").read_text()) for n in row.seeds]
    assert row.last == tuple(s["test_last"]["top1"] for s in summaries)
    assert row.best == tuple(s["test_best"]["top1"] for s in summaries)
    (written,) = json.loads((folder / "runs/summary.json").read_text())
    assert written["last_mean"] == pytest.approx(sum(row.last) / 2)
    # The sample deviation of two values is their distance over the square root of two.
    assert written["last_sd"] == pytest.approx(abs(row.last[0] - row.last[1]) / 2**0.5)
    assert "76.62 (LSKD, Table 1)" in (folder / "runs/summary.md").read_text()


def test_a_second_call_trains_only_what_is_missing(two_seeds, monkeypatch):
    folder, _ = two_seeds
    before = {n: (folder / f"runs/seed{n}/last.pt").stat().st_mtime_ns for n in (0, 3)}
    rows = train_seeds(config(folder), [0, 3, 5], run_dir=folder / "runs", device="cpu")
    assert rows[0].seeds == (0, 3, 5)
    assert before == {n: (folder / f"runs/seed{n}/last.pt").stat().st_mtime_ns for n in (0, 3)}


def test_an_interrupted_seed_goes_on(tmp_path, monkeypatch):
    path = config(tmp_path, EPOCHS="2")
    whole = train_seeds(path, [1], run_dir=tmp_path / "whole", device="cpu")

    def stop_after_an_epoch(*arguments, **keywords):
        from kd_plugins.training.trainer import Trainer

        save = Trainer._save

        def save_and_stop(trainer, line):
            save(trainer, line)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_save", save_and_stop)
            return train(*arguments, **keywords)

    monkeypatch.setattr(seeds_module, "train", stop_after_an_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_seeds(path, [1], run_dir=tmp_path / "parts", device="cpu")
    monkeypatch.setattr(seeds_module, "train", train)
    notes = []
    parts = train_seeds(path, [1], run_dir=tmp_path / "parts", device="cpu", note=notes.append)
    assert "resumed" in notes[0]
    assert (parts[0].best, parts[0].last) == (whole[0].best, whole[0].last)


def test_runs_of_another_schedule_are_refused(two_seeds, tmp_path):
    folder, _ = two_seeds
    other = tmp_path / "other"
    train(config(tmp_path, EPOCHS="2"), run_dir=other, device="cpu")
    with pytest.raises(
        ValueError, match=r"have different schedules: train.num_epochs is 1 in the first, 2 in the second"
    ):
        tabulate(finished_runs([folder / "runs", other]))


def test_a_run_counts_once_and_a_seed_once(two_seeds, tmp_path):
    folder, _ = two_seeds
    twice = finished_runs([folder / "runs/seed0", folder / "runs/seed0"])
    assert tabulate(twice)[0].seeds == (0,)
    train(config(folder), run_dir=tmp_path / "again", device="cpu")
    with pytest.raises(ValueError, match="same seed 0"):
        tabulate(finished_runs([folder / "runs/seed0", tmp_path / "again"]))


def test_report_prints_the_table_and_writes_the_rows(two_seeds, tmp_path, capsys):
    folder, _ = two_seeds
    assert main(["report", str(folder / "runs/seed0"), "--json", str(tmp_path / "rows.json")]) == 0
    assert "small.yaml" in capsys.readouterr().out
    assert json.loads((tmp_path / "rows.json").read_text())[0]["last_sd"] is None


def test_a_name_cannot_break_the_table():
    row = RunsRow("a|b\nc.yaml", (0,), (1.0,), (2.0,), None, "76.6 | 77.0\r\n(LSKD)", ("folder",))
    text = markdown([row])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2].replace(" ", "") == r"|a\|bc.yaml|1|1.00|2.00|-|-|-|-|76.6\|77.0(LSKD)|"
    assert len({len(line) for line in lines}) == 1
    assert all("-" in rule for rule in lines[1].strip("|").split("|"))
    assert r"Seeds: a\|b c.yaml: 0." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "absent"], "absent does not exist"),
        (["report", "."], "holds no run"),
        (["report", "unfinished"], "is not finished"),
        (["train", "small.yaml", "--seeds", "1,1"], "distinct whole numbers"),
        (["train", "small.yaml", "--seeds", "1,2", "--run-dir", "unfinished"], "folder of one run"),
    ],
)
def test_a_mistake_is_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unfinished").mkdir()
    config(tmp_path / "unfinished").rename(tmp_path / "unfinished/config.yaml")
    config(tmp_path).rename(tmp_path / "small.yaml")
    if arguments == ["report", "."]:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def schedule(text, **keywords):
    return schedule_of(parse_config(text, None), **keywords)


def test_places_and_workers_are_no_part_of_a_schedule_but_the_batch_is():
    loader = "{kwargs: {batch_size: 8, num_workers: W}}"
    text = f"{{datasets: {{a: {{root: ROOT}}}}, train: {{num_epochs: 1, train_data_loader: {loader}}}}}"
    one = schedule(text.replace("ROOT", "./x").replace("W", "0"), world_size=2)
    other = schedule(text.replace("ROOT", "/y").replace("W", "8"), world_size=2)
    assert first_difference(one, other) is None
    assert first_difference(one, schedule(text, world_size=4)) == ("train.effective batch size", "16", "32")


def test_a_method_is_no_part_of_a_schedule_but_the_rate_is():
    text = small_configs.text()
    other = small_configs.text(KD_TERM="        kd: {criterion: {key: SoftTargetLoss, kwargs: {}}, weight: 1}\n")
    assert first_difference(schedule(text), schedule(other)) is None
    slower = text.replace("lr: 0.05", "lr: 0.01")
    assert first_difference(schedule(text), schedule(slower)) == ("train.optimizer.kwargs.lr", "0.05", "0.01")
