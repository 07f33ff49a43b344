"""Legal values that nobody means: each is found by the check, and the training says the same before it begins."""

import blobs
import pytest

from kd_plugins.check import check_config
from kd_plugins.cli import main

SGD = "optimizer: {key: SGD, kwargs: {lr: 0.05, weight_decay: 0.1}}"
KD = blobs.PARTS["TERM"]
SFKD = "{criterion: {key: SFKDLoss, kwargs: {keep: 0.5}}, weight: 1.0}"
SCHEDULE = "  criterion:\n    key: WeightedSumLoss"


def optimizer(yaml):
    return [(SGD, f"optimizer: {yaml}")]


def term(yaml):
    return [(KD, yaml)]


def scheduler(yaml, epochs):
    return [(SCHEDULE, f"  scheduler: {yaml}\n{SCHEDULE}"), ("num_epochs: 2", f"num_epochs: {epochs}")]


def masked(transforms):
    return term(
        "{criterion: {key: SoftTargetLoss, kwargs: {}}, criterion_wrapper: {key: TransformedLoss, kwargs: "
        f"{{transforms: [{transforms}]}}}}, weight: 1.0}}"
    )


VAL = "!import_call {key: blobs.Blobs, init: {kwargs: {n: 16, classes: 4, seed: 1, kind: int64}}}"
TRAIN = "!import_call {key: blobs.Blobs, init: {kwargs: {n: 32, classes: 4, kind: int64}}}"

