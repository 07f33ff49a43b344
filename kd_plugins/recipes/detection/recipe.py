"""From a request about detectors to the text of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...pairs.setting import Term
from ..options import option_stem, parse_options
from ..plan import Summand, parse_method, sum_name
from ..request import Request
from ..schedules import Schedule
from ..writing.heads import training_commands
from ..writing.text import block, comment, entry
from .models import Detector, find_detector
from .schedule import schedule_of
from .table import reported, reported_alone
from .terms import check_method, hooks, term_of

COCO, CANVAS = "coco", "canvas-digits"
DATASETS = (COCO, CANVAS)
CLASSES = {COCO: 80, CANVAS: 10}
TITLES = {COCO: "COCO 2017", CANVAS: "handwritten digits on canvases"}
FLIP = "!import_call {key: kd_plugins.data.detection.RandomFlip, init: {kwargs: {probability: 0.5}}}"
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
    made = [term_of(*parts, pair, digits=digits) for parts in zip(summands, options, strict=True)]
    terms, about = [term for term, _ in made], [sentence for _, sentence in made]
    schedule = schedule_of(request, student.name, digits=digits)
    lines = [f"# {line}" for line in comment(*_head(request, teacher, student, summands, about, schedule))]
    lines += ["dependencies: [kd_plugins]", "", *_data(request), "", "models:"]
    lines += _models(request, teacher, student, summands)
    lines += ["", "train:", *_train(terms, schedule, digits=digits, alone=teacher is None)]
    tested = "*test" if digits else "*val"
    lines += ["", "test:", "  test_data_loader:", *_loader(tested, "SequentialSampler", schedule)]
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
    schedule: Schedule,
) -> list[str]:
    title = f"{student.title} on {TITLES[request.dataset]}"
    source = [schedule.source] if schedule.source else []
    if teacher is None:
        sentences = [f"{title[0].upper()}{title[1:]} by its own losses alone.", *source]
        sentences.append("The losses of the detector itself have weight 1 each (model_term).")
        alone = reported_alone(student.name) if request.dataset == COCO else ""
        sentences += [f"Reported: {alone}"] if alone else []
        return [*sentences, f"Command: {request.command}"]
    how = " and ".join(summand.title for summand in summands)
    how += f" with {', '.join(request.options)}" if request.options else ""
    sentences = [f"{teacher.title} -> {title} by {how}.", *about, *source]
    if request.checkpoint is None:
        commands = training_commands(str(request.teacher), request, _checkpoint(request, teacher), ())
        sentences += ["The teacher's weights come first:", *commands]
    pair = (teacher.name, student.name)
    text = reported(sum_name(summands), pair) if request.dataset == COCO and not request.options else ""
    if text:
        sentences += [f"Reported: {text}", f"Teacher: {reported('teacher', pair)}", OTHER_TEACHER]
    return [*sentences, f"Command: {request.command}"]


def _checkpoint(request: Request, teacher: Detector) -> str:
    return request.checkpoint or f"./checkpoints/{teacher.name}_{request.dataset}.pth"


def _set(kind: str, name: str, split: str, lines: Sequence[str]) -> list[str]:
    return [f"  &{split} {name}/{split}: !import_call", f"    key: kd_plugins.data.detection.{kind}", *lines]


def _data(request: Request) -> list[str]:
    lines = ["datasets:"]
    if request.dataset == COCO:
        for split in ("train", "val"):
            flip = [f"        transforms: {FLIP}"] if split == "train" else []
            lines += _set("CocoBoxes", "coco", split, [
                "    init:", "      kwargs:", f"        root: ./data/coco/{split}2017",
                f"        annotations: ./data/coco/annotations/instances_{split}2017.json",
                f"        train: {split == 'train'}", *flip,
            ])  # fmt: skip
        return lines
    # Digits are not symmetric, so they are not mirrored.
    images = request.train_images or CANVAS_IMAGES["train"]
    val, test = (CANVAS_IMAGES[split] for split in ("val", "test"))
    lines += _set("CanvasDigits", "canvas", "train", [f"    init: {{kwargs: {{train: True, images: {images}}}}}"])
    lines.append("  # Canvases of another seed choose best.pt, so that the test images choose nothing.")
    lines += _set("CanvasDigits", "canvas", "val", [f"    init: {{kwargs: {{train: True, images: {val}, seed: 1}}}}"])
    return lines + _set("CanvasDigits", "canvas", "test", [f"    init: {{kwargs: {{train: False, images: {test}}}}}"])


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


def _loader(data: str, sampler: str, schedule: Schedule) -> list[str]:
    return [
        f"    dataset_id: {data}",
        "    collate_fn: collate_detection",
        f"    sampler: {{class_or_func: !import_get {{key: torch.utils.data.{sampler}}}}}",
        f"    kwargs: {{batch_size: {schedule.batch}, num_workers: {schedule.workers}}}",
    ]


def _train(terms: Sequence[Term], schedule: Schedule, *, digits: bool, alone: bool) -> list[str]:
    lines = ["  log_freq: 50", f"  num_epochs: {schedule.epochs}", "  pre_epoch_process: kd_pre_epoch"]
    lines += ["  train_data_loader:", *_loader("*train", "RandomSampler", schedule)]
    lines += ["  val_data_loader:", *_loader("*val", "SequentialSampler", schedule)]
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
    lines += [*entry("optimizer", schedule.optimizer_yaml(schedule.lr), 2), *schedule.scheduler_lines()]
    lines += ["  criterion:", "    key: WeightedSumLoss", "    func2extract_model_loss: extract_model_loss_dict"]
    lines += ["    kwargs:", "      model_term: {weight: 1.0} # the detector's own losses"]
    sub_terms = {term.name: term.yaml() for term in terms}
    lines += ["      sub_terms:", *block(sub_terms, 8)] if sub_terms else ["      sub_terms: {}"]
    return lines
