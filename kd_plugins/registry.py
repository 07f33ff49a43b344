"""The one table of everything that torchdistill configs can name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# torchdistill.datasets looks up torchvision.datasets among the imported modules.
import torchvision.datasets  # noqa: F401
from torchdistill.core.interfaces import registry as processes
from torchdistill.datasets import registry as datasets
from torchdistill.losses import registry as losses
from torchdistill.models import registry as models

from .data import TwoViews, collate_two_views
from .host.boxes.processes import kd_pre_epoch
from .host.lakd.student import LAKDStudent
from .host.letkd.loss import LetKDLoss
from .host.letkd.student import letkd_student
from .host.losses.mid_level import mid_level_loss
from .host.losses.pooled_vid import PooledVIDLoss
from .host.losses.transform_steps import TRANSFORMS
from .host.losses.wrappers import LogitStandardization, SalientFeatureMask, TransformedLoss
from .host.model_with_logits import model_with_logits
from .host.students.ctkd import CTKDStudent
from .host.students.feature import FeatureStudent, RegressorStudent
from .host.students.projected import ProjectedStudent, ProjectedTeacher
from .host.students.review import ReviewStudent
from .host.students.vid import VIDStudent
from .host.teachers.ensemble import teacher_ensemble
from .host.teachers.model import frozen_teacher
from .host.teachers.wrapper import FrozenTeacher
from .losses import (
    AEKDFeatureLoss,
    AEKDLoss,
    AttentionTransferLoss,
    AverageEnsembleLoss,
    CATLoss,
    CKDLoss,
    CorrelationLoss,
    CTKDLoss,
    DKDLoss,
    HintLoss,
    LAKDLoss,
    LSKDLoss,
    MLKDLoss,
    ProbabilisticLoss,
    RelationalLoss,
    SFKDAttentionLoss,
    SFKDHintLoss,
    SFKDLoss,
    SimilarityLoss,
    SimKDLoss,
    SoftTargetLoss,
)
from .models import CIFAR_MODELS, simkd_student, timm_model

HINTON = "Hinton et al., 2015"
LSKD = "LSKD, Sun et al., CVPR 2024"
CKD = "CKD, Zhu et al., 2024"
DKD = "DKD, Zhao et al., CVPR 2022"
CTKD = "CTKD, Li et al., AAAI 2023"
MLKD = "MLKD, Jin et al., CVPR 2023"
SFKD = "SFKD, under review"
FITNET = "FitNet, Romero et al., ICLR 2015"
AT = "AT, Zagoruyko and Komodakis, ICLR 2017"
SP = "SP, Tung and Mori, ICCV 2019"
CATKD = "CAT-KD, Guo et al., CVPR 2023"
AEKD = "AEKD, Du et al., NeurIPS 2020"
LAKD = "LAKD, Zhang et al., 2024"
LETKD = "letKD, BMVC 2023"
SIMKD = "SimKD, Chen et al., CVPR 2022"
CC = "CC, Peng et al., ICCV 2019"
RKD = "RKD, Park et al., CVPR 2019"
PKT = "PKT, Passalis and Tefas, ECCV 2018"
VID = "VID, Ahn et al., CVPR 2019"
CRD = "CRD, Tian et al., ICLR 2020"
REVIEWKD = "ReviewKD, Chen et al., CVPR 2021"


@dataclass(frozen=True)
class Entry:
    """One registered name: its kind, key, class or function, what it is, and the paper it comes from."""

    kind: str
    key: str
    item: Callable[..., Any]
    summary: str
    paper: str = ""


@dataclass(frozen=True)
class Kind:
    """One of torchdistill's registries: what it is called in messages, its table and its decorator."""

    label: str
    table: dict[str, Any]
    register: Callable[..., Any]


KINDS: dict[str, Kind] = {
    "losses": Kind("loss", losses.MIDDLE_LEVEL_LOSS_DICT, losses.register_mid_level_loss),
    "loss-wrappers": Kind("loss wrapper", losses.LOSS_WRAPPER_DICT, losses.register_loss_wrapper),
    "model-wrappers": Kind(
        "model wrapper", models.AUXILIARY_MODEL_WRAPPER_DICT, models.register_auxiliary_model_wrapper
    ),
    "models": Kind("model", models.MODEL_DICT, models.register_model),
    "processes": Kind("pre-epoch process", processes.PRE_EPOCH_PROC_FUNC_DICT, processes.register_pre_epoch_proc_func),
    "dataset-wrappers": Kind("dataset wrapper", datasets.DATASET_WRAPPER_DICT, datasets.register_dataset_wrapper),
    "collate-functions": Kind("collate function", datasets.COLLATE_FUNC_DICT, datasets.register_collate_func),
}