MISTAKES = {
    "lr of another optimizer": (optimizer("{key: SGD, kwargs: {lr: 50}}"), "error", "lr is 50"),
    "lr that trains nothing": (optimizer("{key: SGD, kwargs: {lr: 1.0e-9}}"), "warning", "lr is 1e-09"),
    "SGD's lr for Adam": (optimizer("{key: Adam, kwargs: {lr: 0.5}}"), "warning", "lr is 0.5"),
    "lr of a part": (
        optimizer(
            "{key: SGD, kwargs: {lr: 0.05}, module_wise_configs: [{module: '0', kwargs: {lr: 900}}, {module: '5'}]}"
        ),
        "error",
        "lr is 900",
    ),
    "momentum above 1": (optimizer("{key: SGD, kwargs: {lr: 0.05, momentum: 1.5}}"), "error", "momentum is 1.5"),
    "weight decay that shrinks to nothing": (
        optimizer("{key: SGD, kwargs: {lr: 0.05, weight_decay: 25}}"),
        "error",
        "weight_decay is 25",
    ),
    "weight decay a hundred times too large": (
        optimizer("{key: SGD, kwargs: {lr: 0.05, weight_decay: 5}}"),
        "warning",
        "weight_decay is 5",
    ),
    "negative clipping": (
        optimizer("{key: SGD, kwargs: {lr: 0.05}, max_grad_norm: -1}"),
        "error",
        "must be above 0, found -1",
    ),
    "accumulation beyond the training": (
        optimizer("{key: SGD, kwargs: {lr: 0.05}, grad_accum_step: 1000}"),
        "error",
        "grad_accum_step is 1000",
    ),
    "accumulation beyond an epoch": (
        optimizer("{key: SGD, kwargs: {lr: 0.05}, grad_accum_step: 5}"),
        "warning",
        "grad_accum_step is 5",
    ),
    "temperature near 0": (term(KD.replace("{}", "{temperature: 0.001}")), "error", "temperature is 0.001"),
    "temperature of thousands": (term(KD.replace("{}", "{temperature: 4000}")), "error", "temperature is 4000"),
    "temperature of hundreds": (term(KD.replace("{}", "{temperature: 400}")), "warning", "temperature is 400"),
    "temperature of a transform": (masked("{key: standardize, temperature: 500}"), "warning", "temperature is 500"),
    "one entry kept": (term(SFKD.replace("0.5", "1")), "warning", "keep: 1 keeps a single entry"),
    "more entries kept than there are": (term(SFKD.replace("0.5", "64")), "error", "keep: 64 keeps all 4 classes"),
    "share in percent": (masked("{key: keep_salient, keep: 50}"), "error", "keep: 50 keeps all 4 classes"),
    "mask before the Z-score": (
        masked("{key: keep_salient, keep: 0.5}, {key: standardize}"),
        "warning",
        "standardize after keep_salient",
    ),
    "smoothing above 1": (
        [("key: CrossEntropyLoss, kwargs: {}", "key: CrossEntropyLoss, kwargs: {label_smoothing: 10}")],
        "error",
        "label_smoothing is 10",
    ),
    "weight of millions": (term(KD.replace("weight: 1.0", "weight: 1.0e+9")), "warning", "weight is 1e+09"),
    "warm-up beyond the training": (
        term("{criterion: {key: DKDLoss, kwargs: {warmup: 500}}, weight: 1.0}"),
        "warning",
        "warmup takes 500 of",
    ),
    "milestones of a shorter training": (
        scheduler("{key: MultiStepLR, kwargs: {milestones: [2, 3], gamma: 0.1}}", 100),
        "warning",
        "the last milestone",
    ),
    "milestones after the end": (
        scheduler("{key: MultiStepLR, kwargs: {milestones: [150, 180], gamma: 0.1}}", 2),
        "warning",
        "are not reached",
    ),
    "milestones in epochs, moved by batches": (
        scheduler("{key: MultiStepLR, kwargs: {milestones: [3, 6], gamma: 0.1}, scheduling_step: 1}", 8),
        "warning",
        "the last milestone",
    ),
    "a step that never comes": (scheduler("{key: StepLR, kwargs: {step_size: 100}}", 2), "warning", "step_size is 100"),
    "a rate that vanishes": (scheduler("{key: ExponentialLR, kwargs: {gamma: 0.1}}", 20), "warning", "falls to"),
    "negative gamma": (
        scheduler("{key: StepLR, kwargs: {step_size: 1, gamma: -0.1}}", 2),
        "error",
        "must be above 0, found -0.1",
    ),
    "gamma of 1": (scheduler("{key: StepLR, kwargs: {step_size: 1, gamma: 1.0}}", 2), "warning", "gamma is 1"),
    "plateau of an accuracy": (
        scheduler("{key: ReduceLROnPlateau, kwargs: {patience: 3}}", 9),
        "error",
        "mode: max",
    ),
    "eta_min above the rate": (
        scheduler("{key: CosineAnnealingLR, kwargs: {T_max: 2, eta_min: 0.5}}", 2),
        "warning",
        "eta_min 0.5 is not below",
    ),
    "restarts that never come": (
        scheduler("{key: CosineAnnealingWarmRestarts, kwargs: {T_0: 500}}", 2),
        "warning",
        "T_0 is 500",
    ),
    "stage with an underscore": (
        [("  num_epochs: 2\n", "  stage_1: {num_epochs: 1}\n  num_epochs: 2\n")],
        "error",
        "stage_1",
    ),
    "dependencies as text": ([("[kd_plugins, blobs]", "blobs")], "error", "dependencies must be a list"),
    "unknown key of test": (
        [("{test_data_loader:", "{test_dataloader: 3, test_data_loader:")],
        "error",
        "test_dataloader",
    ),
    "validation on a part of the training images": (
        [
            (f"blobs/val: {VAL}", "blobs/val: !import_call {key: blobs.part_of, init: {args: [*whole, 4]}}"),
            (TRAIN, f"&whole {TRAIN}"),
        ],
        "error",
        "4 of 4 evaluation images",
    ),
    "validation on a copy of the training images": (
        [(VAL, TRAIN.replace("n: 32", "n: 32"))],
        "error",
        "32 of 32 evaluation images",
    ),
    "student over the teacher": (
        [
            ("src_ckpt: }", "src_ckpt: teacher.pth}"),
            ("num_classes: 4}}\ntrain", "num_classes: 4}, dst_ckpt: ./teacher.pth}\ntrain"),
        ],
        "error",
        "dst_ckpt would overwrite",
    ),
    "more workers than batches": (
        [("batch_size: 8, num_workers: 0", "batch_size: 8, num_workers: 64")],
        "warning",
        "num_workers is 64",
    ),
    "standardized logits of two classes": (
        [("num_classes: 4", "num_classes: 2"), ("classes: 4", "classes: 2"), (KD, KD.replace("SoftTarget", "LSKD"))],
        "warning",
        "With two classes every sample's standardized logits are -1 and +1",
    ),
    "DKD on two classes": (
        [("num_classes: 4", "num_classes: 2"), ("classes: 4", "classes: 2"), (KD, KD.replace("SoftTarget", "DKD"))],
        "warning",
        "With two classes the beta part of DKDLoss is always 0",
    ),
    "standardize twice": (
        masked("{key: standardize, temperature: 4.0}, {key: standardize}"),
        "warning",
        "standardize is listed 2 times",
    ),
    "what the loss does itself": (
        term(
            "{criterion: {key: LSKDLoss, kwargs: {}}, criterion_wrapper: {key: LogitStandardization, kwargs: {}}, "
            "weight: 1.0}"
        ),
        "warning",
        "LSKDLoss applies standardize itself",
    ),
    "a decay of 5 per cent a step": (
        optimizer("{key: SGD, kwargs: {lr: 0.1, weight_decay: 0.5}}"),
        "warning",
        "one step subtracts 0.05 times the weights",
    ),
    "more classes than the data have": (
        [
            (
                "student_model: {key: blob_net, kwargs: {num_classes: 4",
                "student_model: {key: blob_net, kwargs: {num_classes: 9",
            )
        ],
        "warning",
        "the student has 9 classes, but the data set has 4",
    ),
    "a loss of the teacher's output": (
        [("input: {is_from_teacher: False", "input: {is_from_teacher: True")],
        "error",
        "it does not depend on the student",
    ),
    "a key at another place": (
        [(SGD, f"max_grad_norm: 5.0\n  {SGD}")],
        "warning",
        "key 'max_grad_norm' is not used here",
    ),
    "a sum among means": (
        [("{key: CrossEntropyLoss, kwargs: {}}", "{key: CrossEntropyLoss, kwargs: {reduction: sum}}")],
        "warning",
        "reduction: sum grows with the batch",
    ),
    "a class that is ignored": (
        [("{key: CrossEntropyLoss, kwargs: {}}", "{key: CrossEntropyLoss, kwargs: {ignore_index: 0}}")],
        "warning",
        "ignore_index is 0, a class of the data",
    ),
    "CKD at a scale of logits": (
        term("{criterion: {key: CKDLoss, kwargs: {temperature: 100.0}}, weight: 1.0}"),
        "warning",
        "temperature is 100",
    ),
    "fewer draws than images": (
        [("RandomSampler}}", "RandomSampler}, kwargs: {num_samples: 8}}")],
        "warning",
        "an epoch uses 8 of 32 images",
    ),
    "a part beyond the end": (
        [
            (
                VAL,
                "!import_call {key: torch.utils.data.Subset, init: {kwargs: {dataset: "
                + VAL
                + ", indices: !import_call {key: builtins.range, init: {args: [8, 20]}}}}}",
            )
        ],
        "error",
        "the subset has indices 8 to 19, the data set has 0 to 15",
    ),
    "parts frozen as they were initialised": (
        [
            (
                "student: {forward_proc: forward_batch_only",
                "student: {frozen_modules: ['0'], forward_proc: forward_batch_only",
            )
        ],
        "warning",
        "frozen_modules 0 have random weights",
    ),
    "another normalisation than the loader's": (
        [
            (
                "teacher: {forward_proc",
                "teacher: {auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {mean: [0.0, 0.0, 0.0], "
                "std: [1.0, 1.0, 1.0], student_mean: [0.5, 0.5, 0.5], student_std: [0.2, 0.2, 0.2]}}, forward_proc",
            )
        ],
        "warning",
        "must be the loader's normalisation, but the loader does not normalise",
    ),
    "workers that persist": (
        [("num_workers: 0}\n  val", "num_workers: 0, persistent_workers: True}\n  val")],
        "warning",
        "persistent_workers is ignored",
    ),
    "a rate that the schedule overwrites": (
        scheduler("{key: OneCycleLR, kwargs: {max_lr: 0.01, total_steps: 8}, scheduling_step: 1}", 2),
        "warning",
        "OneCycleLR ignores lr (0.05) and peaks at max_lr",
    ),
    "student over a folder": (
        [("student_model: {key: blob_net, ", "student_model: {key: blob_net, dst_ckpt: ., ")],
        "error",
        "is a folder",
    ),
    "a million epochs": ([("num_epochs: 2", "num_epochs: 1000000")], "warning", "num_epochs is 1000000"),
}


