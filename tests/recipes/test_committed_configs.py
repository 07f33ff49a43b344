from pathlib import Path

import pytest

from kd_plugins.recipes.committed import committed_configs, path_of, requests

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_committed_configs_are_what_recipe_prints():
    found = {path.relative_to(CONFIGS).as_posix(): path.read_text() for path in CONFIGS.rglob("*.yaml")}
    wanted = committed_configs()
    assert set(found) == set(wanted)
    differing = [name for name, text in wanted.items() if found[name] != text]
    assert differing == [], "python -m kd_plugins.recipes.committed configs writes them again"


def test_no_two_requests_make_one_file():
    paths = [path_of(request) for request in requests()]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("mask", ["", "_sfkd"])
def test_every_base_of_sfkd_s_table_1_is_there(mask):
    for base in ("fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "crd", "simkd"):
        assert (CONFIGS / "cifar100" / f"{base}{mask}" / "resnet8x4_from_resnet32x4.yaml").is_file()
    kd = "sfkd" if mask else "kd"
    assert (CONFIGS / "cifar100" / kd / "resnet8x4_from_resnet32x4.yaml").is_file()
