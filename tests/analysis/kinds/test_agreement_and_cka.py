"""Agreement of predictions and similarity of layers, of several students."""

import pytest
import studies
import torch

from kd_plugins.analysis.compare import compare
from kd_plugins.analysis.kinds.agreement import Agreement
from kd_plugins.analysis.kinds.cka import CKA


def test_agreement_by_class():
    given = studies.study(studies.network(), student=studies.network())
    given.found.labels = torch.tensor([0, 0, 1, 1])
    given.found.logits = {
        "teacher": torch.eye(2)[[0, 1, 1, 0]],  # wrong in the second and the last
        "student": torch.eye(2)[[0, 0, 1, 0]],
    }
    found = Agreement().compute(given)
    assert found["teacher_wrong"] == 2
    one = found["students"]["student"]
    assert (one["agreement"].item(), one["extracurricular"].item()) == (0.75, 0.5)
    assert [value.item() for value in one["per_class"]] == [0.5, 1]


def test_students_that_are_their_teacher():
    model = studies.network()
    given = studies.study(model, same=model, other=studies.network("cifar_resnet14"))
    found = studies.drawn(Agreement(), given)
    assert found["students"]["same"]["agreement"] == 1
    assert found["students"]["same"]["extracurricular"] in (0, None)
    given = studies.study(model, same=model)
    found = studies.drawn(CKA(), given)
    assert [found["cka"]["same"][i][i] for i in range(4)] == pytest.approx([1] * 4, abs=1e-5)


def test_two_students_beside_each_other_are_as_alone():
    teacher, one, two = (studies.network("cifar_resnet14") for _ in range(3))
    given = studies.study(teacher, one=one, two=two)
    found = studies.drawn(CKA(), given)
    for name, model in (("one", one), ("two", two)):
        alone = compare(model, teacher, given.loader, studies.CPU)
        torch.testing.assert_close(torch.tensor(found["cka"][name]), torch.tensor(alone.cka), rtol=1e-5, atol=1e-6)
        assert found["aligned"][name] == [list(pair) for pair in alone.aligned]
