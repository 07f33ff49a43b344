"""Every committed config passes the check on fake data: it builds, takes steps and is evaluated."""

from pathlib import Path

import pytest

from kd_plugins.check import check_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PATHS = sorted(CONFIGS.rglob("*.yaml"))
IDS = [str(path.relative_to(CONFIGS)) for path in PATHS]
ALLOWED: dict[str, tuple[str, str]] = {
    "cifar100/lakd/resnet32_from_resnet110.yaml": (
        "times the cross-entropy's at the weights",
        "without its checkpoint the teacher has random weights, and the maps of a random ResNet-110 reach 1e8",
    ),
}
"""Config -> a piece of the warning that it may have, and why."""


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_check_finds_nothing(path):
    report = check_config(path, fake_data=True, images=4)
    allowed, _reason = ALLOWED.get(str(path.relative_to(CONFIGS)), (None, ""))
    wrong = [f for f in report.findings if f.level != "ok" and (allowed is None or allowed not in f.message)]
    assert not wrong, report.text()
    (stage,) = report.stages
    assert stage.terms
    assert stage.estimate is not None


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_names_its_checkpoints_after_itself(path):
    text = path.read_text()
    assert text.startswith("# ")
    if "dst_ckpt" in text:
        assert path.stem in text.split("dst_ckpt:")[1].splitlines()[0]
