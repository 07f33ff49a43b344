import subprocess
import sys

import pytest

from kd_plugins.runtime import freed_memory

# 24 tensors of 8 MiB are held and freed again, over and over; the last rounds count their page faults. By itself glibc
# keeps at most 64 MiB, unless something else lies behind what is freed: five rounds had 245,605 faults in one run.
PROGRAM = """
import resource, torch
from kd_plugins.runtime.freed_memory import keep_freed_memory
kept = keep_freed_memory()
def step():
    held = [torch.ones(1 << 21) for _ in range(24)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_step_gets_the_pages_of_the_last_one():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={})
    kept, faults = done.stdout.split()
    assert kept == str(sys.platform.startswith("linux"))
    if kept == "True":
        assert int(faults) < 5 * 24 * 2048 / 20  # pages of 4 KiB


@pytest.mark.parametrize("name", freed_memory.ENVIRONMENT)
def test_the_choice_of_the_user_stays(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert freed_memory.keep_freed_memory() is False


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    assert freed_memory.keep_freed_memory() is False
