"""Train a config into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..config.build import quiet_torchdistill
from ..config.config import Config, read_config
from ..config.safe import safe
from ..runtime.distributed import Processes, processes
from ..runtime.environment import environment
from ..runtime.ownership import owned
from ..runtime.run_names import default_run_folder
from ..runtime.speed import compiling
from .kept.best_to import check_best_to, save_best_to
from .kept.epoch_files import EpochFiles
from .run_folder import Options, RunFolder
from .trainer import Trainer


def train(
    config_path: str | Path,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    safe_packages: Sequence[str] | None = None,
    look_at: Callable[[Config, Mapping[str, Any]], None] = lambda _config, _built: None,
    seed: int = 0,
    device: str = "auto",
    amp: str = "no",
    overrides: Sequence[str] = (),
    verbose: bool = False,
    best_to: str | Path | None = None,
    force: bool = False,
    test: bool = True,
    test_every: int = 0,
    keep_every: int = 0,
    tensorboard: bool = False,
    channels_last: bool = False,
    compile: bool = False,
) -> dict[str, Any]:
    """Train a torchdistill config; return the summary.

    Args:
        config_path: the YAML file.
        run_dir: output folder; ``runs/<config>/seed<N>`` by default.
        resume: continue from the last checkpoint in ``run_dir``; the result equals that of an uninterrupted run.
        accept_changes: resume although threads, device or versions have changed; the result may then differ.
        safe_packages: refuse a config that imports or calls anything outside torch, torchvision, timm, torchdistill,
            kd_plugins and these packages; None allows any code.
        look_at: see :class:`Trainer`; the command line passes :func:`kd_plugins.check.before_training`.
        seed: seed of all random generators.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        amp: ``"no"``, ``"bf16"`` or ``"fp16"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        verbose: print a line per epoch to stderr.
        best_to: file for the best weights, written at the end as a state dict for ``src_ckpt`` of other configs.
        force: replace that file if it exists.
        test: test student and teacher. Without, ``test_best``, ``test_last`` and ``teacher`` of the summary are None;
            a later call with ``resume`` tests the finished run.
        test_every: also test the student every so many epochs, into ``metrics.jsonl``; 0 for never. Training stays
            the same.
        keep_every: keep the student's weights every so many epochs, as ``epoch-<N>.pt``; 0 for never.
        tensorboard: also write the metrics of every epoch as TensorBoard's event file.
        channels_last: store images and convolution weights as (N, H, W, C), which is faster for CNNs on many devices.
        compile: run the forward passes of student and teacher under :func:`torch.compile`; tests and validation do not.

    Returns:
        The contents of ``summary.json``. ``val_best`` is the best validation score, or None without validation.

    Raises:
        ValueError: for any mistake in the config, the folder or the data.
    """
    if isinstance(test_every, bool) or not isinstance(test_every, int) or test_every < 0:
        raise ValueError(f"--test-every must be a whole number of at least 0 epochs, found {test_every!r}")
    config = read_config(config_path, overrides)
    if safe_packages is not None:
        config = safe(config, safe_packages)
    folder = RunFolder(run_dir if run_dir is not None else default_run_folder(config.path, seed))
    files = EpochFiles(folder.path, keep_every=keep_every, tensorboard=tensorboard)
    with processes(device) as procs, quiet_torchdistill(), ExitStack() as held:
        options = Options(seed, amp, procs.world_size, channels_last=channels_last, compile=compile)

        def begin() -> dict[str, Any] | None:
            folder.refuse_a_file()
            if best_to is not None:
                check_best_to(best_to, force=force)
            held.enter_context(owned(folder.path))
            folder.check(config, options, resume=resume, now=environment(procs.device), accept_changes=accept_changes)
            return folder.summary()

        summary = _on_main(procs, begin)
        if summary is None or (test and not summary.get("tested", True)):
            held.enter_context(compiling(False, used=compile))
            trainer = Trainer(
                config, folder, options, procs, look_at=look_at, test=test, test_every=test_every, files=files
            )
            summary = trainer.fit(verbose=verbose)
        if best_to is not None:
            _on_main(procs, lambda: save_best_to(best_to, folder.path))
        return summary


def _on_main(procs: Processes, action: Callable[[], Any]) -> Any:
    """Return the result of ``action`` on rank 0; raise its error on every rank, so that no rank waits forever."""
    found: Any = None
    if procs.is_main:
        try:
            found = action()
        except (ValueError, OSError) as error:
            found = error
    found = procs.from_main(found)
    if isinstance(found, Exception):
        raise found
    return found
