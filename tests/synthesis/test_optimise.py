import copy

import numpy as np
import pytest
import synthesis_digits
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, Normalize, ToTensor

from kd_plugins.models.fingerprint import fingerprint
from kd_plugins.synthesis.optimise import Pixels, _moved, evaluated, optimise, term_weights
from kd_plugins.synthesis.options import Options, parse_options

LABELS = torch.arange(20) % 10
PIXELS = Pixels(synthesis_digits.MEAN, synthesis_digits.STD, grey=False)


def made(teacher, seed=0, student=None, pixels=PIXELS, labels=LABELS, **changed):
    options = Options(**{"steps": 5, "jitter": 0, "flip": False, **changed})
    return optimise(teacher, labels, synthesis_digits.SIZE, pixels, options, seed=seed, student=student)


@pytest.fixture(scope="module")
def images(trained):
    return made(trained, steps=100, ce=3)


def test_the_teacher_recognises_the_images(trained, images):
    noise = made(trained, steps=0)
    assert images.agreement > 0.95
    assert noise.agreement < 0.5
    assert images.terms["ce"] < 0.5 * noise.terms["ce"]
    assert images.terms["bn"] < 0.5 * noise.terms["bn"]


def test_images_labels_and_logits(trained, images):
    assert images.images.shape == (20, 8, 8, 3)
    assert images.images.dtype == torch.uint8
    assert torch.equal(images.labels, LABELS)
    assert images.logits.shape == (20, 10)
    assert set(images.terms) == {"loss", "ce", "bn", "tv"}


def test_logits_are_those_of_the_saved_images(trained, images):
    transform = Compose([ToTensor(), Normalize(synthesis_digits.MEAN, synthesis_digits.STD)])
    batch = torch.stack([transform(Image.fromarray(image)) for image in images.images.numpy()])
    assert torch.equal(batch, PIXELS.from_bytes(images.images))
    with torch.no_grad():
        torch.testing.assert_close(trained(batch), images.logits)


def test_saving_costs_at_most_half_a_grey_value():
    values = PIXELS.clipped_(torch.randn(2, 3, 8, 8))
    again = PIXELS.from_bytes(PIXELS.as_bytes(values))
    assert ((again - values) * PIXELS.std).abs().max() <= 0.5 / 255 + 1e-6


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(trained):
    one, again, other = made(trained), made(trained), made(trained, seed=1)
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.logits, again.logits)
    assert not torch.equal(one.images, other.images)


def test_the_global_generator_is_not_used(trained):
    before = torch.get_rng_state()
    made(trained, flip=True)
    assert torch.equal(before, torch.get_rng_state())


def test_noise_fills_the_range_of_pixels(trained):
    pixels = made(trained, steps=0, labels=torch.zeros(200, dtype=torch.long)).images.double() / 255
    inside = torch.distributions.Normal(0.3, 0.35)
    assert (pixels == 0).double().mean().item() == pytest.approx(inside.cdf(torch.tensor(0.0)).item(), abs=0.02)
    assert pixels.median().item() == pytest.approx(0.3, abs=0.02)


class Fails(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if torch.is_grad_enabled():
            raise RuntimeError("stop")
        return self.model(x)


@pytest.mark.parametrize("fails", [False, True])
def test_the_teacher_is_left_as_it_was(trained, fails):
    teacher = copy.deepcopy(trained).train()
    teacher.layer1.eval()
    modes = [part.training for part in teacher.modules()]
    before = fingerprint(teacher)
    model = Fails(teacher) if fails else teacher
    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            made(model)
    else:
        made(model)
    assert fingerprint(teacher) == before
    assert [part.training for part in teacher.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in teacher.parameters())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in teacher.modules())


def test_without_the_batch_norm_term_other_images_come_out(trained):
    assert not torch.equal(made(trained, bn=0).images, made(trained).images)
    assert "bn" not in made(trained, bn=0).terms


def test_a_model_without_batch_norms_gives_deep_dream_images():
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    assert made(teacher, bn=0, steps=40).agreement > 0.9
    with pytest.raises(ValueError, match="bn=0 for DeepDream images"):
        made(teacher)


