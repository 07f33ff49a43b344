import itertools

from kd_plugins.sweep.run import _edges
from kd_plugins.sweep.space import Axis, parse_grid
from kd_plugins.sweep.table import save_heat_map, sweep_table


def result(keys, scores, failed=()):
    points = [{"values": dict(zip(keys, values, strict=True)), "val": score} for values, score in scores.items()]
    pick = max(points, key=lambda point: point["val"])
    return {
        "config": "kd.yaml", "seeds": [0, 1], "sampler": "grid", "points": points, "failed": list(failed),
        "pick": {**pick, "test": "80.00 +- 1.00", "at_edge": []},
    }  # fmt: skip


def test_the_best_point_stands_first_and_the_pick_is_named():
    text = sweep_table(result(["a.lr", "b.weight"], {("0.1", "1"): 70.0, ("0.2", "1"): 81.5}))
    lines = text.splitlines()
    assert lines[2].replace(" ", "") == "|0.2|1|81.50|"
    assert "Mean best validation score over seeds 0, 1; 2 points." in lines
    assert "Pick: lr = 0.2, weight = 1. Tested once: 80.00 +- 1.00 on the test images, over the same seeds." in lines


def test_the_edge_of_a_grid_is_found_by_size():
    axis = parse_grid("lr=0.1,0.03,0.3")
    assert _edges({"lr": "0.3"}, [axis]) == ["lr"]
    assert _edges({"lr": "0.1"}, [axis]) == []
    assert _edges({"lr": "0.1"}, [parse_grid("lr=0.1,0.3")]) == []
    assert _edges({"lr": "0.1"}, [Axis("lr", (), 0.1, 1.0)]) == []


def test_the_heat_map_has_its_axes_its_unit_and_numbers_sorted_by_size(tmp_path, pictured):
    figures, texts = pictured
    scores = {(lr, w): 10 * float(w) for lr, w in itertools.product(("0.1", "0.02"), ("10", "2", "3"))}
    save_heat_map(result(["a.lr", "b.weight"], scores), tmp_path / "map.png")
    shown = texts()
    assert {"lr", "weight", "validation, %", "kd.yaml: best validation score, mean of 2 seeds"} <= set(shown)
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3", "10"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.02", "0.1"]


def test_one_setting_is_a_curve(tmp_path, pictured):
    figures, texts = pictured
    save_heat_map(result(["a.lr"], {("0.1",): 50.0, ("0.2",): 60.0}), tmp_path / "curve.png")
    assert {"lr", "validation, %"} <= set(texts())
    assert figures[0].axes[0].lines[0].get_ydata().tolist() == [50.0, 60.0]