@pytest.fixture(params=list(MISTAKES), ids=list(MISTAKES))
def mistake(request, tmp_path):
    edits, level, message = MISTAKES[request.param]
    text = blobs.text().replace("num_epochs: 1", "num_epochs: 2")
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    return path, level, message


def test_the_check_finds_it(mistake):
    path, level, message = mistake
    found = [(f.level, f.message) for f in check_config(path).findings if f.level != "ok"]
    assert any(one == level and message in text for one, text in found), found


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_training_says_it_before_it_begins(mistake, tmp_path, capsys, caplog, monkeypatch):
    from kd_plugins.training.trainer import Trainer

    path, level, message = mistake
    monkeypatch.setattr(
        Trainer,
        "fit",
        lambda _self, **_: (
            pytest.fail("training began") if level == "error" else (_ for _ in ()).throw(ValueError("stopped here"))
        ),
    )
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err + caplog.text


def test_a_part_that_the_optimizer_lacks(tmp_path, capsys, caplog):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        blobs.text().replace(SGD, "optimizer: {key: SGD, kwargs: {lr: 0.05}, module_wise_configs: [{module: '0'}]}")
    )
    message = "4 parameters are in no parameter group of the optimizer and will not be trained: student.1.weight"
    assert any(f.level == "error" and message in f.message for f in check_config(path).findings)
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert message in caplog.text


