import pytest

from kd_plugins.recipes.plan import parse_method, parse_transforms, sum_name


@pytest.mark.parametrize(
    ("method", "base", "name"),
    [
        ("kd", None, "kd"),
        ("lskd", None, "lskd"),
        ("lskd", "kd", "lskd"),
        ("kd_ls", None, "lskd"),
        ("kd_sfkd", None, "sfkd"),
        ("sfkd", "kd", "sfkd"),
        ("sfkd", "lskd", None),
        ("lskd", "dkd", "dkd_ls"),
        ("lskd", "sfkd", "sfkd_ls"),
        ("sfkd", "fitnet+kd", "fitnet_sfkd+sfkd"),
        ("sp_sfkd+kd", None, "sp_sfkd+kd"),
        ("ce", None, "ce"),
    ],
)
def test_a_name_and_its_base(method, base, name):
    if name is None:
        with pytest.raises(ValueError, match="the masked form of lskd is sfkd_ls"):
            parse_method(method, base=base)
    else:
        assert sum_name(parse_method(method, base=base)) == name


@pytest.mark.parametrize(
    ("method", "base", "message"),
    [
        ("lsdk", None, "unknown method 'lsdk'; did you mean 'lskd'"),
        ("sp+lsdk", None, "unknown method 'lsdk'"),
        ("sfkd", "fitnett", "unknown method 'fitnett'; did you mean 'fitnet'"),
        ("kd", "dkd", "--base is for lskd and sfkd, found kd"),
        ("ce", "kd", "--base is for lskd and sfkd, found ce"),
        ("lskd", "fitnet", "only methods on the models' logits can be standardized: .*kd, "),
        ("kd+kd", None, r"every method of a sum must be another one, found kd \+ kd"),
        ("lakd_sfkd", None, "no mask goes before it"),
        ("aekd+kd", None, "aekd has several teachers and cannot be added"),
    ],
)
def test_what_makes_no_sense_is_refused(method, base, message):
    with pytest.raises(ValueError, match=message):
        parse_method(method, base=base)


def test_transforms_keep_their_order():
    assert parse_transforms("keep_salient=16, standardize") == [
        {"key": "keep_salient", "keep": 16},
        {"key": "standardize"},
    ]
    assert parse_transforms("keep_salient") == [{"key": "keep_salient", "keep": 0.5}]
    assert parse_transforms("") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("standardise", "unknown transform 'standardise'; did you mean 'standardize'"),
        ("standardize=2", "--with standardize takes no value"),
        ("keep_salient=1.5", "wants a share in .* such as 0.5, found keep_salient=1.5"),
        ("keep_salient=0", "found keep_salient=0"),
        ("keep_salient=nan", "found keep_salient=nan"),
        ("keep_salient=", "found keep_salient="),
    ],
)
def test_a_transform_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_transforms(text)
