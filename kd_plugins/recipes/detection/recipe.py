"""From a request about detectors to the text of a config."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ...pairs.setting import Term
from ..options import option_stem, parse_options
from ..plan import Summand, parse_method, sum_name
from ..request import Request
from ..writing.text import block, comment, entry
from .models import Detector, find_detector
from .schedule import Steps, schedule_of
from .table import reported, reported_alone
from .terms import check_method, hooks, terms_of

COCO, CANVAS = "coco", "canvas-digits"
DATASETS = (COCO, CANVAS)
CLASSES = {COCO: 80, CANVAS: 10}
TITLES = {COCO: "COCO 2017", CANVAS: "handwritten digits on canvases"}
CANVAS_IMAGES = {"train": 400, "val": 80, "test": 200}
OTHER_TEACHER = (
    "The paper's teachers are detectron2's, trained three times as long on images of another normalisation; their "
    "weights do not fit, and the reported numbers belong to them."
)


def detection_recipe(request: Request) -> str:
    """Return a config of a detector as YAML with comments.

    Raises:
        ValueError: for an unknown name, a method that is not made for detectors, or an option that does not apply.

    Example:
        >>> text = detection_recipe(Request("ckd+reviewkd", "resnet101", "resnet18", "coco"))
        >>> print(text.splitlines()[0])
        # ResNet-101-FPN -> ResNet-18-FPN on COCO 2017 by CKD and ReviewKD.
    """
    _refuse(request)
    digits = request.dataset == CANVAS
    summands = parse_method(request.method, base=request.base)
    student = find_detector(request.student)
    teacher = None if request.teacher is None else find_detector(request.teacher)
    if (teacher is None) == bool(summands):
        need = "needs --teacher" if summands else "trains without one: leave --teacher out"
        raise ValueError(f"{request.method} {need}")
    for summand in summands:
        check_method(summand)
    if {"fitnet", "reviewkd"} <= {summand.base for summand in summands}:
        raise ValueError("fitnet compares the pyramid as it is, reviewkd fuses it: use one of them")
    options = parse_options(request.options, summands)
    pair = (request.teacher or "", student.name)
    terms, about = terms_of(summands, options, pair, digits=digits)
    steps = schedule_of(request, student.name, digits=digits)
    lines = [f"# {line}" for line in comment(*_head(request, teacher, student, summands, about, steps))]
    lines += ["dependencies: [kd_plugins]", "", *_data(request), "", "models:"]
    lines += _models(request, teacher, student, summands)
    lines += ["", "train:", *_train(terms, steps, digits=digits, alone=teacher is None)]
    lines += ["", "test:", "  test_data_loader:", *_loader("*test" if digits else "*val", "SequentialSampler", steps)]
    return "\n".join(lines) + "\n"


def file_of(request: Request) -> str:
    """Return the path of a config below ``configs``."""
    name = sum_name(parse_method(request.method, base=request.base))
    return f"{request.dataset}/{name}/{_stem(request)}.yaml"


def _stem(request: Request) -> str:
    student = find_detector(request.student).name
    stem = student if request.teacher is None else f"{student}_from_{find_detector(request.teacher).name}"
    return stem + option_stem(request.options)


def _refuse(request: Request) -> None:
    asked = [word for word in request.data_words() if word.startswith("--")]
    allowed = ["--train-images"] if request.dataset == CANVAS else []
    wrong = [word for word in asked if word not in allowed] + (["--with"] if request.transforms else [])
    if wrong:
        raise ValueError(f"{wrong[0]} does not apply to {request.dataset}; leave the option out")


def _head(
    request: Request,
    teacher: Detector | None,
    student: Detector,
    summands: Sequence[Summand],
    about: Sequence[str],
    steps: Steps,
) -> list[str]:
    title = f"{student.title[0].upper()}{student.title[1:]}"
    if teacher is None:
        sentences = [f"{title} on {TITLES[request.dataset]} by its own losses alone."]
        alone = reported_alone(student.name) if request.dataset == COCO else ""
        found = [f"Reported: {alone}"] if alone else []
    else:
        how = " and ".join(summand.title for summand in summands)
        how += f" with {', '.join(request.options)}" if request.options else ""
        sentences = [f"{teacher.title} -> {student.title} on {TITLES[request.dataset]} by {how}.", *about]
        pair = (teacher.name, student.name)
        text = reported(sum_name(summands), pair) if request.dataset == COCO and not request.options else ""
        found = [f"Reported: {text}", f"Teacher: {reported('teacher', pair)}", OTHER_TEACHER] if text else []
    sentences += [steps.about] if steps.about else []
    sentences += ["The losses of the detector itself have weight 1 each (model_term)."] if teacher is None else []
    if teacher is not None:
        file = f"{teacher.name}_{request.dataset}.yaml"
        words = ["kd-plugins", "recipe", "ce", "--student", str(request.teacher), "--dataset", request.dataset]
        train = ["kd-plugins", "train", file, "--best-to", _checkpoint(request, teacher)]
        sentences += ["The teacher's weights come first:"] if request.checkpoint is None else []
        if request.checkpoint is None:
            found = [
                f"  {shlex.join([*words, *request.schedule_words, '--out', file])}",
                f"  {shlex.join(train)}",
                *found,
            ]
    return [*sentences, *found, f"Command: {request.command}"]


def _checkpoint(request: Request, teacher: Detector) -> str:
    return request.checkpoint or f"./checkpoints/{teacher.name}_{request.dataset}.pth"


def _set(kind: str, split: str, anchor: str, lines: Sequence[str]) -> list[str]:
    return [f"  &{anchor} {split}: !import_call", f"    key: kd_plugins.data.detection.{kind}", *lines]


def _data(request: Request) -> list[str]:
    flip = "!import_call {key: kd_plugins.data.detection.RandomFlip, init: {kwargs: {probability: 0.5}}}"
    lines = ["datasets:"]
    if request.dataset == COCO:
        for anchor, split, train in (("train", "train", True), ("val", "val", False)):
            more = [f"        transforms: {flip}"] if train else []
            lines += _set("CocoBoxes", f"coco/{split}", anchor, [
                "    init:", "      kwargs:", f"        root: ./data/coco/{split}2017",
                f"        annotations: ./data/coco/annotations/instances_{split}2017.json",
                f"        train: {train}", *more,
            ])  # fmt: skip
        return lines
    # Digits are not symmetric, so they are not mirrored.
    images = request.train_images or CANVAS_IMAGES["train"]
    val, test = (CANVAS_IMAGES[split] for split in ("val", "test"))
    sets = {
        "train": f"train: True, images: {images}",
        "val": f"train: True, images: {val}, seed: 1",
        "test": f"train: False, images: {test}",
    }
    for anchor, kwargs in sets.items():
        if anchor == "val":
            lines.append("  # Canvases of another seed choose best.pt, so that the test images choose nothing.")
        lines += _set("CanvasDigits", f"canvas/{anchor}", anchor, [f"    init: {{kwargs: {{{kwargs}}}}}"])
    return lines


def _models(request: Request, teacher: Detector | None, student: Detector, summands: Sequence[Summand]) -> list[str]:
    classes, digits = CLASSES[request.dataset], request.dataset == CANVAS
    kept = f"./runs/{sum_name(summands)}_{_stem(request)}/student.pt"
    own: dict[str, Any] = {
        "key": "timm_detector", "kwargs": student.keywords(classes, digits=digits, pretrained=True),
        "src_ckpt": None, "dst_ckpt": kept,
    }  # fmt: skip
    if teacher is None:
        return ["  model:", *block(own, 4)]
    kwargs = {**teacher.keywords(classes, digits=digits, pretrained=False), "frozen": True}
    section = {"key": "timm_detector", "kwargs": kwargs, "src_ckpt": _checkpoint(request, teacher)}
    return ["  teacher_model:", *block(section, 4), "  student_model:", *block(own, 4)]


def _loader(data: str, sampler: str, steps: Steps) -> list[str]:
    workers = 0 if steps.digits else 8
    return [
        f"    dataset_id: {data}",
        "    collate_fn: collate_detection",
        f"    sampler: {{class_or_func: !import_get {{key: torch.utils.data.{sampler}}}}}",
        f"    kwargs: {{batch_size: {steps.batch}, num_workers: {workers}}}",
    ]


def _train(terms: Sequence[Term], steps: Steps, *, digits: bool, alone: bool) -> list[str]:
    lines = ["  log_freq: 50", f"  num_epochs: {steps.epochs}", "  pre_epoch_process: kd_pre_epoch"]
    lines += ["  train_data_loader:", *_loader("*train", "RandomSampler", steps)]
    lines += ["  val_data_loader:", *_loader("*val", "SequentialSampler", steps)]
    if alone:
        lines += ["  model: {forward_proc: forward_batch_target}"]
    else:
        wrapper: dict[str, Any] = {"key": "DetectionTeacher", "kwargs": {}}
        teacher = {"forward_proc": "forward_batch_only", "requires_grad": False, "auxiliary_model_wrapper": wrapper}
        review = any(term.criterion == "PyramidLoss" for term in terms)
        kwargs = {"review": {"mid_channels": 32 if digits else 256}} if review else {}
        student = {
            "forward_proc": "forward_batch_target",
            "auxiliary_model_wrapper": {"key": "DetectionStudent", "kwargs": kwargs},
            "forward_hook": {"output": hooks(terms)},
        }
        lines += [*entry("teacher", teacher, 2), *entry("student", student, 2)]
    lines += [*entry("optimizer", steps.optimizer, 2), *steps.scheduler()]
    lines += ["  criterion:", "    key: WeightedSumLoss", "    func2extract_model_loss: extract_model_loss_dict"]
    lines += ["    kwargs:", "      model_term: {weight: 1.0} # the detector's own losses"]
    sub_terms = {term.name: term.yaml() for term in terms}
    lines += ["      sub_terms:", *block(sub_terms, 8)] if sub_terms else ["      sub_terms: {}"]
    return lines
