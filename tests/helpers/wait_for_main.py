"""Rank 0 works longer than the group's time-out, then fails; every rank writes what it saw."""

import json
import time
from datetime import timedelta

from kd_plugins.host.letkd.patience import main_first
from kd_plugins.runtime.distributed import processes

TIMEOUT = 2


def fail():
    raise ValueError("no such thing")


def main(folder):
    def work():
        time.sleep(TIMEOUT + 0.5)
        (folder / "file").write_text("done")

    with processes("cpu", timeout=timedelta(seconds=TIMEOUT)) as procs:
        started = time.monotonic()
        main_first(work)
        waited = time.monotonic() - started
        seen, error = (folder / "file").read_text(), ""
        try:
            main_first(fail)
        except ValueError as found:
            error = str(found)
        result = {"seen": seen, "waited": waited, "timeout": TIMEOUT, "error": error}
        (folder / f"rank{procs.rank}.json").write_text(json.dumps(result))
