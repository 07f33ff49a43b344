"""What the images are for: a student that has seen no digit recognises some."""

import synthesis_digits
import torch
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from kd_plugins.data import Digits
from kd_plugins.losses import soft_target_loss
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.synthesis.optimise import Pixels, optimise
from kd_plugins.synthesis.options import Options

PIXELS = Pixels(synthesis_digits.MEAN, synthesis_digits.STD, grey=True)
LABELS = torch.arange(100) % 10


def accuracy_of_a_student(batch):
    torch.manual_seed(0)
    images, student = PIXELS.from_bytes(batch.images), CIFAR_MODELS["cifar_resnet8"](num_classes=10)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    for step in range(60):
        chosen = torch.randperm(len(images))[:50]
        optimizer.zero_grad()
        soft_target_loss(student(images[chosen]), batch.logits[chosen], temperature=4.0).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 60)
    transform = Compose([Resize(8), ToTensor(), Normalize(synthesis_digits.MEAN, synthesis_digits.STD)])
    digits = Digits(train=False, transform=transform)
    test = torch.stack([digits[i][0] for i in range(len(digits))])
    with torch.no_grad():
        return 100 * (student.eval()(test).argmax(1) == torch.tensor(digits.targets)).double().mean().item()


def test_synthetic_images_teach_far_more_than_noise(trained):
    options = Options(ce=3, lr=0.1, jitter=0, flip=False, grey=True)
    found = {}
    for name, steps in (("deepinversion", 60), ("noise", 0)):
        made = Options(**{**vars(options), "steps": steps})
        found[name] = accuracy_of_a_student(optimise(trained, LABELS, synthesis_digits.SIZE, PIXELS, made, seed=0))
    assert found["deepinversion"] > found["noise"] + 20, found
