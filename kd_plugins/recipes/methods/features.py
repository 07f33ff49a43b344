"""Methods on features and attention maps, with SFKD's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..sides import Place, aligned_stages, used_stages
from .method import Method, Setting, Term, masked

WEIGHT = "Weight: that of SFKD's Table 9, as in {paper}."


def _paths(student: Place, teacher: Place) -> dict[str, str]:
    """Return the keywords that tell a loss what it compares; ``output`` is the default."""
    made = {"student_module_path": student[0]}
    if student[1] != "output":
        made["student_module_io"] = student[1]
    made["teacher_module_path"] = teacher[0]
    if teacher[1] != "output":
        made["teacher_module_io"] = teacher[1]
    return made


def _hint_stages(setting: Setting) -> tuple[str, str]:
    """Return the stage that CRD's code takes the hint from, of student and teacher: the second."""
    student, teacher = setting.models
    return used_stages(student)[1], used_stages(teacher)[1]


def _fitnet(method: Method, setting: Setting) -> list[Term]:
    """Compare the second stage, behind a regressor."""
    at, target = _hint_stages(setting)
    student = setting.student.regressed(at, setting.teacher, target, of=method.title)
    return [_term(method, setting, _paths(student, setting.teacher.map_at(target)))]


def _at(method: Method, setting: Setting) -> list[Term]:
    """Compare the maps of every stage: by torchdistill's loss where they have one size, by ours elsewhere."""
    stages = aligned_stages(*setting.models)
    values, weight = method.hyperparameters(setting.values)
    sides = (setting.student, setting.teacher)
    points = [[side.model.point(name) for side, name in zip(sides, names, strict=True)] for names in stages]
    alike = all(setting.student.map_size(a) == setting.teacher.map_size(b) for a, b in points)
    places = [(name, setting.student.map_at(name), setting.teacher.map_at(target)) for name, target in stages]
    if alike:
        pairs = {name: _pair(student, teacher) for name, student, teacher in places}
        term = Term(method.name, "ATLoss", {"mode": "code", "at_pairs": pairs, **values}, weight)
        return [masked(term, dataclasses.replace(method, masked=""), setting)]
    return [
        masked(
            Term(f"{method.name}_{name}", method.criterion, {**_paths(student, teacher), **values}, weight),
            method,
            setting,
        )
        for name, student, teacher in places
    ]


def _pair(student: Place, teacher: Place) -> dict[str, object]:
    """Return a pair as torchdistill's losses on several features have it."""
    places = {side: {"path": path, "io": io} for side, (path, io) in (("teacher", teacher), ("student", student))}
    return {**places, "weight": 1}


def _vid(method: Method, setting: Setting) -> list[Term]:
    """Predict the teacher's stages from the student's, with a variance: its larger maps are pooled by our loss."""
    pairs, larger = {}, False
    sides = (setting.student, setting.teacher)
    for at, target in aligned_stages(*setting.models):
        own, theirs = (
            side.map_size(side.model.point(name)) or 1 for side, name in zip(sides, (at, target), strict=True)
        )
        larger = larger or theirs > own
        student = setting.student.regressed(at, setting.teacher, target, of=method.title, key="VIDStudent")
        pairs[at] = _pair(student, setting.teacher.map_at(target))
    method = dataclasses.replace(method, criterion="PooledVIDLoss") if larger else method
    return [_term(method, setting, {"feature_pairs": pairs})]


def _pooled(method: Method, setting: Setting) -> list[Term]:
    """Compare the vectors that the classifiers take."""
    return [_term(method, setting, _paths(setting.student.vector_at(), setting.teacher.vector_at()))]


def _projected(setting: Setting, method: Method, **kwargs: Any) -> tuple[Place, Place]:
    """Return the pooled vectors behind projections that are learned."""
    student = setting.student.regressed(
        "pooled", setting.teacher, "pooled", of=method.title, key="ProjectedStudent", **kwargs
    )
    return student, setting.teacher.projected("pooled")


def _cc(method: Method, setting: Setting) -> list[Term]:
    return [_term(method, setting, _paths(*_projected(setting, method, dim=128, normalize=False)))]


