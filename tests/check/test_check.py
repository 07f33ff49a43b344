"""What a check says as a whole: of a sound config, of several mistakes, of stages; its exit codes and its JSON."""

import json

import planted
import pytest
import small_configs
import timm
import torch
from planted import swap

from kd_plugins.check import check_config
from kd_plugins.cli import main
from kd_plugins.models import CIFAR_MODELS

OK, FAULTS, CANNOT = 0, 1, 2


@pytest.fixture
def config(tmp_path):
    """Return a function that writes a config."""

    def write(text):
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return path

    return write


def wrong(report):
    return [(f.level, f.place, f.message) for f in report.findings if f.level != "ok"]


def random_teacher(folder):
    path = folder / "random.pt"
    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict(), path)
    return path


def test_a_sound_config_has_no_error_and_no_warning(config, sound):
    report = check_config(config(sound))
    assert wrong(report) == []
    assert not report.failed
    right = [f.message for f in report.findings]
    assert right == [
        "all names and keywords are known",
        "batch 16 x 3 x 32 x 32, 10 classes, labels fit",
        "the teacher is frozen and in eval mode",
        "29 parameters of the student have a gradient and are in the optimizer",
    ]
    (stage,) = report.stages
    assert [(term.name, term.weight, term.place) for term in stage.terms] == [
        ("ce", 0.5, "logits"),
        ("lskd", 0.9, "logits"),
    ]
    # d CE / d logits is (softmax - onehot) / B, whose norm is at most sqrt(2 B) / B.
    assert 0 < stage.terms[0].gradient < 0.5 * 2**0.5 / 4
    assert stage.remarks == []
    assert stage.estimate.images == stage.estimate.batch == 16
    assert stage.estimate.peak > 0
    assert stage.estimate.epoch_seconds > 0


PAPER = ("weight: 0.5", "weight: 0.1", "weight: 0.9", "weight: 9")
SUM = "        dkd: {criterion: {key: DKDLoss, kwargs: {}}, weight: 1.0}\n"


@pytest.mark.parametrize(
    ("pairs", "remarked", "warned"),
    [
        (PAPER, ["lskd"], []),
        ((*PAPER, "lskd:", "mine:"), ["mine"], []),
        (("weight: 0.9", "weight: 9"), [], ["lskd"]),  # the paper's cross-entropy has weight 0.1
        (("weight: 0.5", "weight: 1.0", "weight: 0.9}\n", f"weight: 9}}\n{SUM}"), ["lskd"], []),  # as in a sum
        (("weight: 0.5", "weight: 0.1", "LSKDLoss", "SoftTargetLoss"), ["lskd"], []),
        (("LSKDLoss, kwargs: {temperature: 2.0}", "DKDLoss, kwargs: {warmup: 1000}"), [], []),
    ],
)
def test_the_papers_weight_is_remarked_on_and_another_is_warned_of(config, sound, pairs, remarked, warned):
    (stage,) = (report := check_config(config(swap(*pairs)(sound)))).stages
    assert [remark.split(":")[0] for remark in stage.remarks] == [f"term {name}" for name in remarked]
    heavy = [place for _, place, message in wrong(report) if "times the gradient of the other terms" in message]
    assert heavy == [f"{planted.TERMS}.{name}.weight" for name in warned]
    for remark in stage.remarks:
        assert "both would be equal. This is the paper's weight (the recipe's" in remark
        assert remark in report.text().split("\n\n")
        assert remark in json.loads(report.json())["stages"][0]["remarks"]


KD_LAYERS = (
    "  student_model: {{key: letkd_student, kwargs: {{student: {{key: {}, kwargs: {{num_classes: 10}}}}, "
    "layers: {}}}}}\n"
)


