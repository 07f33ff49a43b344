"""The training loop of a run: epochs, checkpoints and tests."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from torchdistill.core.util import clear_io_dict
from tqdm import tqdm

from .._errors import ConfigError
from ..config.build import build_box, build_config, build_models
from ..config.config import Config
from ..config.validate import stages
from ..data.loading import batches
from ..fitting.fit import prepare_statistics
from ..host.boxes.parameters import left_out, optimised_by
from ..host.boxes.processes import complete_pre_epoch, criterion_terms
from ..host.teachers.parts import is_trained
from ..models.fingerprint import fingerprint
from ..runtime.checkpoint import BEST, CheckpointError, load_best, load_state, random_state, save_best, save_state
from ..runtime.distributed import Processes, needs_every_gradient, wrap_student
from ..runtime.environment import environment
from ..runtime.evaluate import evaluate
from ..runtime.metrics import main_score
from ..runtime.run_names import SUMMARY
from ..runtime.seed import seed_everything
from ..runtime.speed import compiling, images_channels_last, speed_up
from .kept.epoch_files import EpochFiles
from .report import accuracy, epoch_line
from .run_folder import Options, RunFolder
from .state import FrozenPart, Progress, collect, loss_memories, restore
from .step import Precision, on_device, train_step
from .terms import LossTerms
from .tests import Tests
from .unreached import freeze_unreached

DEFAULT_PROCESS = "default_post_forward_process"

logger = logging.getLogger(__name__)


class TeacherChangedError(ValueError):
    """A frozen teacher changed during training."""


class Trainer:
    """One run of one config, in a folder that is already checked.

    ``look_at`` is called with the config and its objects before models are built, and raises to refuse them. ``test``
    and ``test_every`` are those of :class:`Tests`, ``files`` further files to write after every epoch.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        options: Options,
        procs: Processes,
        *,
        look_at: Callable[[Config, Mapping[str, Any]], None] = lambda _config, _built: None,
        test: bool = True,
        test_every: int = 0,
        files: EpochFiles | None = None,
    ) -> None:
        self.files = files or EpochFiles(folder.path)
        self.config, self.folder, self.procs, self.options = config, folder, procs, options
        seed_everything(options.seed)
        self.built: Mapping[str, Any] = build_config(config)
        look_at(config, self.built)
        self.precision = Precision(options.amp, procs.device)
        self.teacher, self.student, self.student_section = build_models(config, self.built, procs)
        speed_up(self.teacher, self.student, channels_last=options.channels_last, compile=options.compile)
        prepare_statistics(config, self.built, self.teacher, procs, folder=folder.path, seed=options.seed)
        self.box = build_box(config, self.built, self.teacher, self.student, procs, options.seed)
        self.stages = stages(self.built["train"])
        self.side = "student_model" if self.teacher is not None else "model"
        self.tests = Tests(
            config, self.built, procs,
            folder=folder.path, val_loader=self.box.val_data_loader, test=test, every=test_every,
        )  # fmt: skip
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []
        self.teacher_before: dict[str, Any] | None = None
        self.teacher_weights = None if self.teacher is None else fingerprint(self.teacher)
        self.frozen: FrozenPart | None = None
        self.trains_teacher = False
        self.terms = LossTerms(self.box.criterion, procs.device)
        self._wrap_student()
        # All processes start from equal models, but need different augmentations.
        seed_everything(options.seed + procs.rank)

    def fit(self, *, verbose: bool = False) -> dict[str, Any]:
        """Train to the end; return the summary, which is also written to the folder."""
        if (self.folder.path / "last.pt").exists():
            self._restore()
        else:
            self.teacher_before = self.tests.teacher(self.teacher, None)
            self._forget_captured()
        while self.progress.epoch < self.box.num_epochs:
            line = self._epoch()
            self._save(line)
            if verbose and self.procs.is_main:
                tqdm.write(epoch_line(line, self.box.num_epochs), file=sys.stderr)
        return self._finish()

    # One epoch

    def _epoch(self) -> dict[str, Any]:
        box, epoch, started = self.box, self.progress.epoch, time.perf_counter()
        box.pre_epoch_process(epoch=epoch)
        complete_pre_epoch(box, epoch)
        if self.teacher is not None and self.frozen is None:
            self.frozen = FrozenPart.of(self.teacher)
            self.trains_teacher |= is_trained(box.teacher_model)
        self.terms.reset()
        lr = box.optimizer.param_groups[0]["lr"]
        stage = self.stage_name()
        with compiling(True, used=self.options.compile):
            self._train_batches(epoch)
        losses = self.terms.means(self.procs.sum(self.terms.sums()))
        self._forget_captured()
        line: dict[str, Any] = {"epoch": epoch + 1, **({"stage": stage} if stage else {}), "lr": lr}
        line |= {"loss": losses.pop("loss"), "terms": losses}
        if box.val_data_loader is not None:
            line["val"] = evaluate(
                self.student, box.val_data_loader, self.procs, title="validation", metric=self.tests.metric
            )
        test, test_seconds = self.tests.during_training(self.student, epoch + 1)
        line.update(test)
        self._forget_captured()
        self._end_epoch(_score(line))
        line["seconds"] = round(time.perf_counter() - started - test_seconds, 3)
        return line

    def _train_batches(self, epoch: int) -> None:
        box, device = self.box, self.procs.device
        loader = box.train_data_loader
        if not len(loader):
            raise ValueError("the training loader is empty: drop_last drops its only batch; lower batch_size")
        log_freq = self.stage().get("log_freq") or 50
        own_process = self._has_own_process()
        title = f"epoch {epoch + 1}/{box.num_epochs}"
        quiet = None if self.procs.is_main else True
        bar = tqdm(batches(loader), total=len(loader), desc=title, leave=False, disable=quiet, unit="batch")
        for number, (batch, targets, *supplement) in enumerate(bar):
            batch, targets = on_device(batch, targets, device)
            if self.options.channels_last:
                batch = images_channels_last(batch)
            values = train_step(
                box, batch, targets, supplement[0] if supplement else {}, precision=self.precision, terms=self.terms,
                step=f"epoch {epoch + 1}, step {number + 1} of {len(loader)}", own_process=own_process,
            )  # fmt: skip
            if number % log_freq == 0:
                bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)

    def _has_own_process(self) -> bool:
        name = self.stage().get("post_forward_process", DEFAULT_PROCESS)
        if name != DEFAULT_PROCESS and self.options.amp == "fp16":
            raise ValueError(f"post_forward_process {name} does not scale the loss, as fp16 needs; use --amp bf16")
        return name != DEFAULT_PROCESS

    def _end_epoch(self, score: float | None) -> None:
        """Count the epoch, step the scheduler, and advance to the next stage if this one ends."""
        self.progress.epoch += 1
        criterion = self.box.criterion
        self.box.post_epoch_process(metrics=score)
        if self.box.criterion is not criterion:
            if self.frozen is not None and not self.frozen.is_in(self.teacher):
                raise TeacherChangedError(
                    f"a frozen part of the teacher changed during stage{self.box.stage_number - 1}; training stopped, "
                    "because results would be wrong"
                )
            self.stage_began()

    def stage_began(self) -> None:
        """Adopt the criterion and the student that the box has set up."""
        self.terms.close()
        self.terms = LossTerms(self.box.criterion, self.procs.device)
        self.frozen = None
        self._wrap_student()

    def _wrap_student(self) -> None:
        if self.procs.distributed and self.teacher is not None and is_trained(self.box.teacher_model):
            stage = self.stage_name() or "train"
            raise ConfigError(
                f"{self.config.path}: {stage} trains a part of the teacher, which is supported in one process only: "
                "start it without torchrun, or set teacher.requires_grad: False"
            )
        model = getattr(self.box, self.side)
        missed = left_out(model, criterion_terms(self.box.criterion), optimised_by(self.box.optimizer))
        if missed and self.procs.is_main:
            logger.warning("%s: %s", self.config.path, missed)
        side = self.stage().get("student" if self.teacher is not None else "model") or {}
        if needs_every_gradient(model, self.procs, side):
            freeze_unreached(self.box, model, self.procs, self.progress.epoch)
        setattr(self.box, self.side, wrap_student(model, self.procs, side))

    def stage_name(self) -> str:
        """Return the name of the current stage, or ``""`` without stages."""
        return f"stage{self.box.stage_number}" if "" not in self.stages else ""

    def stage(self) -> Mapping[str, Any]:
        """Return the current stage's section of the config."""
        return self.stages[self.stage_name()]

    def _forget_captured(self) -> None:
        """Drop captured tensors, so that evaluation batches do not stay in memory or reach the next loss."""
        for name in ("teacher_io_dict", "student_io_dict", "model_io_dict"):
            clear_io_dict(getattr(self.box, name, {}))

    # Checkpoints

    def _save(self, line: dict[str, Any]) -> None:
        self.progress.seconds += line["seconds"]
        found = _score(line)
        score = found if found is not None else float(self.progress.epoch)  # without validation, the last is the best
        is_best = self.progress.best is None or score > self.progress.best
        if is_best:
            self.progress.best, self.progress.best_epoch = score, self.progress.epoch
        self.history.append(line)
        randoms = self.procs.gather(random_state(self.box.train_data_loader))
        memories = self.procs.gather(loss_memories(self.box))
        if not self.procs.is_main:
            return
        # Claim the folder only after the first epoch, so that a config that fails earlier can be corrected.
        self.folder.claim(self.config, self.options, environment(self.procs.device))
        if is_best:
            save_best(self.folder.path, self.student.state_dict(), score, self.progress.epoch)
        save_state(self.folder.path, collect(self, randoms, memories))
        self.folder.append_metrics(line)
        self.files.write(line, self.student.state_dict())

    def _restore(self) -> None:
        state = load_state(self.folder.path)
        best = load_best(self.folder.path)
        if best["epoch"] != state["progress"]["best_epoch"] and best["epoch"] <= state["progress"]["epoch"]:
            raise CheckpointError(
                f"{self.folder.path / BEST} is from epoch {best['epoch']}, but the best epoch of this run is "
                f"{state['progress']['best_epoch']}, so it belongs to another run; restore the right file"
            )
        restore(self, state)
        if self.procs.is_main:
            self.folder.write_metrics(self.history)

    # End

    def _finish(self) -> dict[str, Any]:
        best, last = self.tests.best_and_last(self.student, self.progress, self.history)
        teacher = self.tests.teacher(self.teacher, self.teacher_before)
        summary: dict[str, Any] = {
            "epochs": self.progress.epoch,
            "best_epoch": self.progress.best_epoch,
            "val_best": _score(self.history[(self.progress.best_epoch or 0) - 1]),
            "tested": self.tests.wanted,
            "test_best": best,
            "test_last": last,
            "teacher": teacher,
            "teacher_unchanged": None if self.frozen is None else self.frozen.is_in(self.teacher),
            "reported": self.config.reported,
            "seconds": round(self.progress.seconds, 1),
            "student_checkpoint": str(self.folder.path / BEST),
        }
        if self.procs.is_main:
            self.folder.write_json(SUMMARY, summary)
        self.terms.close()
        self.files.close()
        if summary["teacher_unchanged"] is False:
            scores = ""
            if self.teacher_before is not None and teacher is not None:
                scores = f": {accuracy(self.teacher_before)} before, {accuracy(teacher)} after"
            raise TeacherChangedError(
                f"the frozen teacher changed during training{scores}; do not trust the results in {self.folder.path}"
            )
        return summary


def _score(line: Mapping[str, Any]) -> float | None:
    return main_score(line["val"]) if "val" in line else None
