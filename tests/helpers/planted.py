"""A config without fault, and changes that plant one mistake in it."""

import re

import small_configs
import torch

from kd_plugins.data import Digits
from kd_plugins.models import CIFAR_MODELS

SAMPLES = 48
STUDENT = "  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}\n"
TEACHER_KEY = "{key: cifar_resnet8, kwargs: {num_classes: 10}"
HINT = (
    "        hint:\n          criterion: {key: HintLoss, kwargs: {student_module_path: layer3, "
    "teacher_module_path: layer3}}\n          weight: 1.0\n"
)
HOOKED = (
    "  teacher: {forward_proc: forward_batch_only, requires_grad: False, forward_hook: {output: [layer3]}}\n"
    "  student: {forward_proc: forward_batch_only, forward_hook: {output: [layer3]}}\n"
)
CUT = """\
  teacher: {forward_proc: forward_batch_only, requires_grad: False}
  student:
    forward_proc: forward_batch_only
    auxiliary_model_wrapper:
      key: LAKDStudent
      kwargs:
        backward: joint
        cuts: shifted
        teacher: stage_ends
    forward_hook: {output: [local_losses, class_maps.student, class_maps.teacher]}
"""
LAKD = "        lakd: {criterion: {key: LAKDLoss, kwargs: {alpha: 0.5}}, weight: 1.0}\n"
LSKD = small_configs.PARTS["KD_TERM"]
TERMS = "train.criterion.kwargs.sub_terms"


def sound(teacher_file, **parts):
    """Return the text; it needs the teacher's weights in a file."""
    teacher = f"  teacher_model: {{key: cifar_resnet8, kwargs: {{num_classes: 10}}, src_ckpt: {teacher_file}}}\n"
    schedule = "  scheduler: {key: CosineAnnealingLR, kwargs: {T_max: 2}}\n"
    labels = small_configs.CROSS_ENTROPY.replace("weight: 0.1", "weight: 0.5")  # in balance with the other terms
    own = {"TEACHER_MODEL": teacher, "SAMPLES": SAMPLES, "SCHEDULER": schedule, "CE_TERM": labels}
    text = small_configs.text(**{**own, **parts})
    return re.sub(r"  student_model: .*\n", STUDENT, text)


def swap(*pairs):
    """Return a change that replaces pieces of the text, each standing there at least once, the first time it does."""

    def change(text):
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new, 1)
        return text

    return change


def term(yaml):
    """Return a change that puts another term in the place of the distillation term."""
    return swap(LSKD, yaml)


def hinted(*pairs, sides=HOOKED):
    """Return a change to a feature loss between both layer3, with further changes."""
    return lambda text: swap(LSKD, HINT, small_configs.PARTS["SIDES"], sides, *pairs)(text)


def cut(*pairs):
    """Return a change to a student that is cut into modules, with further changes."""
    return lambda text: swap(LSKD, LAKD, small_configs.PARTS["SIDES"], CUT, *pairs)(text)


def train_teacher(path):
    """Write weights of a teacher that is right on most of the small config's training images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        digits = Digits(train=True)
        images = torch.as_tensor(digits.data[:SAMPLES]).permute(0, 3, 1, 2) / 255
        labels = torch.tensor(digits.targets[:SAMPLES])
        teacher = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
        optimizer = torch.optim.SGD(teacher.parameters(), lr=0.1, momentum=0.9)
        for _ in range(25):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(teacher(images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            for _ in range(25):
                teacher(images)  # for the running statistics
        assert (teacher.eval()(images).argmax(1) == labels).float().mean() > 0.9
    torch.save(teacher.state_dict(), path)