@pytest.mark.parametrize(
    ("student", "intermediate"),
    [
        ("cifar_resnet8", "{name: intermediate, point: stage2, num_scores: 20}"),
        ("cifar_resnet14", "{point: intermediate, num_scores: 20}"),
        ("cifar_resnet14", "{name: intermediate, point: stage2, num_scores: 20}"),
        ("cifar_wrn_16_1", "{point: intermediate, num_scores: 20}"),
    ],
)
def test_kd_layers_at_different_places_are_no_fault(config, sound, student, intermediate):
    layers = f"[{{point: penultimate, num_scores: 8}}, {intermediate}]"
    assert wrong(check_config(config(swap(planted.STUDENT, KD_LAYERS.format(student, layers))(sound)))) == []


def test_a_single_kd_layer_behind_the_last_map_is_no_fault(config, sound):
    layers = "[{point: penultimate, num_scores: 8}]"
    assert wrong(check_config(config(swap(planted.STUDENT, KD_LAYERS.format("cifar_resnet8", layers))(sound)))) == []


def test_blocks_that_begin_as_the_identity_are_no_single_tensor(config, sound):
    """timm's residual blocks begin with a scale of zero, so the maps of two blocks are equal."""
    layers = "[{point: penultimate, num_scores: 8}, {point: intermediate, num_scores: 20}]"
    student = KD_LAYERS.format("timm_model", layers).replace("num_classes: 10", "model_name: resnet18, num_classes: 10")
    assert wrong(check_config(config(swap(planted.STUDENT, student)(sound)))) == []


def test_the_check_leaves_random_numbers_of_the_losses_and_files_alone(config, sound, tmp_path):
    path = config(sound)
    check_config(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_several_mistakes_are_found_at_once(config, sound):
    names = swap(
        "temperature: 2.0", "temprature: 2.0", "key: SGD", "key: SDG", "cifar_resnet8,", "cifar_resnet9,",
        "num_epochs: 2", "num_epochs: 0", "dataset_id: *test", "dataset_id: *train",
        "src_ckpt: ", "src_ckpt: no/",
    )  # fmt: skip
    report = check_config(config(names(sound)))
    assert {(level, place) for level, place, _ in wrong(report)} == {
        ("error", "models.teacher_model.key"),
        ("error", "models.teacher_model.src_ckpt"),
        ("error", "train.num_epochs"),
        ("error", "train.optimizer.key"),
        ("error", "train.criterion.kwargs.sub_terms.lskd.criterion.kwargs.temprature"),
        ("error", "train.val_data_loader.dataset_id"),
        ("warning", "train.scheduler.kwargs.T_max"),
    }


def test_what_does_not_stop_a_step_is_found_beside_what_the_step_shows(config, sound):
    change = swap("lr: 0.05", "lr: 0", ", requires_grad: False", "", "weight: 0.9", "weight: 900000")
    report = check_config(config(change(sound)))
    assert [(level, place) for level, place, _ in wrong(report)] == [
        ("error", "train.optimizer.kwargs.lr"),
        ("error", "train.teacher"),
        ("warning", "train.criterion.kwargs.sub_terms.lskd.weight"),
    ]


def test_a_teacher_that_guesses(config, tmp_path):
    report = check_config(config(planted.sound(random_teacher(tmp_path))))
    assert [(level, place) for level, place, _ in wrong(report)] == [("warning", "train.teacher")]
    assert "of 16 training images, no better than chance: check its weights, normalisation" in wrong(report)[0][2]
    assert check_config(config(planted.sound(random_teacher(tmp_path))), fake_data=True).findings[-1].level == "ok"


LOADER = {"student_mean": [0, 0, 0], "student_std": [1, 1, 1]}


@pytest.mark.parametrize(
    ("mean", "wrapper", "around", "remarked"),
    [
        ([0.0, 0.0, 0.0], "", None, False),
        ([0.5, 0.5, 0.5], "", None, True),
        (
            [0.5, 0.5, 0.5],
            f", auxiliary_model_wrapper: {{key: FrozenTeacher, kwargs: {json.dumps(LOADER)}}}",
            None,
            False,
        ),
        ([0.5, 0.5, 0.5], ", auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {points: [last_map]}}", None, True),
        ([0.5, 0.5, 0.5], "", LOADER, False),
        ([0.5, 0.5, 0.5], "", {"input_size": 32}, True),
    ],
)
def test_pretrained_weights_expect_a_normalisation(config, tmp_path, mean, wrapper, around, remarked):
    shape = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 10}
    weights = tmp_path / "vit.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", **shape).state_dict(), weights)
    overlay = {"file": str(weights), "mean": mean, "std": [1.0, 1.0, 1.0], "num_classes": 10, "custom_load": False}
    kwargs = {"model_name": "vit_tiny_patch16_224", **shape, "pretrained": True, "pretrained_cfg_overlay": overlay}
    section = {"key": "timm_model", "kwargs": kwargs}
    if around is not None:
        section = {"key": "frozen_teacher", "kwargs": {"model": section, **around}}
    teacher = f"  teacher_model: {json.dumps(section)}\n"
    text = planted.sound(tmp_path, TEACHER_MODEL=teacher).replace(
        "requires_grad: False}", f"requires_grad: False{wrapper}}}"
    )
    report = check_config(config(text))
    found = [message for _, place, message in wrong(report) if "pretrained weights expect" in message]
    assert len(found) == remarked, report.text()
    assert not report.failed, report.text()
    if remarked:
        assert "expect mean [0.5, 0.5, 0.5] and std [1.0, 1.0, 1.0], but the loader does not normalise" in found[0]
        assert "student_mean: [0.0, 0.0, 0.0], student_std: [1.0, 1.0, 1.0]}}" in found[0]


