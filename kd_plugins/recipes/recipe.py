"""From a request to the text of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .._names import unknown_name
from .._two_classes import two_class_remark
from ..pairs.models import CIFAR, IMAGENET_STATS, VIT, Model, find_model
from ..pairs.setting import Setting, Term
from ..pairs.sides import StudentSide, TeacherSide
from .data.choices import MOST_SMALL, with_choices
from .data.datasets import Dataset, find_dataset
from .data.digits import TEACHER as DIGITS_TEACHER
from .data.digits import TEACHERS as DIGITS_TEACHERS
from .data.digits import VALIDATED_FROM, digits_schedule, teacher_checkpoint
from .data.few_images import for_images
from .data.synthetic_images import (
    NOT_THE_PAPERS,
    SCHEDULE,
    SYNTHETIC_PREFIX,
    check_methods,
    data_free_row,
    synthetic_dataset,
)
from .detection import DATASETS as DETECTION_SETS
from .detection import detection_recipe
from .options import Options, option_words, parse_options
from .plan import Summand, parse_method, parse_transforms, sum_name
from .request import Request
from .schedules import SCHEDULES, Schedule, changed, scaled
from .settings import KEEP, MASK, Row, row_of
from .writing.heads import DIGITS_IMAGES, about, head, origin, weights
from .writing.render import Sheet, render


def recipe(request: Request) -> str:
    """Return a config as YAML with comments.

    Raises:
        ValueError: for an unknown name, or parts that cannot be combined.

    Example:
        >>> text = recipe(Request("lskd", "resnet32x4", "resnet8x4"))
        >>> print(text.splitlines()[0])
        # ResNet-32x4 -> ResNet-8x4 on CIFAR-100 by KD on standardized logits (LSKD).
    """
    if request.dataset in DETECTION_SETS:
        return detection_recipe(request)
    return render(sheet_of(request))


def sheet_of(request: Request) -> Sheet:
    """Return the parts of a config."""
    summands = parse_method(request.method, base=request.base)
    transforms = parse_transforms(request.transforms)
    dataset = _dataset(request)
    student = find_model(request.student, family=dataset.family)
    dataset = with_choices(dataset, request, student)
    labels = check_methods(summands, request) if dataset.real else []
    if not summands:
        return _alone(request, dataset, student, transforms)
    if not request.teacher:
        raise ValueError(f"{request.method} needs --teacher; ce trains a student without one")
    options = parse_options(request.options, summands)
    teachers = _teachers(request.teacher, summands, dataset)
    teacher = teachers[0]
    names = ",".join(model.name for model in teachers)
    rows = []
    for summand, own in zip(summands, options, strict=True):
        row = row_of(summand, teacher, student, dataset.name, teachers=names, whole=sum_name(summands))
        rows.append(_with_options(data_free_row(summand, row) if dataset.real else row, own))
    batch = next((own["batch"] for own in options if "batch" in own), None)
    schedule = _schedule(request, dataset, student, summands, rows, batch)
    rows = [_in_proportion(*parts, schedule) for parts in zip(summands, rows, options, strict=True)]
    size = dataset.size_for(student)
    # The teacher of synthetic images is one of real images.
    taught_on = dataset.real or dataset
    checkpoint: str | None = request.checkpoint or _checkpoint(taught_on, teacher.name)
    if request.checkpoint is None and taught_on.name == "imagenet" and teacher.pretrained:
        checkpoint = None
    setting = Setting(
        student=StudentSide(student, size),
        teacher=TeacherSide(teacher, dataset.size_for(teacher)),
        teachers=teachers,
        classes=dataset.classes,
        dataset=dataset.name,
        images=dataset.images,
        steps=schedule.steps(dataset.images),
        shortened=0 < schedule.epochs < schedule.whole,
        weights=checkpoint,
        checkpoint_of=lambda model, suffix: _checkpoint(taught_on, model, suffix),
        sizes=[dataset.size_for(model) for model in teachers],
        renormalised=any(_renormalised(model, dataset) for model in teachers),
    )
    terms: list[Term] = []
    for summand, row, own in zip(summands, rows, options, strict=True):
        terms += _terms(summand, row, own, setting, summands)
    if setting.loader and any(summand.method.views for summand in summands):
        raise ValueError(f"{sum_name(summands)}: both methods wrap the training set in their own way")
    if transforms:
        terms = [_transformed(terms[0], transforms, summands[0]), *terms[1:]]
    if dataset.classes == 2:
        remarks = [two_class_remark(term.yaml()) for term in terms]
        setting.top += dict.fromkeys(remark for remark in remarks if remark)
    name = "+".join([sum_name(summands), *(step["key"] for step in transforms)])
    flat = _flat(summands, options)
    method, values = summands[0].method, rows[0].values
    ce = values.get("ce", values.get(method.ce_from, method.ce)) if len(summands) == 1 else 1.0
    if dataset.real:
        ce = options[0].get("ce", 0.0)
    comments = [
        *head(request, dataset, summands, rows, schedule, setting, flat),
        *labels,
        *weights(dataset, teacher, checkpoint, request, several=len(teachers) > 1),
        *origin(names, student.name, summands, dataset, request, flat),
    ]
    return Sheet(
        name, summands, terms, setting, student, dataset, schedule, ce, comments, checkpoint, option_words(flat)
    )


def _dataset(request: Request) -> Dataset:
    if request.dataset.startswith(SYNTHETIC_PREFIX):
        return synthetic_dataset(request)
    if request.real is not None:
        raise ValueError(f"--real {request.real} goes with --dataset {SYNTHETIC_PREFIX}DIR, found {request.dataset}")
    return find_dataset(request.dataset)


def _checkpoint(dataset: Dataset, model: str, suffix: str = "") -> str:
    """Return the default file with a teacher's weights; the suffix distinguishes teachers of the same model."""
    if dataset.name == "digits":
        return teacher_checkpoint(model + suffix)
    return f"./checkpoints/{model}_{dataset.name}{suffix}.pth"


