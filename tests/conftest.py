"""Settings that every test shares."""

import gc
import os

# Tests run several processes on few cores: one thread each, or they stand in each other's way. Set before torch is
# imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch


def pytest_collection_finish():
    """Keep the garbage collector from searching what is imported and collected, which stays to the end."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _one_step_to_estimate(monkeypatch):
    """Let a check time one step, not the fastest of three: no test depends on how steady its estimate is."""
    from kd_plugins.check.steps import estimate

    monkeypatch.setattr(estimate, "STEPS", 1)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory):
    """Weights of a teacher that knows its digits, so that a config on real data can be without fault."""
    import planted

    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    planted.train_teacher(path)
    return path


@pytest.fixture
def sound(teacher_file):
    """Return the text of a config without fault."""
    import planted

    return planted.sound(teacher_file)


@pytest.fixture
def pictured(monkeypatch):
    """Return the list of figures that are saved, and a function that gives all texts in them."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figures, save = [], Figure.savefig

    def kept(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures, lambda: {text.get_text() for figure in figures for text in figure.findobj(Text)}
