"""Optuna's study of a sweep: a journal beside the runs, which several processes share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..runtime.ownership import OwnedError, owned
from .space import Axis, Point, folder_name, grid, yaml_number

JOURNAL, TURN = "optuna.log", ".turn.lock"
GRID, RANDOM, TPE = "grid", "random", "tpe"
SAMPLERS = (GRID, RANDOM, TPE)


class Study:
    """The trials of a sweep.

    A process takes a trial and locks its folder in one step, so a running trial whose folder is not locked belongs to a
    killed process and is taken again.

    Args:
        folder: of the sweep; the journal lies there.
        axes: what varies.
        sampler: ``"grid"``, ``"random"`` or ``"tpe"``.
        trials: number of trials; ignored by a grid, which has one per point.
        seed: of the sampler.

    Raises:
        ValueError: if Optuna is not installed.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], sampler: str, trials: int, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ValueError("sweep searches with Optuna: pip install 'kd-plugins[sweep]'") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna = optuna
        self.folder, self.sampler, self.seed, self.turn = folder, sampler, seed, FileLock(folder / TURN)
        self.axes = {axis.key: axis for axis in axes}
        self.distributions = {axis.key: axis.distribution() for axis in axes}
        points = grid(axes) if sampler == GRID else []
        self.trials = len(points) or trials
        journal = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        storage = optuna.storages.JournalStorage(journal)
        self.study = optuna.create_study(study_name="sweep", storage=storage, direction="maximize", load_if_exists=True)
        # Drawn here and not by `ask`, so that processes and repeated calls agree on the points.
        queue = [dict(point) for point in points] if sampler == GRID else self._drawn() if sampler == RANDOM else []
        with self.turn:
            for params in queue:
                self.study.enqueue_trial(params, skip_if_exists=True)

    @contextlib.contextmanager
    def next(self) -> Iterator[tuple[Any, Point] | None]:
        """Yield a trial and its point, whose folder is locked in the block; None if no trial is left to begin."""
        with contextlib.ExitStack() as held:
            with self.turn:
                self._requeue_abandoned()
                taken = self._ask()
                if taken is not None:
                    held.enter_context(owned(self.folder / folder_name(taken[1])))
            yield taken

    def point(self, trial: Any) -> Point:
        """Return the YAML values of a trial."""
        return {
            key: trial.params[key] if axis.values else yaml_number(trial.params[key]) for key, axis in self.axes.items()
        }

    def tell(self, trial: Any, value: float) -> None:
        """Record the score of a trial."""
        self.study.tell(trial, value)

    def fail(self, trial: Any, reason: str) -> None:
        """Record that a point cannot be trained."""
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def scores(self) -> list[tuple[Point, float]]:
        """Return the trained points with their scores, in the order of the trials."""
        return [(self.point(trial), trial.value) for trial in self._in_state("COMPLETE")]

    def failures(self) -> list[tuple[Point, str]]:
        """Return the points that could not be trained, with the reasons."""
        failed = [trial for trial in self._in_state("FAIL") if "reason" in trial.user_attrs]
        return [(self.point(trial), trial.user_attrs["reason"]) for trial in failed]

    def running(self) -> int:
        """Return how many trials are under way, in this process or another."""
        return len(self._in_state("RUNNING"))

    def _ask(self) -> tuple[Any, Point] | None:
        if not self._in_state("WAITING"):
            begun = self.running() + len(self.scores()) + len(self.failures())
            if self.sampler != TPE or begun >= self.trials:
                return None
            # A new seed for every trial: the same one would draw the same point again after a restart.
            self.study.sampler = self.optuna.samplers.TPESampler(seed=self.seed + begun)
        trial = self.study.ask(self.distributions)
        return trial, self.point(trial)

    def _drawn(self) -> list[dict[str, Any]]:
        study = self.optuna.create_study(sampler=self.optuna.samplers.RandomSampler(seed=self.seed))
        return [study.ask(self.distributions).params for _ in range(self.trials)]

    def _requeue_abandoned(self) -> None:
        for trial in self._in_state("RUNNING"):
            with contextlib.suppress(OwnedError), owned(self.folder / folder_name(self.point(trial))):
                self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
                self.study.enqueue_trial(dict(trial.params))

    def _in_state(self, name: str) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState[name],))