def _crd(method: Method, setting: Setting) -> list[Term]:
    """Tell samples apart, among many that a memory holds."""
    if not setting.images:
        raise ValueError(f"crd needs the labels of the whole training set, which a part of {setting.dataset} lacks")
    student, teacher = _projected(setting, method, dim=128)
    setting.student.forward = "forward_batch_supp_dict"
    setting.student.hook("supplement", "input")
    negatives = min(16384, setting.images // 2)
    wrapper = {"num_negative_samples": negatives, "mode": "exact", "ratio": 1.0}
    setting.loader["dataset_wrapper"] = {"key": "CRDDatasetWrapper", "kwargs": wrapper}
    paths = {
        "student_norm_module_path": student[0],
        "student_empty_module_path": "supplement",
        "teacher_norm_module_path": teacher[0],
        "input_size": 128,
        "output_size": setting.images,
        "num_samples": setting.images,
        "num_negative_samples": negatives,
    }
    return [_term(method, setting, paths)]


def _review(method: Method, setting: Setting) -> list[Term]:
    """Compare every stage and the pooled features, fused from the deepest on; a term a level."""
    levels = [*aligned_stages(*setting.models), ("pooled", "pooled")]
    values, weight = method.hyperparameters(setting.values)
    terms = []
    for at, target in levels:
        student = setting.student.regressed(
            at, setting.teacher, target, of=method.title, key="ReviewStudent", mid_channels=256
        )
        teacher = setting.teacher.show(target) if target == "pooled" else setting.teacher.map_at(target)
        paths = {
            "student_module_path": student[0],
            "student_module_io": student[1],
            "teacher_module_path": teacher[0],
            "teacher_module_io": teacher[1],
        }
        name = f"{method.name}_{at}"
        terms.append(masked(Term(name, method.criterion, {**paths, **values}, weight), method, setting))
    return terms


def _simkd(method: Method, setting: Setting) -> list[Term]:
    """Compare the projected last map; the teacher's classifier comes after it, in the student."""
    student, teacher = setting.models
    classes = {"num_classes": setting.classes}
    own = {"key": student.key, "kwargs": {**student.kwargs, **classes}}
    lent: dict[str, object] = {"key": teacher.key, "kwargs": {**teacher.kwargs, **classes}, "src_ckpt": setting.weights}
    if setting.weights is None:
        lent = {"key": teacher.key, "kwargs": {"model_name": teacher.pretrained, "pretrained": True, **classes}}
    kwargs: dict[str, object] = {"student": own, "teacher": lent}
    target = "last_map" if teacher.pools_last_map else "pooled"
    if target == "pooled":
        kwargs["teacher_point"] = target
    if setting.student.image_size != student.input_size:
        kwargs["probe_size"] = setting.student.image_size
    setting.student_model = {"key": "simkd_student", "kwargs": kwargs}
    place = setting.teacher.show(target) if target == "pooled" else setting.teacher.map_at(target)
    return [_term(method, setting, _paths(setting.student.hook("projector"), place))]


def _term(method: Method, setting: Setting, kwargs: Mapping[str, object]) -> Term:
    """Return the one term of a method, masked where the setting has a mask."""
    values, weight = method.hyperparameters(setting.values)
    return masked(Term(method.name, method.criterion, {**kwargs, **values}, weight), method, setting)


def _last_map(method: Method, setting: Setting) -> list[Term]:
    """Compare the last maps, with no regressor."""
    return [_term(method, setting, _paths(setting.student.map_at("last_map"), setting.teacher.map_at("last_map")))]


def _class_maps(method: Method, setting: Setting) -> list[Term]:
    """Compare the class activation maps, which the wrappers show."""
    return [_term(method, setting, _paths(setting.student.show("class_maps"), setting.teacher.show("class_maps")))]


FEATURE_METHODS: tuple[Method, ...] = (
    Method(
        "fitnet",
        "FitNet",
        "HintLoss",
        {},
        100.0,
        1.0,
        WEIGHT.format(paper="FitNet (Romero et al., ICLR 2015) after CRD's code; the second stage, behind a regressor"),
        build=_fitnet,
        masked="SFKDHintLoss",
    ),
    Method(
        "at",
        "AT",
        "AttentionTransferLoss",
        {},
        1000.0,
        1.0,
        WEIGHT.format(paper="AT (Zagoruyko and Komodakis, ICLR 2017) after CRD's code; the maps of every stage"),
        build=_at,
        masked="SFKDAttentionLoss",
    ),
    Method(
        "sp",
        "SP",
        "SimilarityLoss",
        {},
        3000.0,
        1.0,
        WEIGHT.format(paper="SP (Tung and Mori, ICCV 2019) after CRD's code; the last maps"),
        build=_last_map,
    ),
    Method(
        "cc",
        "CC",
        "CorrelationLoss",
        {},
        0.02,
        1.0,
        WEIGHT.format(paper="CC (Peng et al., ICCV 2019) after CRD's code; the pooled features, projected"),
        build=_cc,
    ),
    Method(
        "vid",
        "VID",
        "VIDLoss",
        {},
        1.0,
        1.0,
        WEIGHT.format(paper="VID (Ahn et al., CVPR 2019) after CRD's code; every stage"),
        build=_vid,
    ),
    Method(
        "rkd",
        "RKD",
        "RelationalLoss",
        {"distance_weight": 25.0, "angle_weight": 50.0},
        1.0,
        1.0,
        WEIGHT.format(paper="RKD (Park et al., CVPR 2019) after CRD's code; the pooled features"),
        build=_pooled,
    ),
    Method(
        "pkt",
        "PKT",
        "ProbabilisticLoss",
        {},
        30000.0,
        1.0,
        WEIGHT.format(paper="PKT (Passalis and Tefas, ECCV 2018) after CRD's code; the pooled features"),
        build=_pooled,
    ),
    Method(
        "crd",
        "CRD",
        "CRDLoss",
        {"temperature": 0.07, "momentum": 0.5, "eps": 0.0000001},
        0.9,
        1.0,
        WEIGHT.format(paper="CRD (Tian et al., ICLR 2020), whose other settings these are; the pooled features"),
        build=_crd,
    ),
    Method(
        "simkd",
        "SimKD",
        "SimKDLoss",
        {},
        1.0,
        0.0,
        WEIGHT.format(
            paper="SimKD (Chen et al., CVPR 2022), with no cross-entropy; the student ends in the teacher's classifier"
        ),
        build=_simkd,
    ),
    Method(
        "reviewkd",
        "ReviewKD",
        "HierarchicalContextLoss",
        {"reduction": "mean", "output_sizes": [4, 2, 1]},
        5.0,
        1.0,
        "Weight: 5 a level, the public one of ReviewKD (Chen et al., CVPR 2021) for resnet32x4 -> resnet8x4, without "
        "its warm-up; SFKD's Table 9 has none.",
        build=_review,
    ),
    Method(
        "cat",
        "CAT-KD",
        "CATLoss",
        {"size": 2, "normalize": True},
        1.0,
        1.0,
        "Size of the maps: that of CAT-KD (Guo et al., CVPR 2023), which has a weight for each pair, 0.5 to 600, and "
        "no normalisation for pairs of one family; 1 here, normalised.",
        build=_class_maps,
    ),
)
