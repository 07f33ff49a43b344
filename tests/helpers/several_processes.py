"""Functions and commands in processes of their own, alone or as a group as torchrun starts it.

The processes are forked from a server that has imported everything, which is far faster than to start interpreters.
The server itself computes nothing, so it has one thread and can be forked safely.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import wait
from pathlib import Path

from torch.distributed import TCPStore

HELPERS = Path(__file__).parent
PRELOADED = ["torchvision", "torchdistill.core.distillation", "timm", "sklearn.datasets", "kd_plugins.cli"]
PRELOADED += ["kd_plugins.training.train", "torch.distributed.elastic"]
OF_A_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE")


def torchrun(*arguments, processes=2):
    """Run a command under torch's own launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {k: v for k, v in os.environ.items() if k not in OF_A_GROUP}
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )


def start(function, *arguments, environment=None, output=(os.devnull, os.devnull)):
    """Return a process in which ``function`` runs; its output is appended to the two files."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    environment = {**{k: v for k, v in os.environ.items() if k not in OF_A_GROUP}, **(environment or {})}
    process = context.Process(target=_child, args=(function, arguments, environment, tuple(map(str, output))))
    process.start()
    return process


def alone(function, *arguments):
    """Run ``function`` in a process; return its exit code and what it printed."""
    return _finished(function, arguments, [None])


def together(function, *arguments, processes=2):
    """Run ``function`` in each process of a group; return one exit code and what all printed.

    The store by which the processes find each other is here, at a port that the system picks, as in torchrun.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    ranks = map(str, range(processes))
    return _finished(function, arguments, [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ranks])


def command(*arguments):
    """Run the command line, in a process that :func:`start`, :func:`alone` or :func:`together` made."""
    from kd_plugins.cli import main

    raise SystemExit(main(list(map(str, arguments))))


def _finished(function, arguments, environments, timeout=600):
    """Run one process an environment until all end well, one fails, or the time is over."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        output = Path(folder, "stdout"), Path(folder, "stderr")
        made = []
        for environment in environments:
            process = start(function, *arguments, environment=environment, output=output)
            made.append(process)
            stack.callback(_end, process)
        code = _exit_code(made, time.monotonic() + timeout)
        for process in made:
            _end(process)
        texts = [path.read_text() if path.exists() else "" for path in output]
    if code is None:
        raise TimeoutError(f"{function.__name__} took more than {timeout} s\n{texts[0]}\n{texts[1]}")
    return subprocess.CompletedProcess([function.__name__, *arguments], code, *texts)


def _exit_code(processes, deadline):
    """Return the first exit code other than 0, or 0 at the end, or None when the time is over."""
    running = list(processes)
    while running:
        ended = wait([process.sentinel for process in running], max(0, deadline - time.monotonic()))
        if not ended:
            return None
        for process in [process for process in running if process.sentinel in ended]:
            process.join()
            if process.exitcode:
                return process.exitcode
            running.remove(process)
    return 0


def _end(process):
    with suppress(ValueError):  # closed already
        process.kill()
        process.join()
        process.close()


def _child(function, arguments, environment, output):
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in zip((1, 2), output, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    function(*arguments)
