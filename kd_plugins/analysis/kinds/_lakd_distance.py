"""How far the modules of a LAKD student are from the teacher's feature maps that they learn from (LAKD, Fig. 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..._errors import ConfigError
from ..._tables import text_table
from ...config.keys import kwargs_of
from ...config.validate import stages
from ...host.lakd.anatomy import anatomy
from ...host.lakd.student import LAKDStudent
from ...host.lakd.teacher import HeardTeacher, heard_teacher
from ...models.points.entries import ShownPoint
from ...runtime.checkpoint import LAST, CheckpointError, load_state, load_tensors_beside, tensors_beside
from ...transforms import match_size
from ..base import TEACHER, Reading, Study, Subject
from ..drawing import add_title, colours, frame, new_figure


class LayerDistance:
    """Mean squared difference of the maps of every pair of student module and teacher point.

    The student's map goes through its trained regressor. Unlike the training loss, the difference has no attention.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.wrapper: LAKDStudent | None = None
        self.heard: HeardTeacher | None = None
        self.maps: dict[int, Tensor] = {}

    def reads(self, study: Study, subject: Subject) -> Reading:
        """Return the difference of every pair for a student, and nothing for the teacher, whose maps it holds.

        Raises:
            ConfigError: if the config is not LAKD's, or a student's regressors are not in its run folder.
        """
        heard = self._heard(study)
        if subject is study.teacher:
            places = {
                str(number): ((point.path, point.io), partial(self._hold, number, point))
                for number, point in enumerate(heard.points)
            }
            return Reading(places, lambda _batch, _values: {})
        wrapper = _trained_wrapper(study, subject)
        regressors = wrapper.regressors.to(study.procs.device)
        return Reading({
            str(number): ((point.path, point.io), self._difference(number, point, regressors[number]))
            for number, point in enumerate(wrapper.ends)
        })  # fmt: skip

    def _heard(self, study: Study) -> HeardTeacher:
        if self.heard is None:
            if study.teacher is None or not study.students:
                raise ConfigError(f"{study.config.path}: --distance needs a teacher in the config, and --checkpoint")
            self.wrapper = _wrapper(study, study.students[0])
            self.heard = heard_teacher(
                study.teacher.inside, anatomy(self.wrapper.student_model, self.wrapper.probe_size), self.wrapper.ends,
                self.wrapper.wanted, self.wrapper.channels, class_maps=False,
            )  # fmt: skip
        return self.heard

    def _hold(self, number: int, point: ShownPoint, tensor: Tensor) -> Tensor:
        # The teacher runs before the students on each batch, so the maps of one batch are enough. A later layer may
        # change the tensor in place.
        self.maps[number] = point.as_map(tensor).clone()
        return self.maps[number]

    def _difference(self, number: int, point: ShownPoint, regressor: nn.Module) -> Callable[[Any], Tensor]:
        def reduce(tensor: Any) -> Tensor:
            student, teacher = match_size(point.as_map(tensor), self.maps[number])
            return (regressor(student) - teacher).square().mean((1, 2, 3))

        return reduce

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``layer_distance``: per student, the pairs with their distance over all images."""
        heard = self._heard(study)
        ends = self.wrapper.ends if self.wrapper is not None else []
        found = {
            one.name: [
                {
                    "student": end.name,
                    "teacher": point.name,
                    "distance": study.found.of(self.name, one.name, str(number)).double().mean(),
                }
                for number, (end, point) in enumerate(zip(ends, heard.points, strict=True))
            ]
            for one in study.students
        }
        return {"layer_distance": found}


def distance_table(result: Mapping[str, Any]) -> list[str]:
    """Return a row per pair."""
    found = result["layer_distance"]
    rows = [["student's module", "teacher's point", *found]]
    rows += [
        [pairs[0]["student"], pairs[0]["teacher"], *(f"{one['distance']:.4g}" for one in pairs)]
        for pairs in zip(*found.values(), strict=True)
    ]
    return [
        *text_table(rows, left=(0, 1)),
        "mean squared difference of the feature maps, the student's after its regressor, without attention",
    ]


def distance_bars(result: Mapping[str, Any]) -> Any:
    """Return a group of bars per pair, with a bar per student."""
    found = result["layer_distance"]
    colour = colours([TEACHER, *found])
    pairs = next(iter(found.values()))
    figure = new_figure(max(5.0, 1.0 + 0.9 * len(pairs)), 3.2)
    axes = figure.subplots()
    width = 0.8 / len(found)
    for place, (name, own) in enumerate(found.items()):
        left = [number + (place - (len(found) - 1) / 2) * width for number in range(len(own))]
        axes.bar(left, [pair["distance"] for pair in own], width, color=colour[name], label=name)
    axes.set_xticks(range(len(pairs)), [f"{pair['student']}\n{pair['teacher']}" for pair in pairs], fontsize=8)
    frame(axes, "student's module, teacher's point", "mean squared difference", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    add_title(figure, result, "Distance of the modules from the teacher")
    return figure


def _wrapper(study: Study, subject: Subject) -> LAKDStudent:
    """Return the config's wrapper around a student, with new regressors."""
    student = list(stages(study.built["train"]).values())[-1].get("student") or {}
    section = student.get("auxiliary_model_wrapper") or {}
    if section.get("key") != LAKDStudent.__name__:
        raise ConfigError(
            f"{study.config.path}: --distance compares the layers that LAKD aligns, but the student has no "
            f"auxiliary_model_wrapper LAKDStudent (found {section.get('key')}); give the config of a LAKD run"
        )
    # Other analyses of the same call must not draw other numbers because of the new regressors.
    with torch.random.fork_rng(devices=[]):
        return LAKDStudent(subject.inside, **kwargs_of(section))


def _trained_wrapper(study: Study, subject: Subject) -> LAKDStudent:
    """Return a student's wrapper with the regressors in the ``last.pt`` of its run folder."""
    wrapper = _wrapper(study, subject)
    if not tensors_beside(wrapper, subject.inside):
        return wrapper
    folder = subject.checkpoint.parent if subject.checkpoint is not None else None
    if folder is None or not (folder / LAST).is_file():
        raise _needs_regressors(subject, f"there is no {LAST} beside {subject.checkpoint}")
    state = load_state(folder)
    own = {name: tensor.cpu() for name, tensor in subject.model.state_dict().items()}
    last = state["model"]
    if own.keys() != last.keys() or not all(torch.equal(own[name], last[name].cpu()) for name in own):
        # best.pt holds no regressors, and those of another epoch do not belong to its weights.
        raise _needs_regressors(subject, f"{subject.checkpoint} holds other weights than {LAST} beside it")
    try:
        load_tensors_beside(wrapper, subject.inside, state["adapters"])
    except CheckpointError as error:
        raise _needs_regressors(subject, f"{folder / LAST} is of another config: {error}") from error
    return wrapper


def _needs_regressors(subject: Subject, why: str) -> ConfigError:
    return ConfigError(
        f"--distance needs the regressors that the student {subject.name} was trained with. A run keeps them in "
        f"{LAST} only, with the weights of the last epoch; {why}. Give --checkpoint {subject.name}=RUN_FOLDER/{LAST}"
    )