_TEMPERATURE = {
    "student.auxiliary_model_wrapper": "{key: CTKDStudent, kwargs: {level: global}}",
    "student.forward_hook": "{output: [temperature]}",
}
_TWO_VIEWS = {
    "train_data_loader.dataset_wrapper": "{key: TwoViews, kwargs: {strong: ...}}",
    "train_data_loader.collate_fn": "collate_two_views",
}

_PROJECTIONS = {
    "teacher.auxiliary_model_wrapper": "{key: ProjectedTeacher, kwargs: {points: [pooled]}}",
    "student.auxiliary_model_wrapper": "{key: ProjectedStudent, kwargs: {pairs: [{student: pooled, channels: 256}]}}",
}
_LOCAL = {
    "student.auxiliary_model_wrapper": "{key: LAKDStudent, kwargs: {cuts: shifted}}",
    "student.forward_hook": "{output: [local_losses, class_maps.student, class_maps.teacher]}",
}

ENTRIES: tuple[Entry, ...] = (
    Entry("losses", "SoftTargetLoss", mid_level_loss(SoftTargetLoss), "KL of softened logits (KD)", HINTON),
    Entry("losses", "LSKDLoss", mid_level_loss(LSKDLoss), "KD on standardized logits", LSKD),
    Entry("losses", "CKDLoss", mid_level_loss(CKDLoss), "sample-wise contrastive loss on logits", CKD),
    Entry("losses", "SFKDLoss", mid_level_loss(SFKDLoss), "KD from the teacher's largest logits", SFKD),
    Entry(
        "losses", "DKDLoss", mid_level_loss(DKDLoss, uses_targets=True), "target class and others weighted apart", DKD
    ),
    Entry(
        "losses",
        "CTKDLoss",
        mid_level_loss(CTKDLoss, student_tensors=["temperature"], requires=_TEMPERATURE),
        "KD at the temperature of CTKDStudent",
        CTKD,
    ),
    Entry(
        "losses",
        "MLKDLoss",
        mid_level_loss(MLKDLoss, sees_untransformed=True, requires=_TWO_VIEWS),
        "samples, batches and classes, from two views",
        MLKD,
    ),
    Entry(
        "losses", "HintLoss", mid_level_loss(HintLoss, wants="features"), "mean squared error of feature maps", FITNET
    ),
    Entry(
        "losses",
        "AttentionTransferLoss",
        mid_level_loss(AttentionTransferLoss, wants="features"),
        "where feature maps are active",
        AT,
    ),
    Entry(
        "losses",
        "SimilarityLoss",
        mid_level_loss(SimilarityLoss, wants="features"),
        "how alike the samples of a batch are",
        SP,
    ),
    Entry(
        "losses",
        "RelationalLoss",
        mid_level_loss(RelationalLoss, wants="features"),
        "distances and angles between samples",
        RKD,
    ),
    Entry(
        "losses",
        "ProbabilisticLoss",
        mid_level_loss(ProbabilisticLoss, wants="features"),
        "how probable samples make each other",
        PKT,
    ),
    Entry(
        "losses",
        "CorrelationLoss",
        mid_level_loss(CorrelationLoss, wants="features", requires=_PROJECTIONS),
        "differences at neighbours of a batch",
        CC,
    ),
    Entry("losses", "CATLoss", mid_level_loss(CATLoss, wants="features"), "where maps speak for each class", CATKD),
    Entry(
        "losses",
        "SimKDLoss",
        mid_level_loss(SimKDLoss, wants="features"),
        "projected feature into the teacher's classifier",
        SIMKD,
    ),
    Entry(
        "losses",
        "SFKDHintLoss",
        mid_level_loss(SFKDHintLoss, wants="features"),
        "hint from the teacher's largest entries",
        SFKD,
    ),
    Entry(
        "losses",
        "SFKDAttentionLoss",
        mid_level_loss(SFKDAttentionLoss, wants="features"),
        "attention of the teacher's largest entries",
        SFKD,
    ),
    Entry(
        "losses",
        "AEKDLoss",
        mid_level_loss(AEKDLoss, wants="logit_ensemble"),
        "KD from several teachers, weighted by gradients",
        AEKD,
    ),
    Entry(
        "losses",
        "AEKDFeatureLoss",
        mid_level_loss(AEKDFeatureLoss, wants="feature_ensemble"),
        "hints of several teachers, weighted likewise",
        AEKD,
    ),
    Entry(
        "losses",
        "AverageEnsembleLoss",
        mid_level_loss(AverageEnsembleLoss, wants="logit_ensemble"),
        "KD from the mean of several teachers",
        HINTON,
    ),
    Entry(
        "losses",
        "LAKDLoss",
        mid_level_loss(
            LAKDLoss,
            wants="student_tensors",
            student_tensors=["local_losses", "class_maps.student", "class_maps.teacher"],
            requires=_LOCAL,
        ),
        "local feature losses of LAKDStudent and class attention",
        LAKD,
    ),
    Entry("losses", "PooledVIDLoss", PooledVIDLoss, "VIDLoss with larger maps of the teacher pooled", VID),
    Entry("losses", "LetKDLoss", LetKDLoss, "scores of a KD layer against the teacher's clusters", LETKD),
    Entry("loss-wrappers", "TransformedLoss", TransformedLoss, "transforms before any mid-level loss"),
    Entry("loss-wrappers", "LogitStandardization", LogitStandardization, "Z-score before any logit loss", LSKD),
    Entry("loss-wrappers", "SalientFeatureMask", SalientFeatureMask, "teacher's largest entries, any loss", SFKD),
    Entry("model-wrappers", "FrozenTeacher", FrozenTeacher, "teacher in eval mode, its own normalisation"),
    Entry("model-wrappers", "FeatureStudent", FeatureStudent, "student that shows its features as maps"),
    Entry("model-wrappers", "RegressorStudent", RegressorStudent, "regressors to the teacher's features", FITNET),
    Entry("model-wrappers", "VIDStudent", VIDStudent, "regressors with a variance, for VIDLoss", VID),
    Entry("model-wrappers", "ReviewStudent", ReviewStudent, "fused levels, for HierarchicalContextLoss", REVIEWKD),
    Entry("model-wrappers", "ProjectedStudent", ProjectedStudent, "projections, for CorrelationLoss, CRDLoss", CRD),
    Entry("model-wrappers", "ProjectedTeacher", ProjectedTeacher, "teacher behind the student's projections", CRD),
    Entry("model-wrappers", "CTKDStudent", CTKDStudent, "a temperature that is learned with the student", CTKD),
    Entry("model-wrappers", "LAKDStudent", LAKDStudent, "modules that learn locally, with attention", LAKD),
    Entry("models", "simkd_student", simkd_student, "a student that ends in its teacher's classifier", SIMKD),
    Entry("models", "letkd_student", letkd_student, "any student with KD layers, which stay at inference", LETKD),
    Entry("models", "timm_model", timm_model, "any timm model by name (model_name)"),
    Entry("models", "frozen_teacher", frozen_teacher, "a teacher that normalises and resizes its batches itself"),
    Entry("models", "model_with_logits", model_with_logits, "the logits of a model that returns several outputs"),
    Entry("models", "teacher_ensemble", teacher_ensemble, "several frozen teachers as one model"),
    *(Entry("models", key, build, str(build.__doc__).split(".\n")[0]) for key, build in CIFAR_MODELS.items()),
    Entry("processes", "kd_pre_epoch", kd_pre_epoch, "teacher to eval mode, epoch to losses and wrappers"),
    Entry("dataset-wrappers", "TwoViews", TwoViews, "a weak and a strong augmentation of each image", MLKD),
    Entry("collate-functions", "collate_two_views", collate_two_views, "both views of a batch in one", MLKD),
)


def transform_entries() -> Iterator[Entry]:
    """Yield the transforms, which configs name inside ``TransformedLoss``."""
    for key, transform in TRANSFORMS.items():
        yield Entry("transforms", key, transform.function, transform.summary, transform.paper)


def register_all() -> None:
    """Put every entry into torchdistill's registries; doing it again changes nothing.

    Raises:
        ValueError: when a key is taken by somebody else.
    """
    for entry in ENTRIES:
        kind = KINDS[entry.kind]
        holder = kind.table.get(entry.key)
        if holder is not None and not _is_ours(holder):
            name = f"{getattr(holder, '__module__', '?')}.{getattr(holder, '__qualname__', holder)}"
            raise ValueError(
                f"the {kind.label} key {entry.key!r} is already held by {name}; register that one under "
                "another key, or import kd_plugins in another process"
            )
        kind.register(entry.item, key=entry.key)


def _is_ours(holder: Any) -> bool:
    return str(getattr(holder, "__module__", "")).split(".")[0] == __name__.split(".")[0]