def test_exit_codes(config, sound, capsys):
    path = config(sound)
    assert main(["check", str(path), "--device", "cpu"]) == OK
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert main(["check", str(path), "--device", "cpu", "--set", "train.scheduler.kwargs.T_max=3"]) == OK
    assert "0 errors, 1 warning\n" in capsys.readouterr().out
    assert main(["check", str(path), "--device", "cpu", "--set", "train.optimizer.kwargs.lr=0"]) == FAULTS
    assert f"{path}: 1 error, 0 warnings" in capsys.readouterr().out
    assert main(["check", str(config("datasets: [")), "--device", "cpu"]) == FAULTS
    assert "error    line 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal.yaml"], "smal.yaml does not exist; did you mean"),
        (["small.yaml", "--images", "1"], "images must be a finite number of at least 2, found 1"),
        (["small.yaml", "--set", "train.optimzer.kwargs.lr=1"], "did you mean 'optimizer'"),
        (["small.yaml", "--device", "gpu"], None),
    ],
)
def test_wrong_arguments_are_refused(config, sound, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(config(sound).parent)
    if message is None:
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments])
        assert ended.value.code == CANNOT
        return
    assert main(["check", *arguments, "--device", "cpu"][: len(arguments) + 3]) == CANNOT
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_the_json_is_the_table(config, sound, tmp_path, capsys):
    path = config(swap("lr: 0.05", "lr: 0", "weight: 0.9", "weight: -0.9")(sound))
    target = tmp_path / "found.json"
    assert main(["check", str(path), "--device", "cpu", "--json", str(target)]) == FAULTS
    table = capsys.readouterr().out
    whole = json.loads(target.read_text())
    assert whole["config"] == str(path)
    for finding in whole["findings"]:
        line = "" if finding["line"] is None else f"line {finding['line']}"
        place = f"{finding['place']}: " if finding["place"] else ""
        assert f"{finding['level']:<7}  {line:<8} {place}{finding['message']}\n" in table
    rows = [line for line in table.splitlines() if line[:5] in ("error", "warni", "ok   ")]
    assert len(rows) == len(whole["findings"])
    assert [row.split()[0] for row in rows] == sorted(
        (row.split()[0] for row in rows), key=["error", "warning", "ok"].index
    )
    (stage,) = whole["stages"]
    for term in stage["terms"]:
        cells = [term["name"], *(f"{term[key]:.3g}" for key in ("weight", "value", "gradient")), term["place"]]
        assert any(all(cell in row for cell in cells) for row in table.splitlines() if row.startswith("|"))
    assert stage["estimate"]["batch"] == 16


