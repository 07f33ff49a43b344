"""One process of a group that computes its part of ckd_loss with gathered negatives."""

import torch
import torch.distributed as dist

from kd_plugins.losses import ckd_loss
from kd_plugins.losses.ckd import TRIPLES

SPLITS = {"even": [4, 4], "uneven": [5, 3]}


def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 10, generator=generator, dtype=torch.float64)


def run(rank, folder):
    """Save, for every split and triple, this rank's loss and its logits' gradient."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    for split, sizes in SPLITS.items():
        start = sum(sizes[:rank])
        student, teacher = logits()[:, start : start + sizes[rank]]
        for triple in TRIPLES:
            own = student.clone().requires_grad_()
            loss = ckd_loss(own, teacher, temperature=0.5, triple=triple, gather=True)
            loss.backward()
            results[split, triple] = loss.detach(), own.grad
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
