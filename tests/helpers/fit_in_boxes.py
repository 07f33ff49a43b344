"""A box in each process, whose statistics rank 0 fits for longer than the group's time-out."""

import json
import time
from datetime import timedelta

import letkd_boxes
import torch.distributed as dist

from kd_plugins.statistics import job

TIMEOUT = 2


def main(folder):
    fit_statistics, fits = job.fit_statistics, []

    def slow(*args, **kwargs):
        time.sleep(TIMEOUT + 0.5)
        fits.append(str(args[0]))
        fit_statistics(*args, **kwargs)

    job.fit_statistics = slow
    dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
    rank = dist.get_rank()
    box = letkd_boxes.box(letkd_boxes.teacher(), distributed=True)
    box.pre_epoch_process(epoch=0)
    centres = box.criterion.term_dict["penultimate"][0].loss.loss.centres

    job.fit_statistics = fit_statistics
    wrong = letkd_boxes.box(
        letkd_boxes.teacher(), distributed=True, terms={"wrong": {**letkd_boxes.PENULTIMATE, "num_centres": 9999}}
    )
    error = ""
    try:
        wrong.pre_epoch_process(epoch=0)
    except ValueError as found:
        error = str(found)
    result = {
        "fits": fits, "sources": letkd_boxes.sources(box), "sum": centres.double().sum().item(), "error": error,
        "loss": letkd_boxes.step(box),
    }  # fmt: skip
    (folder / f"rank{rank}.json").write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
