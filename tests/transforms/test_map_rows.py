import pytest
import torch

from kd_plugins.transforms.map_rows import copied_rows, map_rows, rows_map

MAP = torch.arange(24.0).view(2, 3, 2, 2)


@pytest.mark.parametrize("function", [map_rows, copied_rows])
def test_a_row_is_a_position(function):
    rows = function(MAP)
    assert rows.tolist() == [MAP[b, :, h, w].tolist() for b in range(2) for h in range(2) for w in range(2)]
    assert function(rows).tolist() == rows.tolist()


def test_rows_become_the_map_again():
    rows = map_rows(MAP)
    assert torch.equal(rows_map(rows, MAP.shape), MAP)
    assert rows_map(rows, rows.shape) is rows


def test_copied_rows_may_be_overwritten():
    for x in (MAP.clone(), map_rows(MAP)):
        before = x.clone()
        copied_rows(x).zero_()
        assert torch.equal(x, before)
