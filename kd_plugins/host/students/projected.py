"""Projections of student and teacher features to one size, both trained with the student."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..._checks import check_at_least
from ...models.points.entries import PointEntry
from ...models.points.shown import collected
from ...modules.vector_projection import VectorProjection
from ..keep_in_graph import keep_in_graph
from ..teachers.channel import TeacherChannel
from ..teachers.wrapper import FrozenTeacher
from .feature import RegressorStudent

TEACHER_EXAMPLE = "teacher.auxiliary_model_wrapper: {key: ProjectedTeacher, kwargs: {points: [pooled]}}"


class ProjectedTeacher(FrozenTeacher):
    """Show features of a frozen teacher through projections that the student's wrapper owns.

    Every forward pass of a training calls the submodule ``projections.<name>`` with the map of each point; its output
    (B, dim), which the config hooks, depends on the weights in :class:`ProjectedStudent`, where the optimizer,
    data-parallel training and a resume find them. The teacher itself stays as it is. A mask over a loss that reads the
    projection (``SalientFeatureMask``) works on the map that the projection takes.

    The other keywords are those of :class:`~kd_plugins.host.teachers.wrapper.FrozenTeacher`. ``points`` are the
    features to project, under the names of the student's pairs.

    Args:
        teacher_model: the teacher, given by torchdistill.
        device: given by torchdistill; unused, as the box moves the wrapper.
        device_ids: given by torchdistill; unused.
        distributed: given by torchdistill; unused.

    Raises:
        ValueError: without points, and as there.

    Example:
        In a config::

            teacher:
              forward_proc: forward_batch_only
              requires_grad: False
              auxiliary_model_wrapper: {key: ProjectedTeacher, kwargs: {points: [pooled]}}
              forward_hook: {output: [projections.pooled]}
    """

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return names of the modules that the wrapper adds: of ``points`` and of ``projections``."""
        shown = super().own_paths(kwargs)
        return {**shown, "projections": shown["points"]}

    def show_points(self, entries: Sequence[PointEntry], *, probe_size: int | Sequence[int] | None = None) -> None:
        """Add ``points.<name>``, as every wrapper has them, and ``projections.<name>``."""
        super().show_points(entries, probe_size=probe_size)
        self.projections = nn.ModuleDict({name: BorrowedProjection() for name in self.points})

    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the teacher on its own view of the batch (B, c, H, W), and the projections that it was lent."""
        if "projections" not in self._modules:
            raise ValueError(f"ProjectedTeacher needs points, the features to project: {TEACHER_EXAMPLE}")
        with collected(self.points, self.points) as maps:
            output = super().forward(batch, *args, **kwargs)
        for name, projection in self.projections.items():
            if projection.lender is not None:
                projection(maps[name])
        return output

    def secondary_forward(self, *args: Any, **kwargs: Any) -> None:
        """Check, as training alone calls this, that the projections were there."""
        missing = [name for name, projection in self.projections.items() if projection.lender is None]
        if missing:
            raise ValueError(
                f"the teacher's projections {', '.join(missing)} have no weights, which the student lends: under train "
                "set pre_epoch_process: kd_pre_epoch, and student.auxiliary_model_wrapper: {key: ProjectedStudent, "
                f"kwargs: {{pairs: [{{student: {missing[0]}, channels: ...}}]}}}}"
            )


class BorrowedProjection(nn.Module):
    """A place in the teacher where a projection of the student's is applied; it has no weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lender: weakref.ref[nn.Module] | None = None

    @property
    def lender(self) -> nn.Module | None:
        """The projection; None where none was lent, or it is gone."""
        return None if self._lender is None else self._lender()

    def borrow(self, projection: nn.Module) -> None:
        """Apply ``projection`` from now on, which is held weakly: a module of the teacher it is not."""
        self._lender = weakref.ref(projection)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, c, H, W) to (B, dim), with gradient for the projection."""
        projection = self.lender
        if projection is None:
            raise ValueError("a BorrowedProjection must be lent a projection before it is called")
        with torch.enable_grad():
            return projection(feature_map)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lender": None}


class ProjectedStudent(RegressorStudent):
    """Learn projections of student and teacher features to vectors of one size, for ``CCKDLoss`` and ``CRDLoss``.

    In training, every forward pass runs ``regressors.<name>`` on the student's map of each pair, and the teacher's
    wrapper, :class:`ProjectedTeacher`, runs ``teacher_projections.<name>`` on its own; the config hooks
    ``regressors.<name>`` here and ``projections.<name>`` there. Both are trained, and kept by the trainer for a resume;
    a checkpoint of the student holds neither. It replaces torchdistill's ``Linear4CCKD`` and ``Linear4CRD``: under
    ``requires_grad: False``, which the teacher needs, these freeze the teacher's projection at its random weights; they
    put a prefix before every name in the student's checkpoint; ``Linear4CRD`` cannot be evaluated on a batch alone,
    and has no gradient at a zero vector.

    Args:
        student_model: the student, given by torchdistill; it must return one tensor.
        device: given by torchdistill; unused, as the box moves the wrapper.
        device_ids: given by torchdistill; unused.
        distributed: given by torchdistill; unused, as the trainer wraps the whole.
        pairs: as in :class:`~kd_plugins.host.students.feature.RegressorStudent`: ``student`` is the student's point,
            ``channels`` the teacher's; maps of more than one position are averaged before they are projected.
        points: maps to show beside the pairs'.
        probe_size: as in :class:`~kd_plugins.host.students.feature.FeatureStudent`.
        dim: size of the projected vectors.
        normalize: bring them to length 1, as ``CRDLoss`` and the kernels of ``CCKDLoss`` want them.

    Raises:
        ValueError: on a pair that is not understood, or a point that the student does not have.

    References:
        Tian et al., Contrastive Representation Distillation, ICLR 2020, Section 3. Peng et al., Correlation Congruence
        for Knowledge Distillation, ICCV 2019, Section 3.

    Example:
        In a config (``forward_batch_supp_dict`` and the input hook are for ``CRDLoss`` alone)::

            student:
              forward_proc: forward_batch_supp_dict
              auxiliary_model_wrapper:
                key: ProjectedStudent
                kwargs: {pairs: [{student: pooled, channels: 256}], dim: 128}
              forward_hook: {output: [regressors.pooled], input: [supplement]}
    """

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        pairs: Sequence[Mapping[str, Any]],
        points: Sequence[PointEntry] = (),
        probe_size: int | Sequence[int] | None = None,
        dim: int = 128,
        normalize: bool = True,
    ) -> None:
        check_at_least("dim", dim, 1)
        # The parent's constructor builds the projections.
        self.dim, self.normalize = dim, normalize
        super().__init__(student_model, pairs=pairs, points=points, probe_size=probe_size)
        self.teacher_projections = nn.ModuleDict(
            {
                name: VectorProjection(pair["channels"], dim, normalize=normalize)
                for name, pair in zip(self.regressors, pairs, strict=True)
            }
        )
        self.supplement = nn.Identity()
        self.channels = {name: TeacherChannel() for name in self.regressors}

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return names of the modules that the wrapper adds, the input for a batch's supplement among them."""
        shown = super().own_paths(kwargs)
        return {**shown, "teacher_projections": shown["regressors"], "supplement": [""]}

    def _regressor(self, name: str, pair: Mapping[str, Any], shape: Sequence[int]) -> nn.Module:
        return VectorProjection(shape[0], self.dim, normalize=self.normalize)

    def listen_to(self, teacher: nn.Module) -> None:
        """Lend the teacher's wrapper its projections."""
        borrower = next((m for m in teacher.modules() if isinstance(m, ProjectedTeacher)), None)
        if borrower is None:
            raise ValueError(
                "ProjectedStudent projects the teacher's features too, and the teacher has no wrapper that shows them: "
                f"under train add {TEACHER_EXAMPLE}"
            )
        theirs = list(borrower._modules.get("projections") or ())
        if set(theirs) != set(self.teacher_projections):
            raise ValueError(
                "the points of ProjectedTeacher must have the names of ProjectedStudent's pairs, found "
                f"{', '.join(theirs) or 'none'} and {', '.join(self.teacher_projections)}"
            )
        for name, projection in self.teacher_projections.items():
            borrower.projections[name].borrow(projection)  # type: ignore[operator]
            self.channels[name].connect(borrower.projections[name])

    def forward(self, batch: Tensor, supplement: Any = None) -> Any:
        """Return what the student returns; in training run the projections, and show the supplementary dict."""
        if not self.training:
            return self.student_model(batch)
        if supplement is not None:
            self.supplement(supplement)
        output = super().forward(batch)
        used = [channel.take() for channel in self.channels.values()]
        return keep_in_graph(output, *[projected for projected in used if projected is not None])
