import pytest
from scipy.stats import ttest_1samp

from kd_plugins.reports.paired import paired_gain


def test_the_interval_is_scipys_for_the_differences():
    values, baseline = {0: 81.2, 1: 81.4, 2: 81.2, 3: 81.1}, {3: 80.3, 2: 80.0, 1: 80.5, 0: 80.1}
    expected = ttest_1samp([values[s] - baseline[s] for s in range(4)], 0).confidence_interval(0.95)
    gain = paired_gain(values, baseline)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))
    assert (gain.seeds, gain.within_noise) == (4, False)


def test_only_shared_seeds_count_and_one_has_no_interval():
    gain = paired_gain({0: 2.0, 5: 90.0}, {0: 1.5, 7: 10.0})
    assert (gain.mean, gain.low, gain.seeds, gain.within_noise, str(gain)) == (0.5, None, 1, True, "+0.50")
    assert paired_gain({0: 1.0}, {1: 1.0}) is None


def test_differences_of_both_signs_are_within_noise():
    assert paired_gain({0: 1.0, 1: 3.0}, {0: 2.0, 1: 2.0}).within_noise
