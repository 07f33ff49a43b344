"""Studies of made-up models and images, without a config."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kd_plugins.analysis.analyze import look_at_images, plain
from kd_plugins.analysis.base import TEACHER, Study
from kd_plugins.analysis.study import subject
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.distributed import Processes

CPU = Processes(0, 1, torch.device("cpu"))


def network(name="cifar_resnet8", classes=5):
    """Return a network whose classifier is not near zero."""
    model = CIFAR_MODELS[name](num_classes=classes)
    nn.init.normal_(model.fc.weight)
    return model


def images(count=20, classes=5):
    """Return random images with labels that repeat."""
    return TensorDataset(torch.rand(count, 3, 32, 32), torch.arange(count) % classes)


def study(teacher=None, data=None, batch=8, **students):
    """Return a study of models by name."""
    data = images() if data is None else data
    config = SimpleNamespace(path=Path("c.yaml"))
    one = data[0][0][None]
    return Study(
        config, {}, CPU, 0, {},
        None if teacher is None else subject(TEACHER, "net", teacher, one),
        tuple(subject(name, "net", model, one) for name, model in students.items()),
        DataLoader(data, batch_size=batch), list(range(len(data))), data="made up",
    )  # fmt: skip


def result(analysis, given):
    """Return the numbers of an analysis as in JSON."""
    look_at_images([analysis], given)
    models = {one.name: {"architecture": one.title} for one in given.subjects}
    about = {"models": models, "data": given.data, "images": len(given.chosen)}
    return {**about, **plain(analysis.compute(given))}


def drawn(analysis, given):
    """Return the numbers, after table and picture have been made of them."""
    found = result(analysis, given)
    assert analysis.table(found)
    analysis.draw(found, given)
    return found


def feature(model, path, images):
    """Return the output of a module."""
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return kept[0]
