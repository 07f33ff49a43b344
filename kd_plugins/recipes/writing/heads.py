"""The comments at the head of a config: description, sources of settings, reported results, command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ...pairs.models import CIFAR, Model
from ...pairs.setting import Setting
from ..data.datasets import Dataset
from ..data.digits import STUDENT_IMAGES, VALIDATED_FROM, file_name
from ..options import Options, option_words
from ..plan import Summand, sum_name
from ..request import Request
from ..schedules import Schedule
from ..settings import Row
from ..tables import ALONE, pairs_of, reported

DIGITS_IMAGES = f"The student has {STUDENT_IMAGES} images, the teacher had {VALIDATED_FROM}."
FILES = "configs/digits/teacher"


def head(
    request: Request, dataset: Dataset, summands: Sequence[Summand], rows: Sequence[Row], schedule: Schedule,
    setting: Setting, options: Options,
) -> list[str]:  # fmt: skip
    """Return the sentences that describe a config and the sources of its settings."""
    student = setting.student.model
    how = " and ".join(summand.title for summand in summands)
    titles = [model.title for model in setting.teachers]
    taught = " and ".join(titles) if len(set(titles)) == len(titles) else f"{len(titles)} x {titles[0]}"
    transforms = f", after {request.transforms.replace(',', ' and ')}" if request.transforms else ""
    how += f" with {', '.join(option_words(options))}" if options else ""
    if dataset.name == "digits":
        taught = " and ".join(f"an {title}" if title.startswith("MLP") else f"a {title}" for title in titles)
        images = DIGITS_IMAGES if len(titles) == 1 else DIGITS_IMAGES.replace("the teacher", "each teacher")
        first = f"{student.title} from {taught} by {how}{transforms}, on handwritten digits. {images}"
    else:
        first = f"{taught} -> {student.title} on {dataset.title} by {how}{transforms}."
    sentences = [first]
    for row in rows:
        sentences += [sentence for sentence in row.about if sentence not in sentences]
    if len(summands) > 1:
        ones = "the cross-entropy and KD 1 each" if dataset.real is None else "KD 1"
        sentences.append(f"Weights of a sum: CRD's code, which gives {ones} beside another method.")
    return [*sentences, *setting.top, *about(dataset, schedule)]


def about(dataset: Dataset, schedule: Schedule) -> list[str]:
    """Return the sentences about data and schedule."""
    return [sentence for sentence in (schedule.source, dataset.note, *dataset.told) if sentence]


def weights(dataset: Dataset, teacher: Model, checkpoint: str | None, request: Request, *, several: bool) -> list[str]:
    """Return the sentences about the source of the teacher's weights."""
    if request.checkpoint is not None:
        return []
    if dataset.name == "digits":
        names = [f"{file_name(name.strip())}.yaml" for name in str(request.teacher).split(",")]
        first, *others = dict.fromkeys(names)
        then = f", then {' and '.join(others)}" if others else ""
        return [f"The teacher's weights come first: kd-plugins train {FILES}/{first}{then}"]
    if dataset.real is not None and checkpoint is not None:
        return ["The images know their teacher: put the checkpoint that they were made from at the path below."]
    if several:
        return [
            "The teachers' weights are not part of this package: put their checkpoints at the paths below.",
            *training_commands("TEACHER", request, "PATH", request.data_words()),
        ]
    if checkpoint is None:
        return [f"The teacher's weights are torchvision's; timm downloads them as {teacher.pretrained}."]
    missing = "The teacher's weights are not part of this package: put a checkpoint of"
    if teacher.family == CIFAR and dataset.name == "cifar100":
        return [f"{missing} {teacher.name} for CIFAR-100, as RepDistiller or mdistiller release it, at the path below."]
    return [
        f"{missing} {teacher.name} for {dataset.classes} classes at the path below, or train it:",
        *training_commands(
            str(request.teacher).strip(), request, checkpoint, request.data_words(size=teacher.resizable)
        ),
    ]


def training_commands(teacher: str, request: Request, checkpoint: str, data_words: Sequence[str]) -> list[str]:
    """Return the two commands that train a teacher."""
    file = f"{Path(checkpoint).stem}.yaml" if checkpoint != "PATH" else "TEACHER.yaml"
    ce = ["kd-plugins", "recipe", "ce", "--student", teacher, "--dataset", request.dataset, *data_words]
    ce += [*request.schedule_words, "--out", file]
    train = ["kd-plugins", "train", file, "--best-to", checkpoint]
    return [f"  {shlex.join(words)}" for words in (ce, train)]


def origin(
    teachers: str, student: str, summands: Sequence[Summand], dataset: Dataset, request: Request, options: Options
) -> list[str]:
    """Return the lines with the papers' results and the command; ``teachers`` are names, separated by commas."""
    lines = []
    if not request.transforms and not summands:
        lines = [f"Reported: {text}" for text in _alone_reports(student, dataset.name)]
    elif not request.transforms:
        found = reported(sum_name(summands), teachers, student, dataset.name, options)
        lines = [f"Reported: {value}" for value in found]
        if found:
            lines += _reported_alone(teachers, student, dataset.name, found[0].source)
    if request.checkpoint is None:
        lines.append(f"Command: {request.command}")
    return lines


def _reported_alone(teachers: str, student: str, dataset: str, source: str) -> list[str]:
    """Return the accuracies of teacher and student alone, from the paper of ``source`` if possible."""
    made = []
    for key, label in zip(ALONE, ("Teacher", "Student alone"), strict=True):
        values = reported(key, teachers, student, dataset)
        values.sort(key=lambda value: value.source.split(",")[0] != source.split(",")[0])
        made += [f"{label}: {values[0]}"] if values else []
    return [f"{'; '.join(made)}."] if made else []


def _alone_reports(student: str, dataset: str) -> list[str]:
    found: dict[float, str] = {}
    for teacher, name in pairs_of("ce", dataset):
        if name == student:
            for value in reported("ce", teacher, name, dataset):
                found.setdefault(value.accuracy, str(value))
    return list(found.values())