def test_grey_images_have_equal_channels(trained):
    grey = Pixels([0.2, 0.3, 0.4], [0.3, 0.35, 0.4], grey=True)
    images = made(trained, pixels=grey, grey=True).images
    assert (images[..., :1] == images).all()
    values = torch.zeros(1, 1, 2, 2)
    # A grey value of 0.3 in each channel's own normalisation.
    torch.testing.assert_close(grey.input_of(values)[0, :, 0, 0], torch.tensor([0.1 / 0.3, 0.0, -0.1 / 0.4]))


def test_one_channel_becomes_three():
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert made(teacher, pixels=Pixels([0.3], [0.35], grey=False), bn=0).images.shape == (20, 8, 8, 3)


def test_images_are_mirrored_only_with_flip_and_shifted_only_with_jitter():
    one_sided = torch.zeros(2, 3, 8, 8)
    one_sided[..., 5] = 1
    generator = torch.Generator().manual_seed(0)
    still = Options(jitter=0, flip=False)
    assert all(torch.equal(_moved(one_sided, still, generator), one_sided) for _ in range(20))
    columns = [_moved(one_sided, Options(jitter=0, flip=True), generator)[0, 0, 0].argmax().item() for _ in range(20)]
    assert set(columns) == {5, 2}
    columns = [_moved(one_sided, Options(jitter=2, flip=False), generator)[0, 0, 0].argmax().item() for _ in range(60)]
    assert set(columns) == {3, 4, 5, 6, 7}


def test_the_lowest_loss_is_kept(trained):
    """With a learning rate that makes every step worse, the images stay the noise that they were."""
    start = made(trained, steps=0)
    values = PIXELS.from_bytes(start.images)
    worse = made(trained, steps=1, lr=50.0, tv=1.0, jitter=0)
    assert (PIXELS.from_bytes(worse.images) - values).abs().max() < 1e-6


def test_a_fixed_student_competes(trained):
    calls = []

    def student(images):
        calls.append(images.shape)
        return images.flatten(1)[:, :10]

    found = made(trained, competition=10.0, student=student)
    assert 1 - np.log(2) - 1e-6 <= found.terms["competition"] <= 1
    assert len(calls) == 6
    with pytest.raises(ValueError, match="--student FILE"):
        made(trained, competition=10.0)


def test_the_variation_of_a_small_batch_counts_as_in_one_of_256():
    weights = [term_weights(Options(tv=0.1, l2=0.2), batch) for batch in (256, 64)]
    assert weights[0] == {"ce": 1, "bn": 1, "tv": 0.1, "l2": 0.2}
    assert weights[1] == {"ce": 1, "bn": 1, "tv": 0.2, "l2": 0.4}


def test_refuses_an_output_that_is_no_logits():
    class Maps(nn.Module):
        def forward(self, x):
            return {"logits": x.flatten(1)}

    with pytest.raises(ValueError, match=r"must return logits .* found a dict with 'logits'"):
        made(Maps(), bn=0)


def test_restores_modes_and_gradients(trained):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[0].bias.requires_grad_(False)
    with evaluated(model):
        assert not any(part.training for part in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    assert model[0].weight.requires_grad
    assert not model[0].bias.requires_grad
    assert model[1].training


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["bn"], "--option must be KEY=VALUE such as bn=10, found 'bn'"),
        (["nb=1"], "--option takes no keyword 'nb'; did you mean 'bn'"),
        (["bn=1", "bn=2"], "bn is given twice"),
        (["bn=-1"], "bn must be a finite number of at least 0"),
        (["bn=much"], "bn must be a finite number of at least 0, found 'much'"),
        (["lr=0"], "lr must be a finite number above 0"),
        (["jitter=1.5"], "jitter must be a whole number of at least 0"),
        (["flip=1"], "flip must be True or False, found 1"),
        (["grey=maybe"], "grey must be True or False, found 'maybe'"),
        (["betas=0.9"], "betas must be two numbers"),
        (["betas=[0.9, 1.0]"], "betas must be below 1"),
        (["steps=-1"], "steps must be a whole number of at least 0"),
        (["ce=0", "bn=0", "tv=0"], "are all 0: set one of them"),
    ],
)
def test_refuses_options(texts, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("(", r"\(")):
        parse_options(texts)
