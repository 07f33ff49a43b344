import pytest
from matplotlib.collections import PathCollection

from kd_plugins.demo.methods import Variant
from kd_plugins.demo.plot import save_plot
from kd_plugins.demo.table import collect, markdown

TEACHER = {"test_best": {"top1": 98.0, "samples": 360}, "test_last": {"top1": 50.0}, "seconds": 40.0}


def summary(last, seconds):
    return {"test_last": {"top1": last}, "test_best": {"top1": 99.9}, "seconds": seconds}


def test_mean_spread_gain_and_time_are_those_of_hand():
    students = {
        # mean 270 / 3 = 90; squares 4 + 0 + 4 = 8, 8 / (3 - 1) = 4, sd 2
        Variant("ce"): [summary(88.0, 5.0), summary(90.0, 6.0), summary(92.0, 60.0)],
        # mean 267 / 3 = 89; squares 1 + 0 + 1 = 2, 2 / 2 = 1, sd 1; gain 89 - 90 = -1
        Variant("kd"): [summary(88.0, 9.0), summary(89.0, 8.0), summary(90.0, 7.0)],
    }
    results = collect(TEACHER, students, [0, 1, 2], threads=[2, 2])
    ce, kd = results.rows
    assert (ce.mean, ce.sd, ce.gain, ce.seconds) == (90.0, 2.0, None, 6.0)
    assert (kd.mean, kd.sd, kd.gain, kd.seconds) == (89.0, 1.0, -1.0, 8.0)
    assert results.teacher == 98.0


def test_a_method_that_does_worse_is_shown():
    students = {Variant("ce"): [summary(90.0, 1.0)] * 2, Variant("ckd"): [summary(80.0, 2.0), summary(84.0, 2.0)]}
    # mean 82; squares 4 + 4 = 8, 8 / (2 - 1) = 8, sd 2.83; gain -8
    text = markdown(collect(TEACHER, students, [0, 1], threads=[1, 4]))
    assert "| cifar_resnet8 | CKD           | 82.00 +- 2.83 |      98.00 |        -8.00 |           2.0 |" in text
    assert "after the last epoch" in text
    assert "2 seeds (0, 1)" in text
    assert "with 1 and 4 threads of torch" in text


def test_one_seed_has_no_spread(tmp_path):
    students = {Variant("ce"): [summary(90.0, 1.0)], Variant("kd"): [summary(91.0, 1.0)]}
    results = collect(TEACHER, students, [7], threads=[1, 1])
    assert [row.sd for row in results.rows] == [None, None]
    text = markdown(results)
    assert "+-" not in text
    assert "of seed 7." in text
    assert "with 1 thread of torch" in text
    save_plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


@pytest.mark.parametrize(("seeds", "dots", "legend"), [([7], 0, "seed 7"), ([0, 1], 4, "mean ± sd")])
def test_the_plot_names_its_axes_and_draws_no_value_twice(tmp_path, pictured, seeds, dots, legend):
    students = {Variant(name): [summary(90.0 + seed, 1.0) for seed in seeds] for name in ("ce", "kd")}
    save_plot(collect(TEACHER, students, seeds, threads=[1]), tmp_path / "plot.png")
    (figure,), texts = pictured
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(drawn) == 2
    assert sum(len(points.get_offsets()) for points in axes.collections if isinstance(points, PathCollection)) == dots
    assert {"top-1 accuracy on 360 test images, %", "how the student learns", legend} <= texts()
    assert any("ResNet-8 from a ViT" in text for text in texts())


@pytest.mark.parametrize("count", [1, 4])
def test_every_line_of_the_table_is_as_long(count):
    students = {Variant(name): [summary(90.0, 100.0)] * count for name in ("ce", "kd", "lskd")}
    lines = markdown(collect(TEACHER, students, range(count), threads=[1])).splitlines()
    assert len({len(line) for line in lines if line.startswith("|")}) == 1