def _with_options(row: Row, options: Options) -> Row:
    sentences = tuple(sentence for sentence in row.about if sentence != MASK or "keep" not in options)
    return Row({**row.values, **options}, sentences)


def _in_proportion(summand: Summand, row: Row, options: Options, schedule: Schedule) -> Row:
    """Scale the hyperparameters that count epochs with the schedule, unless they are options."""
    method = summand.method
    if not schedule.whole:
        return row
    known = {**method.keywords, **method.student_keywords, **method.values, **row.values}
    now = {key: scaled(known[key], schedule.epochs, schedule.whole) for key in method.in_epochs if key not in options}
    told = [
        f"{key} is {value}, not {known[key]:g}: it keeps its share of the {schedule.whole} epochs."
        for key, value in now.items()
        if value != known[key]
    ]
    return Row({**row.values, **now}, (*row.about, *told)) if told else row


def _flat(summands: Sequence[Summand], options: Sequence[Options]) -> dict[str, Any]:
    """Return the options of all methods by their names on the command line."""
    if len(summands) == 1:
        return dict(options[0])
    pairs = zip(summands, options, strict=True)
    return {f"{summand.name}.{key}": value for summand, own in pairs for key, value in own.items()}


def _teachers(text: str, summands: Sequence[Summand], dataset: Dataset) -> list[Model]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    method, several = sum_name(summands), summands[0].method.teachers
    if len(names) != 1 and not several:
        raise ValueError(f"{method} has one teacher, found --teacher {text}")
    if len(names) < 2 and several:
        raise ValueError(f"{method} has several teachers, as in --teacher resnet32x4,vgg13; found --teacher {text}")
    return [find_model(name, family=dataset.family) for name in names]


def _renormalised(model: Model, dataset: Dataset) -> bool:
    """Tell whether a teacher needs another normalisation than the loader's.

    On data of the user's choice it is trained with the loader's, by the commands in the head of the config.
    """
    if model.key != "timm_model" or dataset.name == "digits" or not dataset.tabled:
        return False
    return dataset.stats != IMAGENET_STATS or not model.imagenet_stats


