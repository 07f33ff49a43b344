"""The offline part of letKD: statistics of a teacher's features, fitted before training."""

from .artefact import (
    IntermediateStatistics,
    PenultimateStatistics,
    Statistics,
    StatisticsError,
    check_statistics,
    load_statistics,
    part_of,
    save_statistics,
)
from .clustering.kmeans import fit_centres
from .clustering.lda import ClassMoments, Projection, discriminants
from .clustering.subclasses import cluster_classes, member_means, nearest_of_own_class, score_table
from .fitting import fit_statistics
from .streaming import ArrayFeatures, Block, FeatureStream, Shape
from .teacher_features import TeacherFeatures

__all__ = [
    "ArrayFeatures",
    "Block",
    "ClassMoments",
    "FeatureStream",
    "IntermediateStatistics",
    "PenultimateStatistics",
    "Projection",
    "Shape",
    "Statistics",
    "StatisticsError",
    "TeacherFeatures",
    "check_statistics",
    "cluster_classes",
    "discriminants",
    "fit_centres",
    "fit_statistics",
    "load_statistics",
    "member_means",
    "nearest_of_own_class",
    "part_of",
    "save_statistics",
    "score_table",
]
