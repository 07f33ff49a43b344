"""A small config on folders of images, a folder a class."""

import numpy as np
import small_configs
from PIL import Image

DATA = """\
dependencies: [kd_plugins]
datasets:
  &train own/train: !import_call
    key: torchvision.datasets.ImageFolder
    init: {kwargs: {root: ROOT/train, transform: &tensor !import_call {key: torchvision.transforms.ToTensor}}}
  &test own/val: !import_call
    key: torchvision.datasets.ImageFolder
    init: {kwargs: {root: ROOT/val, transform: *tensor}}
"""


def save_class(folder, images=4):
    """Write a few images of noise into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(f"{folder.parent.name}/{folder.name}".encode()))
    for number in range(images):
        Image.fromarray(random.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(folder / f"{number}.png")


def write(root, *, train="abc", val="abc", epochs=1):
    """Write images of some classes and a config that trains on them without a teacher; return its path."""
    for split, names in (("train", train), ("val", val)):
        for name in names:
            save_class(root / split / name)
    text = small_configs.text(**small_configs.without_teacher(EPOCHS=epochs, BATCH=4))
    models = text[text.index("models:") :].replace("num_classes: 10", "num_classes: 3")
    path = root / "own.yaml"
    path.write_text(DATA.replace("ROOT", str(root)) + models)
    return path


def cut_short(path):
    """Write a JPEG file that ends too soon."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
