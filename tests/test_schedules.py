import copy
import itertools

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from kd_plugins.schedules import WarmupCosine


def rates(factor, epochs, lr=0.05):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = LambdaLR(optimizer, factor)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found, schedule


def test_warms_up_then_falls_to_the_last_rate():
    factor = WarmupCosine(epochs=300, warmup_epochs=3, warmup_factor=0.02, final_factor=0.02)
    found, _ = rates(factor, 300)
    assert found[0] == pytest.approx(0.001)  # 0.02 * 0.05
    assert found[1] == pytest.approx(0.05 * (0.02 + 0.98 / 3))
    assert found[150] == pytest.approx(0.05 * (0.02 + 0.98 * 0.5))  # half way: the cosine is 0
    assert all(a > b for a, b in itertools.pairwise(found[3:]))
    assert 0.05 * factor(300) == pytest.approx(0.001)


def test_its_state_travels_with_the_schedule():
    """LambdaLR saves a callable object's attributes, so a resumed run needs no code from the file."""
    _, schedule = rates(WarmupCosine(epochs=10, warmup_epochs=2), 4)
    state = copy.deepcopy(schedule.state_dict())
    assert state["lr_lambdas"] == [{"epochs": 10, "warmup_epochs": 2, "warmup_factor": 0.0, "final_factor": 0.0}]
    _, again = rates(WarmupCosine(epochs=99), 1)
    again.load_state_dict(state)
    assert again.lr_lambdas[0].epochs == 10
    assert again.last_epoch == 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"epochs": 0}, "epochs must be a finite number of at least 1, found 0"),
        ({"epochs": 5, "warmup_epochs": 5}, r"warmup_epochs must be below epochs \(5\), found 5"),
        ({"epochs": 5, "final_factor": -0.1}, "final_factor must be a finite number of at least 0"),
    ],
)
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosine(**kwargs)
