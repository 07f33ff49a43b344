import subprocess
import sys
from pkgutil import resolve_name

import pytest
from torchdistill.common.main_util import import_dependencies
from torchdistill.losses.registry import MIDDLE_LEVEL_LOSS_DICT

import kd_plugins
from kd_plugins._checks import named_keywords
from kd_plugins.check.rules import values
from kd_plugins.entries import ENTRIES
from kd_plugins.methods import METHODS
from kd_plugins.registry import KINDS, register_all

NAMES_THAT_CONFIGS_USE = {
    "losses": {
        "SoftTargetLoss",
        "LSKDLoss",
        "CKDLoss",
        "SFKDLoss",
        "DKDLoss",
        "CTKDLoss",
        "MLKDLoss",
        "AEKDLoss",
        "AEKDFeatureLoss",
        "AverageEnsembleLoss",
    },
    "loss-wrappers": {"TransformedLoss", "LogitStandardization", "SalientFeatureMask"},
    "model-wrappers": {"FrozenTeacher", "CTKDStudent"},
    "models": {
        "timm_model",
        "frozen_teacher",
        "model_with_logits",
        "teacher_ensemble",
        "cifar_resnet8",
        "cifar_resnet20",
        "cifar_resnet56",
        "cifar_resnet8x4",
        "cifar_resnet32x4",
    },
    "processes": {"kd_pre_epoch"},
    "dataset-wrappers": {"TwoViews"},
    "collate-functions": {"collate_two_views"},
}


def test_every_promised_name_is_in_torchdistills_table():
    for kind, names in NAMES_THAT_CONFIGS_USE.items():
        assert names <= set(KINDS[kind].table), kind


def test_every_entry_is_registered_and_described():
    for entry in ENTRIES:
        item = resolve_name(entry.path)
        if entry.kind in KINDS:
            held = KINDS[entry.kind].table[entry.key]
            assert item is (held.tensor_loss if entry.reads else held)
        else:
            assert entry.kind in ("regressors", "transforms")
        assert item.__name__ == entry.key
        assert 5 < len(entry.summary) < 60, entry


def test_importing_and_registering_again_changes_nothing():
    before = {kind: dict(KINDS[kind].table) for kind in KINDS}
    register_all()
    import_dependencies(["kd_plugins", {"name": "kd_plugins"}])
    assert {kind: dict(KINDS[kind].table) for kind in KINDS} == before


def test_a_taken_key_names_its_holder(monkeypatch):
    class Squatter:
        pass

    monkeypatch.setitem(MIDDLE_LEVEL_LOSS_DICT, "LSKDLoss", Squatter)
    with pytest.raises(ValueError, match=r"loss key 'LSKDLoss' is already held by test_registry.*Squatter"):
        register_all()


def test_is_the_only_import_that_a_config_needs_and_leaves_timm_to_those_who_build_from_it():
    """A fresh interpreter that imports nothing else first, as `dependencies: [kd_plugins]` does."""
    code = (
        "import sys, kd_plugins.models; assert 'timm' not in sys.modules;"
        "from torchdistill.losses.registry import get_mid_level_loss as get;"
        "print(get({'key': 'LSKDLoss', 'kwargs': {'temperature': 3.0}}).loss)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LSKDLoss" in done.stdout
    assert "3.0" in done.stdout


def test_version():
    assert kd_plugins.__version__.count(".") == 2


def test_records_name_what_is_registered():
    known = {(entry.kind, entry.key) for entry in ENTRIES}
    for method in METHODS.values():
        assert {("losses", loss.key) for loss in method.losses} <= known
        assert {(part.kind, part.key) for part in method.parts} <= known
        assert method.key in KINDS["losses"].table, method.name  # ours or torchdistill's
        assert not method.masked or method.masked in KINDS["losses"].table
        for loss in method.losses:
            assert {("transforms", key) for key in loss.applies} <= known


def test_what_the_check_knows_is_registered():
    known = {entry.key for entry in ENTRIES}
    assert set(values.WRAPPED) | set(values.WRAPPED.values()) <= known
    wrong = [
        key
        for loss in values.LOSSES.values()
        for key in loss.usual
        if key not in named_keywords(resolve_name(loss.path))[0]
    ]
    assert wrong == []
