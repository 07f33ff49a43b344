"""`--epochs`: what keeps its share of a schedule."""

import pytest

from kd_plugins.methods._letkd import initial_scale
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.recipe import sheet_of
from kd_plugins.schedules import WarmupCosine

SMALL = {"dataset": "fashion-mnist", "train_images": 1000}


def sheet(method, epochs=12, teacher="resnet20", student="resnet8", **more):
    return sheet_of(Request(method, teacher, student, epochs=epochs, **{**SMALL, **more}))


@pytest.mark.parametrize(
    ("epochs", "milestones"),
    [(1, []), (2, [1]), (3, [2]), (12, [8, 9, 10]), (240, [150, 180, 210]), (480, [300, 360, 420])],
)
def test_milestones_keep_their_share_of_the_epochs(epochs, milestones):
    made = sheet("kd", epochs).schedule
    assert (made.epochs, made.decay_kwargs["milestones"]) == (epochs, milestones)
    assert ("Scaled to" in made.source) is (epochs != 240)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 1), (30, 2), (300, 20)])
def test_the_warm_up_of_the_learning_rate_does_too(epochs, warmup):
    made = sheet("kd", epochs, student="vit_small", teacher="resnet20").schedule
    assert made.decay_kwargs["warmup_epochs"] == warmup
    assert f"{warmup} epoch{'s' * (warmup != 1)} of warm-up" in made.decay_note
    WarmupCosine(epochs=epochs, **made.decay_kwargs)


def test_hyperparameters_that_count_epochs_do_too():
    made = sheet("dkd", 24)
    assert made.terms[0].kwargs["warmup"] == 2
    assert "warmup is 2, not 20: it keeps its share of the 240 epochs." in made.head
    assert sheet("dkd", 24, options=("warmup=7",)).terms[0].kwargs["warmup"] == 7
    assert sheet("ctkd", 48).setting.student.kwargs == {"level": "global", "loops": 2}
    assert sheet("ctkd", None).setting.student.kwargs == {"level": "global"}
    assert sheet("ctkd+dkd", 24).terms[1].kwargs["warmup"] == 2
    assert sheet("dkd", 10, dataset="digits", train_images=None).terms[0].kwargs["warmup"] == 5  # of 40 epochs


def scales(made):
    return [layer.get("score_scale") for layer in made.setting.student_model["kwargs"]["layers"]]


def test_a_short_training_of_letkd_begins_at_another_scale():
    for options in ((), ("score_scale=auto",)):
        made = sheet("letkd2", options=options)
        # log(9 * 4095) and log(9 * 79)
        assert scales(made) == [10.51, 6.57]
        assert any("score_scale is 10.51 (penultimate) and 6.57 (intermediate)" in line for line in made.head)
    assert scales(sheet("letkd2", None)) == [None, None]
    assert not any("score_scale" in line for line in sheet("letkd2", None).head)
    given = sheet("letkd1", options=("score_scale=5",))
    assert scales(given) == [5.0]
    assert not any("score_scale is" in line for line in given.head)
    request = Request("letkd1", "resnet20", "resnet8", options=("score_scale=auto",))
    assert "--option score_scale=auto" in recipe(request)


def test_a_long_one_begins_at_the_paper_s():
    made = sheet_of(Request("letkd2", "resnet56", "resnet20", options=("score_scale=auto",)))
    assert scales(made) == [3.0, 3.0]
    assert any("score_scale is the paper's 3: 187680 steps are enough to learn another." in line for line in made.head)
    # (10.51 - 3) / (0.9 / 384) = 3206 steps, of which ten times as many are wanted
    assert [initial_scale(4096, steps) for steps in (0, 32_000, 32_100)] == [3.0, 10.51, 3.0]
    assert initial_scale(2, 1) == 3.0
