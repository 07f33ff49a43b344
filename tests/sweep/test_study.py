import sys

import pytest

from kd_plugins.sweep.space import parse_grid, parse_range
from kd_plugins.sweep.study import GRID, RANDOM, TPE, Study

LR, WEIGHT = parse_grid("a.lr=0.1,0.2"), parse_grid("b.weight=1,2")
RANGE = parse_range("a.lr=0.001:0.1:log")


def finish(study, score=lambda point: 1.0):
    """Take all trials that are left, and return their points."""
    points = []
    while True:
        with study.next() as taken:
            if taken is None:
                return points
            trial, point = taken
            study.tell(trial, score(point))
            points.append(point)


def test_a_grid_is_tried_once_whoever_takes_the_points(tmp_path):
    one, other = (Study(tmp_path, [LR, WEIGHT], GRID, 0, seed=0) for _ in range(2))
    with one.next() as first, other.next() as second, one.next() as third:
        taken = [first[1], second[1], third[1]]
        assert one.running() == 3
        for trial, _ in (first, second, third):
            one.tell(trial, 0.5)
    points = [*taken, *finish(other)]
    assert len({tuple(point.values()) for point in points}) == len(points) == 4
    assert finish(one) == []
    assert finish(Study(tmp_path, [LR, WEIGHT], GRID, 0, seed=0)) == []


def test_a_point_of_a_killed_process_is_taken_again(tmp_path):
    killed = Study(tmp_path, [LR], GRID, 0, seed=0)
    with killed.next() as taken:
        left = taken[1]  # the lock is released, but no score is told
    other = Study(tmp_path, [LR], GRID, 0, seed=0)
    points = finish(other)
    assert left in points
    assert len(points) == 2
    assert [score for _, score in other.scores()] == [1.0, 1.0]


def test_random_points_are_the_same_in_every_process_and_differ_from_each_other(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    first = Study(tmp_path / "a", [RANGE, WEIGHT], RANDOM, 5, seed=0)
    second = Study(tmp_path / "b", [RANGE, WEIGHT], RANDOM, 5, seed=0)
    with first.next() as taken:
        first.tell(taken[0], 0.0)
        begun = taken[1]
    rest = finish(Study(tmp_path / "a", [RANGE, WEIGHT], RANDOM, 5, seed=0))
    assert [begun, *rest] == finish(second)
    assert len({point["a.lr"] for point in (begun, *rest)}) == 5
    assert all(0.001 <= float(point["a.lr"]) <= 0.1 for point in rest)


def test_tpe_tries_as_many_points_as_asked_and_goes_where_scores_are_high(tmp_path):
    points = finish(Study(tmp_path, [RANGE], TPE, 25, seed=0), score=lambda point: -abs(float(point["a.lr"]) - 0.05))
    assert len(points) == 25
    rates = [float(point["a.lr"]) for point in points]
    assert len(set(rates)) > 20
    near = [abs(rate - 0.05) for rate in rates]
    assert sum(near[15:]) / 10 < sum(near[:10]) / 10


def test_a_point_that_fails_is_kept_with_its_reason_and_not_tried_again(tmp_path):
    study = Study(tmp_path, [LR], GRID, 0, seed=0)
    with study.next() as taken:
        study.fail(taken[0], "the loss is nan")
    assert len(finish(study)) == 1
    assert [reason for _, reason in study.failures()] == ["the loss is nan"]
    assert finish(Study(tmp_path, [LR], GRID, 0, seed=0)) == []


def test_without_optuna_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install 'kd-plugins\[sweep\]'"):
        Study(tmp_path, [LR], GRID, 0, seed=0)
