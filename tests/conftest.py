"""Settings that every test shares."""

import os

# Tests run several processes on few cores: one thread each, or they stand in each other's way. Set before torch is
# imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