def _terms(summand: Summand, row: Row, options: Options, setting: Setting, summands: Sequence[Summand]) -> list[Term]:
    setting.given = options
    setting.values = {key: value for key, value in row.values.items() if key != "keep" or not summand.masked}
    setting.keep = row.values.get("keep", KEEP) if summand.masked else None
    terms = summand.method.terms(setting)
    if summand.standardized:
        wrapper = {"key": "LogitStandardization", "kwargs": {}}
        terms = [dataclasses.replace(term, wrapper=wrapper) for term in terms]
    if len(summands) > 1 and summand.base in ("kd", "sfkd") and "weight" not in row.values:
        # In a sum with a full cross-entropy, KD has weight 1, as in CRD's code.
        terms = [dataclasses.replace(term, weight=1.0) for term in terms]
    return terms


def _transformed(term: Term, transforms: Sequence[Mapping[str, Any]], summand: Summand) -> Term:
    why = summand.method.not_transformable
    if why:
        raise ValueError(f"--with: no transform goes before {summand.name}, which {why}")
    if term.wrapper is not None:
        raise ValueError(
            f"--with goes before a plain term, but {term.name} has {term.wrapper['key']} before it already"
        )
    return dataclasses.replace(term, wrapper={"key": "TransformedLoss", "kwargs": {"transforms": transforms}})


def _schedule(
    request: Request, dataset: Dataset, student: Model, summands: Sequence[Summand], rows: Sequence[Row] = (),
    batch: int | None = None,
) -> Schedule:  # fmt: skip
    """Return the schedule; ``batch`` is that of ``--option``, which precedes the rows' (unused with ``--schedule``)."""
    if batch is not None and request.batch is not None:
        raise ValueError(f"--batch {request.batch} and --option batch={batch}: give one of them")
    batch = request.batch if batch is None else batch
    fixed = batch is not None
    if batch is None and request.schedule is None and dataset.real is None:
        batch = next((row.values["batch"] for row in rows if "batch" in row.values), None)
    if dataset.name == "digits":
        if request.schedule is not None:
            raise ValueError(f"--schedule {request.schedule}: digits has a schedule of its own; leave the option out")
        return changed(digits_schedule(student.name, batch=batch), request)
    name = request.schedule if request.schedule is not None else _schedule_name(dataset, student, summands)
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    schedule = SCHEDULES[name]
    if batch is not None:
        schedule = dataclasses.replace(schedule, batch=batch)
    if not dataset.tabled or request.train_images is not None:
        small = 0 < dataset.size <= MOST_SMALL
        schedule = for_images(schedule, name, dataset.images, fixed_batch=fixed, in_memory=small)
    if name == SCHEDULE:
        schedule = dataclasses.replace(schedule, source=f"{schedule.source} {NOT_THE_PAPERS}")
    return changed(schedule, request, images=dataset.images)


def _schedule_name(dataset: Dataset, student: Model, summands: Sequence[Summand]) -> str:
    method = summands[0].method if len(summands) == 1 else None
    if student.family == VIT:
        return "heterogeneous_vit"
    if dataset.real:
        return SCHEDULE
    if dataset.name == "imagenet":
        if any(summand.masked or summand.base == "sfkd" for summand in summands):
            return "imagenet_step_sfkd"
        return method.imagenet_schedule if method else "imagenet_step"
    if student.family != CIFAR:
        return "heterogeneous_cnn"
    return method.schedule if method else "cifar_step"


def _alone(request: Request, dataset: Dataset, student: Model, transforms: Sequence[Any]) -> Sheet:
    if request.teacher or transforms or request.options:
        raise ValueError(
            "ce trains a student without a teacher: leave out --teacher, --with and --option, or name a method"
        )
    schedule = _schedule(request, dataset, student, ())
    if dataset.name != "digits":
        sentences = [f"{student.title} on {dataset.title} by the labels alone.", *about(dataset, schedule)]
    elif student.name in DIGITS_TEACHERS:
        whose = "the other configs' teacher" if student.name == DIGITS_TEACHER else "one of three teachers"
        title = student.title if student.name.startswith("resnet") else f"A small {student.title}"
        sentences = [f"{title} on {VALIDATED_FROM} images of handwritten digits: {whose}."]
    else:
        sentences = [f"{student.title} from the labels alone, on handwritten digits. {DIGITS_IMAGES}"]
    comments = [*sentences, *origin("", student.name, (), dataset, request, {})]
    return Sheet("ce", (), (), None, student, dataset, schedule, 1.0, comments)
