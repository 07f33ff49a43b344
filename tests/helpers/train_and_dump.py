"""Run one training as a process of a group and keep this process's weights and adapters."""

import torch

from kd_plugins.runtime.checkpoint import tensors_beside
from kd_plugins.runtime.distributed import unwrapped
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer


def main(config, folder):
    finish = Trainer._finish

    def dump_and_finish(self):
        torch.save(self.student.state_dict(), f"{folder}/rank{self.procs.rank}.pt")
        beside = tensors_beside(unwrapped(getattr(self.box, self.side)), self.student)
        torch.save(beside, f"{folder}/beside{self.procs.rank}.pt")
        return finish(self)

    Trainer._finish = dump_and_finish
    train(config, run_dir=f"{folder}/run", device="cpu")
