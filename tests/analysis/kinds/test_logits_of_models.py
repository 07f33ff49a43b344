"""Numbers of the logits: by hand, for a student that is its teacher, and their invariances."""

import pytest
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.kinds.logits import Logits, class_mean_difference, histogram, statistics, z_scores


def test_difference_of_class_means_by_hand():
    # Class 0 has the means (2, 0) and (1, 1), class 2 has (0, 3) and (0, 1); class 1 has no image.
    student = torch.tensor([[1.0, 9.0, 0.0], [3.0, 9.0, 0.0], [0.0, 9.0, 3.0]])
    teacher = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert class_mean_difference(student, teacher, torch.tensor([0, 0, 2])).tolist() == [[1, 1], [0, 2]]


def test_means_of_two_images():
    found = statistics(torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 6.0]]), torch.tensor([2, 2]))
    assert {name: round(value.item(), 4) for name, value in found.items()} == {
        "mean": 2.0, "std": round(((2 / 3) ** 0.5 + 8**0.5) / 2, 4), "range": 4.0, "target": 4.0, "margin": 3.5,
    }  # fmt: skip


def test_standardized_difference_ignores_scale_and_shift_of_an_image():
    student, teacher, labels = torch.randn(12, 4), torch.randn(12, 4), torch.arange(12) % 4
    other = student * (torch.rand(12, 1) + 0.5) + torch.randn(12, 1)
    one, two = (class_mean_difference(z_scores(x), z_scores(teacher), labels) for x in (student, other))
    torch.testing.assert_close(one, two)
    assert torch.equal(z_scores(torch.ones(2, 3)), torch.zeros(2, 3))


def test_histograms_share_their_edges():
    found = histogram({"a": torch.randn(500, 6), "b": 3 * torch.randn(500, 6)})
    assert found["counts"]["a"].shape == (64, 64)
    assert 990 <= sum(int(counts.sum()) for counts in found["counts"].values()) <= 1000


def test_a_student_that_is_its_teacher():
    model = studies.network()
    given = studies.study(model, data=studies.images(9, classes=4), same=model)  # no image of the fifth class
    analysis = Logits()
    found = studies.drawn(analysis, given)
    assert found["difference"]["same"]["raw"]["max"] == found["difference"]["same"]["standardized"]["max"] == 0
    assert found["statistics"]["same"]["std_correlation"] == pytest.approx(1)
    assert found["classes_without_images"] == ["4"]
    assert "classes without an image are left out: 4" in analysis.table(found)


def test_the_image_of_the_bars():
    given = studies.study(studies.network())
    given.chosen = [5, 3, *range(6, 24)]
    assert studies.drawn(Logits(image=3), given)["bars"]["image"] == 3
    with pytest.raises(ConfigError, match="--image must be the index of one of the 20 chosen test images, found 4"):
        studies.result(Logits(image=4), given)
