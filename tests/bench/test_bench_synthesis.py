import pytest

from kd_plugins.bench.synthesis import SynthesisCost, format_synthesis, run_synthesis
from kd_plugins.bench.timing import Paired


def test_measures_an_iteration():
    cost = run_synthesis(rounds=1, batch=2, size=8)
    assert (cost.images, cost.size) == (2, 8)
    assert cost.times.first > 0
    assert len(format_synthesis(cost).splitlines()) == 3


def test_verdict():
    missed = SynthesisCost(2, 8, Paired(1.0, 1.2, 1.2, 1.1, 1.3))
    assert "x 1.200 (1.100-1.300; target x 1.150: missed)" in format_synthesis(missed)


def test_refuses_one_image():
    with pytest.raises(ValueError, match="batch must be a finite number of at least 2, found 1"):
        run_synthesis(batch=1)