def test_lines_are_those_of_the_file_where_an_override_is_wrong(config, sound):
    report = check_config(config(sound), overrides=["train.criterion.kwargs.sub_terms.lskd.weight=0"])
    (finding,) = [f for f in report.findings if f.level != "ok"]
    assert "weight: 0.9" in sound.splitlines()[finding.line - 1]


def test_fewer_images(config, sound):
    report = check_config(config(sound), images=4)
    assert report.stages[0].estimate.images == 4
    assert report.stages[0].estimate.batch == 16
    assert any(f.message.startswith("batch 4 x 3 x 32 x 32") for f in report.findings)


def staged(teacher_file):
    head, rest = planted.sound(teacher_file).split("train:\n  num_epochs: 2\n")
    body, test = rest.split("test:\n  test")
    first = "".join(f"  {line}\n" for line in body.rstrip().splitlines())
    second = first.replace("&val\n", "\n").replace("lskd:", "later:")
    return (
        f"{head}train:\n  stage1:\n    num_epochs: 2\n{first}  stage2:\n    num_epochs: 2\n{second}test:\n  test{test}"
    )


def test_every_stage_is_run(config, teacher_file):
    text = staged(teacher_file)
    report = check_config(config(text))
    assert wrong(report) == []
    assert [(stage.name, [term.name for term in stage.terms]) for stage in report.stages] == [
        ("stage1", ["ce", "lskd"]),
        ("stage2", ["ce", "later"]),
    ]
    assert "\n\nstage2:\n\n| term" in report.text()
    change = "later: {criterion: {key: LSKDLoss, kwargs: {temperature: 2.0}}, weight: 0.9"
    report = check_config(config(text.replace(change, change.replace("0.9", "900000"))))
    assert [place for _, place, _ in wrong(report)] == ["train.stage2.criterion.kwargs.sub_terms.later.weight"]


def test_a_later_stage_keeps_what_it_does_not_name(config, teacher_file):
    text = staged(teacher_file)
    head, second = text.split("  stage2:\n")
    loaders = second[second.index("    train_data_loader") : second.index("    teacher:")]
    report = check_config(config(f"{head}  stage2:\n{second.replace(loaders, '')}"))
    assert wrong(report) == []
    assert len(report.stages) == 2


def test_a_config_without_a_teacher(config, tmp_path):
    text = planted.sound(tmp_path, **small_configs.without_teacher(CE_TERM=small_configs.CROSS_ENTROPY))
    report = check_config(config(text))
    assert wrong(report) == []
    report = check_config(config(swap("num_classes: 10}}", "num_classes: 12}}")(text)))
    assert [place for _, place, _ in wrong(report)] == ["models.student_model"]


def test_frozen_modules_are_no_fault(config, sound):
    student = "student: {forward_proc: forward_batch_only}"
    report = check_config(config(sound.replace(student, student[:-1] + ", frozen_modules: [layer1]}")))
    assert [place for _, place, _ in wrong(report)] == ["train.student.frozen_modules"]  # at random weights
    assert any("are in the optimizer, 6 are frozen" in f.message for f in report.findings)


def test_a_teacher_that_needs_no_process(config, sound):
    change = swap("  pre_epoch_process: kd_pre_epoch\n", "", "{num_classes: 10}", "{num_classes: 10, frozen: True}")
    assert wrong(check_config(config(change(sound)))) == []


def test_where_an_error_comes_from_can_be_seen(config, sound, monkeypatch):
    monkeypatch.setenv("KD_PLUGINS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="paths are"):
        check_config(config(planted.hinted("output: [layer3]", "output: [layer4]")(sound)))
