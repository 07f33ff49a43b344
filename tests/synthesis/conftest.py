import pytest
import synthesis_digits
import torch


@pytest.fixture(scope="session")
def trained():
    return synthesis_digits.trained_teacher()


@pytest.fixture(scope="session")
def config(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthesis")
    torch.save(trained.state_dict(), folder / "teacher.pt")
    path = folder / "kd.yaml"
    path.write_text(synthesis_digits.config_text(folder / "teacher.pt"))
    return path
