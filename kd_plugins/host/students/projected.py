"""Student and teacher wrappers with projections to vectors of one size, trained with the student."""

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
    """Project features of a frozen teacher with projections that the student's wrapper owns.

    In training, every forward pass calls the submodule ``projections.<name>`` with the map of each point; the config
    hooks its output (B, dim). The weights belong to :class:`ProjectedStudent`, so the optimizer,
    DistributedDataParallel and a resume handle them like the student's. The teacher itself does not change. A mask
    (``SalientFeatureMask``) over a loss that reads the projection applies to the projection's input.

    The other keywords are those of :class:`~kd_plugins.host.teachers.wrapper.FrozenTeacher`. ``points`` are the
    features to project, under the names of the student's pairs.

    Raises:
        ValueError: without points, and as in ``FrozenTeacher``.

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
        """Return the names of the wrapper's own modules."""
        shown = super().own_paths(kwargs)
        return {**shown, "projections": shown["points"]}

    def show_points(self, entries: Sequence[PointEntry], *, probe_size: int | Sequence[int] | None = None) -> None:
        """Add ``points.<name>`` and ``projections.<name>``."""
        super().show_points(entries, probe_size=probe_size)
        self.projections = nn.ModuleDict({name: BorrowedProjection() for name in self.points})

    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the teacher on its own view of the batch (B, c, H, W), then the borrowed projections."""
        if "projections" not in self._modules:
            raise ValueError(f"ProjectedTeacher needs points, the features to project: {TEACHER_EXAMPLE}")
        with collected(self.points, self.points) as maps:
            output = super().forward(batch, *args, **kwargs)
        for name, projection in self.projections.items():
            if projection.lender is not None:
                projection(maps[name])
        return output

    def secondary_forward(self, *args: Any, **kwargs: Any) -> None:
        """Check that the projections have weights; only training calls this."""
        missing = [name for name, projection in self.projections.items() if projection.lender is None]
        if missing:
            raise ValueError(
                f"the teacher's projections {', '.join(missing)} have no weights; the student owns them: under train "
                "set pre_epoch_process: kd_pre_epoch, and student.auxiliary_model_wrapper: {key: ProjectedStudent, "
                f"kwargs: {{pairs: [{{student: {missing[0]}, channels: ...}}]}}}}"
            )


class BorrowedProjection(nn.Module):
    """Module of the teacher that applies a projection of the student; it has no weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lender: weakref.ref[nn.Module] | None = None

    @property
    def lender(self) -> nn.Module | None:
        """The projection; None if none was lent or it was deleted."""
        return None if self._lender is None else self._lender()

    def borrow(self, projection: nn.Module) -> None:
        """Apply ``projection`` from now on; a weak reference does not register it as a submodule."""
        self._lender = weakref.ref(projection)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, c, H, W) to (B, dim), with gradient for the projection."""
        with torch.enable_grad():
            return self.lender(feature_map)  # type: ignore[misc]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lender": None}


class ProjectedStudent(RegressorStudent):
    """Learn projections of student and teacher features to vectors of one size, for ``CCKDLoss`` and ``CRDLoss``.

    In training, every forward pass runs ``regressors.<name>`` on the student's map of each pair, and the teacher's
    wrapper, :class:`ProjectedTeacher`, runs ``teacher_projections.<name>`` on the teacher's. The config hooks
    ``regressors.<name>`` in the student and ``projections.<name>`` in the teacher. The optimizer trains both, and the
    trainer saves them for a resume; the student's checkpoint holds neither.

    It replaces torchdistill's ``Linear4CCKD`` and ``Linear4CRD``, which freeze the teacher's projection at random
    weights (``requires_grad: False``, which the teacher needs) and add a prefix to every name in the student's
    checkpoint. ``Linear4CRD`` also needs the supplementary dict in an evaluation.

    Args:
        pairs: as in :class:`~kd_plugins.host.students.feature.RegressorStudent`: ``student`` is the student's point,
            ``channels`` the teacher's; maps are averaged over positions before the projection.
        dim: size of the projected vectors.
        normalize: scale them to length 1, as ``CRDLoss`` and the kernels of ``CCKDLoss`` expect. The other keywords are
            those of ``RegressorStudent``.

    Raises:
        ValueError: on an invalid pair, or a point that the student does not have.

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
        self.teacher_projections = nn.ModuleDict()
        for name, pair in zip(self.regressors, pairs, strict=True):
            self.teacher_projections[name] = VectorProjection(pair["channels"], dim, normalize=normalize)
        self.supplement = nn.Identity()
        self.channels = {name: TeacherChannel() for name in self.regressors}

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the names of the modules that the wrapper adds, including ``supplement``."""
        shown = super().own_paths(kwargs)
        return {**shown, "teacher_projections": shown["regressors"], "supplement": [""]}

    def _regressor(self, name: str, shape: Sequence[int], channels: int, size: tuple[int, int] | None) -> nn.Module:
        return VectorProjection(shape[0], self.dim, normalize=self.normalize)

    def listen_to(self, teacher: nn.Module) -> None:
        """Lend the projections to the teacher's wrapper."""
        borrower = next((m for m in teacher.modules() if isinstance(m, ProjectedTeacher)), None)
        if borrower is None:
            raise ValueError(
                "ProjectedStudent also projects the teacher's features, but the teacher has no ProjectedTeacher "
                f"wrapper: under train add {TEACHER_EXAMPLE}"
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
        """Return the student's output; in training, also run the projections and expose the supplementary dict."""
        if not self.training:
            return self.student_model(batch)
        if supplement is not None:
            self.supplement(supplement)
        output = super().forward(batch)
        used = [channel.take() for channel in self.channels.values()]
        return keep_in_graph(output, *[projected for projected in used if projected is not None])
