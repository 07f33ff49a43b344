"""From what is asked for to the text of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .datasets import Dataset, find_dataset
from .digits import STUDENT_IMAGES, TEACHER_CHECKPOINT, VALIDATED_FROM, digits_schedule
from .digits import TEACHER as DIGITS_TEACHER
from .methods import Setting, Term
from .models import CIFAR, IMAGENET_STATS, VIT, Model, find_model
from .plan import Summand, parse_method, parse_transforms, sum_name
from .render import Sheet, render
from .schedules import SCHEDULES, Schedule
from .settings import KEEP, Row, row_of
from .sides import StudentSide, TeacherSide
from .tables import ALONE, pairs_of, reported


@dataclass(frozen=True)
class Request:
    """What a config is asked to be.

    Attributes:
        method: such as ``lskd``, ``dkd_ls``, ``sp+kd``, or ``ce`` for training without a teacher.
        teacher: name of the teacher; several separated by commas; None for ``ce``.
        student: name of the student.
        dataset: name of the data set, or ``folder:PATH``.
        base: what ``lskd`` and ``sfkd`` go before.
        transforms: what goes before the first term, as on the command line: ``standardize,keep_salient=0.5``.
        epochs: another number of epochs than the schedule's, on digits.
        checkpoint: another file with the teacher's weights.
    """

    method: str
    teacher: str | None
    student: str
    dataset: str = "cifar100"
    base: str | None = None
    transforms: str = ""
    epochs: int | None = None
    checkpoint: str | None = None

    @property
    def command(self) -> str:
        """The command that prints the config."""
        words = ["kd-plugins recipe", self.method]
        words += [] if self.teacher is None else ["--teacher", self.teacher]
        words += ["--student", self.student, "--dataset", self.dataset]
        words += [] if self.base is None else ["--base", self.base]
        return " ".join([*words, *(["--with", self.transforms] if self.transforms else [])])


def recipe(request: Request) -> str:
    """Return the config that is asked for, as YAML with comments.

    Raises:
        ValueError: on a name that is unknown, or parts that do not go together.

    Example:
        >>> text = recipe(Request("lskd", "resnet32x4", "resnet8x4"))
        >>> print(text.splitlines()[0])
        # ResNet-32x4 -> ResNet-8x4 on CIFAR-100 by KD on standardized logits (LSKD).
    """
    return render(sheet_of(request))


def sheet_of(request: Request) -> Sheet:
    """Return everything that a config is made of."""
    summands = parse_method(request.method, base=request.base)
    transforms = parse_transforms(request.transforms)
    dataset = find_dataset(request.dataset)
    student = find_model(request.student, family=dataset.family)
    if not summands:
        return _alone(request, dataset, student, transforms)
    if not request.teacher:
        raise ValueError(f"{request.method} needs --teacher; ce trains a student without one")
    teachers = _teachers(request.teacher, summands, dataset)
    teacher = teachers[0]
    schedule = _schedule(dataset, student, summands, request.epochs)
    several = ",".join(model.name for model in teachers) if len(teachers) > 1 else ""
    names = {"teacher": several or teacher.name, "student": student.name}
    rows = [row_of(summand, teacher, student, dataset.name, teachers=several) for summand in summands]
    size = dataset.size_for(student)
    checkpoint: str | None = request.checkpoint or f"./checkpoints/{teacher.name}_{dataset.name}.pth"
    if request.checkpoint is None and dataset.name == "digits":
        checkpoint = TEACHER_CHECKPOINT
    if request.checkpoint is None and dataset.name == "imagenet" and teacher.pretrained:
        checkpoint = None
    setting = Setting(
        StudentSide(student, size),
        TeacherSide(teacher, _teacher_size(teacher, student, dataset, size)),
        dataset.classes,
        {},
        teachers=teachers,
        dataset=dataset.name,
        images=dataset.images,
        weights=checkpoint,
        sizes=[_teacher_size(model, student, dataset, size) for model in teachers],
        renormalised=any(_renormalised(model, dataset) for model in teachers),
    )
    terms = [
        term for summand, row in zip(summands, rows, strict=True) for term in _terms(summand, row, setting, summands)
    ]
    if setting.loader and any(summand.method.views for summand in summands):
        raise ValueError(f"{sum_name(summands)}: both methods wrap the training set in their own way")
    terms = _with_transforms(terms, transforms)
    name = "+".join([sum_name(summands), *(step["key"] for step in transforms)])
    head = _head(request, dataset, student, teacher, summands, rows, schedule, setting)
    batch = next((row.values["batch"] for row in rows if "batch" in row.values), schedule.batch)
    ce = rows[0].values.get("ce", summands[0].method.ce) if len(summands) == 1 else 1.0
    return Sheet(
        name, summands, terms, setting, student, dataset, schedule, batch, ce,
        [*head, *_weights(dataset, teacher, checkpoint, request), *_origin(names, summands, dataset, request)],
        checkpoint,
    )  # fmt: skip


def _teachers(text: str, summands: Sequence[Summand], dataset: Dataset) -> list[Model]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    method, several = sum_name(summands), summands[0].method.teachers
    if len(names) != 1 and not several:
        raise ValueError(f"{method} has one teacher, found --teacher {text}")
    if len(names) < 2 and several:
        raise ValueError(f"{method} has several teachers, as in --teacher resnet32x4,vgg13; found --teacher {text}")
    return [find_model(name, family=dataset.family) for name in names]


def _renormalised(model: Model, dataset: Dataset) -> bool:
    """Tell whether a teacher wants another normalisation than the loader gives."""
    if model.key != "timm_model" or dataset.name == "digits":
        return False
    return dataset.stats != IMAGENET_STATS or not model.imagenet_stats


def _teacher_size(teacher: Model, student: Model, dataset: Dataset, size: int) -> int:
    if (teacher.family == CIFAR) == (student.family == CIFAR):
        return size
    return (dataset.size or teacher.input_size) if teacher.family == CIFAR else teacher.input_size


def _terms(summand: Summand, row: Row, setting: Setting, summands: Sequence[Summand]) -> list[Term]:
    setting.values = row.values
    setting.keep = KEEP if summand.masked else None
    terms = summand.method.terms(setting)
    if summand.standardized:
        wrapper = {"key": "LogitStandardization", "kwargs": {}}
        terms = [dataclasses.replace(term, wrapper=wrapper) for term in terms]
    if len(summands) > 1 and summand.base in ("kd", "sfkd"):
        # Beside another method and a full cross-entropy, KD weighs 1, as in CRD's code.
        terms = [dataclasses.replace(term, weight=1.0) for term in terms]
    return terms


def _with_transforms(terms: Sequence[Term], transforms: Sequence[Mapping[str, Any]]) -> list[Term]:
    if not transforms:
        return list(terms)
    first = terms[0]
    if first.wrapper is not None:
        raise ValueError(
            f"--with goes before a plain term, but {first.name} has {first.wrapper['key']} before it already"
        )
    wrapper = {"key": "TransformedLoss", "kwargs": {"transforms": [dict(step) for step in transforms]}}
    return [dataclasses.replace(first, wrapper=wrapper), *terms[1:]]


def _schedule(dataset: Dataset, student: Model, summands: Sequence[Summand], epochs: int | None) -> Schedule:
    if dataset.name == "digits":
        return digits_schedule(teacher=student.name == DIGITS_TEACHER, epochs=epochs)
    method = summands[0].method if len(summands) == 1 else None
    if student.family == VIT:
        return SCHEDULES["heterogeneous_vit"]
    if dataset.name == "imagenet":
        if any(summand.masked or summand.base == "sfkd" for summand in summands):
            return SCHEDULES["imagenet_step_sfkd"]
        return SCHEDULES[method.imagenet_schedule if method else "imagenet_step"]
    if student.family != CIFAR:
        return SCHEDULES["heterogeneous_cnn"]
    return SCHEDULES[method.schedule if method else "cifar_step"]


def _alone(request: Request, dataset: Dataset, student: Model, transforms: Sequence[Any]) -> Sheet:
    if request.teacher or transforms:
        raise ValueError("ce trains a student without a teacher: leave out --teacher and --with, or name a method")
    schedule = _schedule(dataset, student, (), request.epochs)
    if dataset.name != "digits":
        head = [f"{student.title} on {dataset.title} by the labels alone.", *_about(dataset, schedule)]
    elif student.name == DIGITS_TEACHER:
        head = [f"A small ViT on {VALIDATED_FROM} images of handwritten digits: the other configs' teacher."]
    else:
        head = [f"{student.title} from the labels alone, on handwritten digits. {_DIGITS_IMAGES}"]
    names = {"teacher": "", "student": student.name}
    return Sheet(
        "ce", (), (), None, student, dataset, schedule, schedule.batch, 1.0,
        [*head, *_origin(names, (), dataset, request)],
    )  # fmt: skip


_DIGITS_IMAGES = f"The student has {STUDENT_IMAGES} images, the teacher had {VALIDATED_FROM}."


def _head(
    request: Request, dataset: Dataset, student: Model, teacher: Model, summands: Sequence[Summand],
    rows: Sequence[Row], schedule: Schedule, setting: Setting,
) -> list[str]:  # fmt: skip
    how = " and ".join(summand.title for summand in summands)
    titles = [model.title for model in setting.teachers]
    taught = " and ".join(titles) if len(set(titles)) == len(titles) else f"{len(titles)} x {titles[0]}"
    transforms = f", after {request.transforms.replace(',', ' and ')}" if request.transforms else ""
    if dataset.name == "digits":
        first = f"{student.title} from a {taught} by {how}{transforms}, on handwritten digits. {_DIGITS_IMAGES}"
    else:
        first = f"{taught} -> {student.title} on {dataset.title} by {how}{transforms}."
    sentences = [first]
    for row in rows:
        sentences += [sentence for sentence in row.about if sentence not in sentences]
    if len(summands) > 1:
        sentences.append(
            "Weights of a sum: CRD's code, which gives the cross-entropy and KD 1 each beside another method."
        )
    return [*sentences, *setting.top, *_about(dataset, schedule)]


def _about(dataset: Dataset, schedule: Schedule) -> list[str]:
    return [sentence for sentence in (schedule.source, dataset.note) if sentence]


def _weights(dataset: Dataset, teacher: Model, checkpoint: str | None, request: Request) -> list[str]:
    if request.checkpoint is not None:
        return []
    if "," in str(request.teacher):
        return ["The teachers' weights are not part of this package: put their checkpoints at the paths below."]
    if checkpoint is None:
        return [f"The teacher's weights are torchvision's; timm downloads them as {teacher.pretrained}."]
    if dataset.name == "digits":
        return ["The teacher's weights come first: kd-plugins train configs/digits/teacher/vit.yaml"]
    train = f"kd-plugins recipe ce --student {teacher.name} --dataset {request.dataset}"
    missing = "The teacher's weights are not part of this package: put a checkpoint of"
    if teacher.family == CIFAR and dataset.name == "cifar100":
        return [f"{missing} {teacher.name} for CIFAR-100, as RepDistiller or mdistiller release it, at the path below."]
    return [f"{missing} {teacher.name} for {dataset.classes} classes at the path below, or train it: {train}"]


def _origin(names: Mapping[str, str], summands: Sequence[Summand], dataset: Dataset, request: Request) -> list[str]:
    """Return the lines with what the papers report, and the command."""
    method = sum_name(summands)
    lines = []
    if request.transforms == "":
        if not summands:
            lines += [f"Reported: {text}" for text in _alone_reports(names["student"], dataset.name)]
        else:
            found = reported(method, names["teacher"], names["student"], dataset.name)
            lines += [f"Reported: {value}" for value in found]
            if found:
                lines += _reported_alone(names, dataset.name, found[0].source)
    if request.epochs is None and request.checkpoint is None:
        lines.append(f"Command: {request.command}")
    return lines


def _reported_alone(names: Mapping[str, str], dataset: str, source: str) -> list[str]:
    """Return the accuracies of teacher and student alone, those of the paper of ``source`` where it has them."""
    made = []
    for key, label in zip(ALONE, ("Teacher", "Student alone"), strict=True):
        values = reported(key, names["teacher"], names["student"], dataset)
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