def test_a_second_stage_has_no_schedule_left(tmp_path):
    path = blobs.write_two_stages(tmp_path, {}, {})
    text = path.read_text()
    one_cycle = "scheduler: {key: OneCycleLR, kwargs: {max_lr: 0.05, total_steps: 4}, scheduling_step: 1}"
    first, second = text.split("  stage2:\n")
    first = first.replace(SGD, f"{SGD}\n    {one_cycle}")
    path.write_text(first + "  stage2:\n" + second.replace(f"    {SGD}\n", ""))
    found = [f.message for f in check_config(path).findings if f.level == "error"]
    assert found == [
        "the OneCycleLR of an earlier stage has no steps left: give this stage an optimizer and a scheduler"
    ]


def test_a_mask_that_keeps_every_entry_of_a_feature(tmp_path):
    loss = "{key: SimilarityLoss, kwargs: {student_module_path: '1', teacher_module_path: '1'}}"
    mask = "{key: SalientFeatureMask, kwargs: {keep: COUNT}}"
    text = blobs.text().replace(KD, f"{{criterion: {loss}, criterion_wrapper: {mask}, weight: 1.0}}")
    hooks = "forward_hook: {output: ['1']}"
    text = text.replace("teacher: {", f"teacher: {{{hooks}, ").replace("student: {", f"student: {{{hooks}, ")
    for count in (511, 512):
        path = tmp_path / f"{count}.yaml"
        path.write_text(text.replace("COUNT", str(count)))
        found = [f.message for f in check_config(path).findings if f.level == "error"]
        assert (count == 511) == (found == []), found
    assert found[0].startswith("keep: 512 keeps all 512 entries")


def test_a_sound_config_has_none(tmp_path):
    text = blobs.text().replace("weight_decay: 0.1", "weight_decay: 5.0e-4, momentum: 0.9")
    path = tmp_path / "sound.yaml"
    path.write_text(text)
    found = [f.message for f in check_config(path).findings if f.level != "ok"]
    expected = ("random weights", "no better than chance")  # the teacher has no weights
    assert [message for message in found if not any(words in message for words in expected)] == []
