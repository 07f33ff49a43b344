import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.sweep.space import Axis, folder_name, grid, parse_grid, parse_range, short_names, yaml_number


@settings(deadline=None)
@given(st.floats(-1e12, 1e12, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-12))
def test_a_drawn_number_is_a_number_in_yaml_and_close(value):
    read = yaml.safe_load(yaml_number(value))
    assert isinstance(read, int | float)
    assert read == pytest.approx(value, rel=1e-3)


def test_a_grid_has_every_combination_once_and_a_folder_each():
    axes = [parse_grid("a.lr=0.1,0.2"), parse_grid("b.weight=1,2,3")]
    points = grid(axes)
    assert len({folder_name(point) for point in points}) == 6
    assert points[1] == {"a.lr": "0.1", "b.weight": "2"}


def test_values_of_yaml_stay_as_they_are_typed():
    assert parse_grid("a={key: SGD, lr: 1},{key: Adam, lr: 2}").values == ("{key: SGD, lr: 1}", "{key: Adam, lr: 2}")
    assert parse_grid("a=True,False").values == ("True", "False")


@pytest.mark.parametrize("text", ["lr", "lr=", "=1,2", "lr= , "])
def test_a_grid_without_key_or_values_is_refused(text):
    with pytest.raises(ValueError, match=r"--grid must be KEY=V1,V2, such as .*found"):
        parse_grid(text)


def test_a_value_given_twice_is_refused_also_in_another_spelling():
    with pytest.raises(ValueError, match="every value must be given once"):
        parse_grid("lr=0.01,1e-2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr=1", "--range must be KEY=LOW:HIGH"),
        ("lr=a:b", "--range must be KEY=LOW:HIGH"),
        ("lr=1:0.1", "the first number must be below the second$"),
        ("lr=0:1:log", "below the second and above 0"),
        ("lr=0:1:lin", "--range must be KEY=LOW:HIGH"),
    ],
)
def test_a_range_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_range(text)


def test_equal_ends_of_keys_are_told_apart():
    assert short_names(["a.kd.weight", "a.sp.weight"]) == {"a.kd.weight": "kd.weight", "a.sp.weight": "sp.weight"}
    assert short_names(["weight", "a.weight"]) == {"weight": "weight", "a.weight": "a.weight"}


def test_the_ends_of_a_range_are_checked_before_the_first_run():
    assert Axis("lr", (), 1e-6, 0.1).ends == ("1.0e-06", "0.1")
