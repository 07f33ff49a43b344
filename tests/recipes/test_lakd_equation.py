"""The whole criterion of LAKD's recipe is Eq. (6), written out here in plain torch, and nothing else."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_recipe_steps import ON_ONE_CPU, SMALL

from kd_plugins.config.build import build_box, build_config, build_model
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.host.boxes.processes import complete_pre_epoch
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.recipe import sheet_of

STUDENT_ENDS, TEACHER_ENDS = ("layer1.0", "layer2.0", "layer3.0"), ("layer1", "layer2", "layer3")


def request(*options):
    return Request("lakd", "resnet14", "resnet8", options=options)


def maps_of(model, paths, images):
    """Return the logits and the outputs of modules."""
    kept = {}
    handles = [
        model.get_submodule(path).register_forward_hook(lambda _m, _i, out, path=path: kept.update({path: out}))
        for path in paths
    ]
    logits = model(images)
    for handle in handles:
        handle.remove()
    return logits, [kept[path] for path in paths]


def equation_6(student, teacher, images, labels, *, alpha, beta):
    """Return alpha * L_h + (1 - alpha) * L_att + beta * (L_f of every module), L_h the cross-entropy with the labels.

    L_f is the mean of ((1 + A) (F_T - F_S))^2 with A from 0 to 1, a quarter of the channels' mean and three quarters of
    their largest magnitude. L_att is the mean squared difference of class activation maps, averaged to 2 x 2.
    """
    logits, own = maps_of(student, STUDENT_ENDS, images)
    with torch.no_grad():
        theirs = maps_of(teacher, TEACHER_ENDS, images)[1]
    local = 0.0
    for f_s, f_t in zip(own, theirs, strict=True):
        a = 0.25 * f_t.abs().mean(1) + 0.75 * f_t.abs().amax(1)
        low, high = a.amin((1, 2), keepdim=True), a.amax((1, 2), keepdim=True)
        a = ((a - low) / (high - low))[:, None]
        local = local + (((1 + a) * (f_t - f_s)) ** 2).mean()
    class_maps = [
        F.adaptive_avg_pool2d(F.conv2d(f, model.fc.weight[:, :, None, None]), 2)
        for f, model in ((own[-1], student), (theirs[-1], teacher))
    ]
    attention = (class_maps[0] - class_maps[1]).square().mean()
    log_probabilities = logits.log_softmax(1)
    cross_entropy = -log_probabilities[torch.arange(len(labels)), labels].mean()
    return alpha * cross_entropy + (1 - alpha) * attention + beta * local


@pytest.mark.parametrize(
    ("options", "alpha", "beta"), [((), 0.5, 1.0), (("alpha=0.2", "beta=3"), 0.2, 3.0), (("alpha=1",), 1.0, 1.0)]
)
@pytest.mark.parametrize("backward", ["joint", "eager"])
def test_the_criterion_is_the_equation(options, alpha, beta, backward):
    text = recipe(request(f"backward={backward}", *options))
    config = with_fake_data(parse_config(text, Path("recipe.yaml"), SMALL))
    parts = build_config(config)
    torch.manual_seed(0)
    teacher, student = (
        build_model(config, name, parts["models"][name], ON_ONE_CPU) for name in ("teacher_model", "student_model")
    )
    box = build_box(config, parts, teacher, student, ON_ONE_CPU, seed=0)
    complete_pre_epoch(box, 0)
    images, labels, supplement = next(iter(box.train_data_loader))
    found = box.forward_process(images, labels, supplement)
    expected = equation_6(student, teacher, images, labels, alpha=alpha, beta=beta)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0.0)


def test_the_cross_entropy_has_the_weight_alpha():
    assert sheet_of(request()).ce == 0.5
    assert sheet_of(request("alpha=0.2")).ce == 0.2
    assert sheet_of(request("alpha=0.2", "ce=1")).ce == 1.0
    assert [term.criterion for term in sheet_of(request()).terms] == ["LAKDLoss"]
