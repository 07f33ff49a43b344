"""Mistakes that people make in configs, planted one at a time; the check finds each, says it, and names its line.

``mistakes/*.yaml`` hold them: each is a diff against the config without a fault, or against its variants with a feature
loss (``base: hint``) or a student cut into modules (``base: cut``).
"""

import re
from pathlib import Path

import planted
import pytest
import yaml
from torch import nn
from torchdistill.losses import registry as losses

from kd_plugins._errors import ConfigError
from kd_plugins.check import check_config
from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config

BASES = {"sound": planted.swap(), "hint": planted.hinted(), "cut": planted.cut()}
TABLES = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "mistakes").glob("*.yaml")}
MISTAKES = [row for rows in TABLES.values() for row in rows]
REFUSED = [row for row in TABLES["names"] if row["level"] == "error"]


class NotANumber(nn.Module):
    """A loss whose value is NaN."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict["."]["output"].sum() * float("nan")


class RootAtZero(nn.Module):
    """A loss of 0 whose gradient is no number."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return (student_io_dict["."]["output"] * 0).sum().sqrt()


class OneASample(nn.Module):
    """A loss that forgets the mean."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict["."]["output"].mean(1)


class Asks(nn.Module):
    """A loss that fails in a way of its own."""

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return student_io_dict.no_such_thing


@pytest.fixture(autouse=True)
def _own_losses(monkeypatch):
    for kind in (NotANumber, RootAtZero, OneASample, Asks):
        monkeypatch.setitem(losses.MIDDLE_LEVEL_LOSS_DICT, kind.__name__, kind)


def plant(row, teacher_file):
    """Return the config with one mistake."""
    text = BASES[row.get("base", "sound")](planted.sound("TEACHER_FILE"))
    for hunk in row["diff"].removesuffix("\n").split("\n@@\n"):
        lines = hunk.split("\n")
        old, new = ("".join(f"{x[1:]}\n" for x in lines if x[0] in kept) for kept in (" -", " +"))
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text.replace("TEACHER_FILE", str(teacher_file))


def found(report, row, text):
    """Tell whether a finding says this of this place, and stands on this line."""
    place, line, lines = row["at"].replace("TERMS", planted.TERMS), row.get("line"), text.splitlines()
    return any(
        finding.level == row["level"]
        and re.search(row["says"], finding.message)
        and finding.place == place
        and (line is None or (finding.line is not None and line in lines[finding.line - 1]))
        for finding in report.findings
    )


@pytest.mark.parametrize("row", MISTAKES, ids=[row["mistake"] for row in MISTAKES])
def test_a_mistake_is_found_and_named_with_its_line(tmp_path, teacher_file, row):
    text = plant(row, teacher_file)
    path = tmp_path / "small.yaml"
    path.write_text(text)
    report = check_config(path)
    assert found(report, row, text), report.text()
    assert report.failed == (row["level"] == "error" or any(f.level == "error" for f in report.findings))
    assert len([f for f in report.findings if f.level != "ok"]) <= 3, report.text()


@pytest.mark.parametrize("row", REFUSED, ids=[row["mistake"] for row in REFUSED])
def test_training_refuses_what_the_check_calls_an_error(teacher_file, row):
    with pytest.raises(ConfigError, match=row["says"]):
        build_config(parse_config(plant(row, teacher_file), "c.yaml"))


def test_no_two_mistakes_are_one():
    assert len({row["mistake"] for row in MISTAKES}) == len(MISTAKES)
