"""What holds for the module form of every loss: its function's defaults, and no bad argument gets past its making."""

import inspect
import re
from types import SimpleNamespace

import pytest
import torch

from kd_plugins import losses

MASK = {"keep": None, "by": "value"}
ATTENTION = {"power": 2, "form": "mean_squared", "beta": 1.0, "p": 2}
MATRICES = {"temperatures": (2.0, 3.0, 4.0, 5.0, 6.0), "standardize": False, "correction": 0, "variant": "paper"}
DEFAULTS = {
    "AEKDFeatureLoss": ("aekd_feature_loss", {"cap": 0.6, **MASK}),
    "AEKDLoss": ("aekd_loss", {"temperature": 4.0, "cap": 0.6, **MASK, "fill": "zero"}),
    "AttentionTransferLoss": ("attention_transfer_loss", ATTENTION),
    "AverageEnsembleLoss": ("average_ensemble_loss", {"temperature": 4.0, **MASK, "fill": "zero"}),
    "CATLoss": ("cat_loss", {"size": 2, "normalize": True}),
    "CKDLoss": ("ckd_loss", {"temperature": 1.0, "triple": "teacher_student_student", "gather": False}),
    "DKDLoss": ("dkd_loss", {"alpha": 1.0, "beta": 8.0, "temperature": 4.0}),
    "LAKDLoss": ("lakd_loss", {"alpha": 0.5, "beta": 1.0, "normalize": True}),
    "LSKDLoss": ("lskd_loss", {"temperature": 2.0, "correction": 0, "centre": True, "scale": True}),
    "LetKDLoss": ("soft_assignment_loss", {"sharpness": 1.0}),
    "MLKDLoss": ("mlkd_loss", MATRICES),
    "ProbabilisticLoss": ("probabilistic_loss", {"eps": 1e-7}),
    "RelationalLoss": ("relational_loss", {"distance_weight": 25.0, "angle_weight": 50.0}),
    "SFKDAttentionLoss": ("sfkd_attention_loss", {"by": "value", **ATTENTION}),
    "SFKDHintLoss": ("sfkd_hint_loss", {"by": "value"}),
    "SFKDLoss": ("sfkd_loss", {"temperature": 4.0, "by": "value", "fill": "zero"}),
    "SoftTargetLoss": ("soft_target_loss", {"temperature": 4.0}),
}
OF_THE_MODULE_ALONE = {"DKDLoss": {"warmup": 20}, "LetKDLoss": {"subclasses": 8}}


def defaults(name):
    parameters = inspect.signature(getattr(losses, name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


@pytest.mark.parametrize("name", DEFAULTS)
def test_module_and_function_have_the_same_defaults(name):
    function, expected = DEFAULTS[name]
    assert defaults(function) == expected
    assert defaults(name) == {**expected, **OF_THE_MODULE_ALONE.get(name, {})}


@pytest.mark.parametrize("name", [name for name in losses.__all__ if isinstance(getattr(losses, name), type)])
def test_every_module_repeats_the_defaults_of_its_function(name):
    functions = re.findall(r":func:`(\w+)`", getattr(losses, name).__doc__)
    of_functions = {key: value for function in functions for key, value in defaults(function).items()}
    own = {key: value for key, value in defaults(name).items() if key not in OF_THE_MODULE_ALONE.get(name, {})}
    assert functions
    assert own == {key: of_functions.get(key) for key in own}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("AEKDFeatureLoss", {"cap": 0}, "cap must be"),
        ("AEKDFeatureLoss", {"keep": 2.0}, "keep must be"),
        ("AEKDLoss", {"temperature": 0}, "temperature must be"),
        ("AEKDLoss", {"cap": 0}, "cap must be"),
        ("AEKDLoss", {"keep": 2.0}, "keep must be"),
        ("AttentionTransferLoss", {"power": 0}, "power must be"),
        ("AverageEnsembleLoss", {"temperature": 0}, "temperature must be"),
        ("AverageEnsembleLoss", {"keep": 2.0}, "keep must be"),
        ("CATLoss", {"size": 0}, "size must be"),
        ("CKDLoss", {"temperature": 0}, "temperature must be"),
        ("CKDLoss", {"triple": "other"}, "triple must be"),
        ("DKDLoss", {"temperature": 0}, "temperature must be"),
        ("LAKDLoss", {"alpha": -0.1}, "alpha must be a finite number of at least 0"),
        ("LAKDLoss", {"alpha": 1.1}, "alpha must be at most 1"),
        ("LAKDLoss", {"beta": -1}, "beta must be a finite number of at least 0"),
        ("LSKDLoss", {"temperature": 0}, "temperature must be"),
        ("LSKDLoss", {"correction": 2}, "correction must be"),
        ("LetKDLoss", {"statistics": SimpleNamespace(centres=torch.eye(3)), "sharpness": 0}, "sharpness must be"),
        ("MLKDLoss", {"temperatures": (2.0, 0.0)}, "temperatures"),
        ("MLKDLoss", {"correction": 2}, "correction must be"),
        ("MLKDLoss", {"variant": "other"}, "variant must be"),
        ("ProbabilisticLoss", {"eps": 0}, "eps must be"),
        ("RelationalLoss", {"distance_weight": -1}, "distance_weight must be a finite number of at least 0"),
        ("RelationalLoss", {"angle_weight": -1}, "angle_weight must be a finite number of at least 0"),
        ("SFKDAttentionLoss", {"keep": 2.0}, "keep must be"),
        ("SFKDHintLoss", {"keep": 0.5, "by": "other"}, "by must be"),
        ("SFKDLoss", {"keep": 2.0}, "keep must be"),
        ("SFKDLoss", {"keep": 0.5, "temperature": 0}, "temperature must be"),
        ("SoftTargetLoss", {"temperature": 0}, "temperature must be"),
    ],
)
def test_a_bad_argument_is_refused_when_the_module_is_made(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**arguments)


def test_minus_infinity_is_taken_unless_it_must_be_standardized():
    assert losses.MLKDLoss().takes_minus_inf
    assert not losses.MLKDLoss(standardize=True).takes_minus_inf
