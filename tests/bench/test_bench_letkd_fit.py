import pytest
import torch

from kd_plugins.bench.letkd_fit import MadeUpFeatures, Size, run_letkd_fit

SMALL = Size(images=200, side=2, channels=6, classes=5, num_centres=8, subclasses=2, components=4)


def test_measures_every_piece():
    rows = run_letkd_fit(size=SMALL)
    assert [row.unit for row in rows] == ["s", "s", "s", "x", "s", "GB"]
    assert all(row.value > 0 for row in rows)
    assert rows[3].value == rows[2].value / rows[1].value
    assert rows[4].value <= 300
    assert [row.target for row in rows] == [60.0, None, None, 1.3, 300.0, 3.0]


def test_refuses_a_size_of_zero():
    with pytest.raises(ValueError, match="classes must be a finite number of at least 1, found 0"):
        run_letkd_fit(size=Size(classes=0))


def test_made_up_features_are_the_same_in_every_pass():
    stream = MadeUpFeatures(SMALL)
    first, second = (torch.cat([b.features for b in stream.blocks("")]) for _ in range(2))
    assert torch.equal(first, second)
    array = stream.array()
    assert torch.equal(first, array.features)
    assert array.shape.rows == stream.shape.rows == 800
