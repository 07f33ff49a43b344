"""`kd-plugins recipe` as a person meets it."""

import json
import subprocess
import sys

import pytest

from kd_plugins.cli import main

PAIR = ("--teacher", "resnet32x4", "--student", "resnet8x4")


def run(capsys, *arguments):
    code = main(["recipe", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (
            ["recipe", "lskd", "--base", "dkd", *PAIR],
            "# ResNet-32x4 -> ResNet-8x4 on CIFAR-100 by DKD on standardized logits.\n",
        ),
        (
            ["recipe", "ce", "--student", "resnet8", "--dataset", "fashion-mnist", "--train-images", "500"],
            "# ResNet-8 on Fashion-MNIST by the labels alone.\n",
        ),
        (["list"], "losses\n  CKDLoss "),
    ],
    ids=["recipe", "data set", "list"],
)
def test_prints_without_importing_torch(tmp_path, words, start):
    script = (
        "import json, sys, kd_plugins_cli\n"
        f"sys.argv = ['kd-plugins', *{words!r}]\n"
        "assert kd_plugins_cli.main() == 0\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith(start)
    loaded = {name.split(".")[0] for name in json.loads(done.stderr)}
    assert not loaded & {"torch", "torchvision", "torchdistill", "timm", "numpy"}


def test_other_commands_register_what_they_need(tmp_path):
    script = (
        "import sys, kd_plugins_cli\n"
        "sys.argv = ['kd-plugins', 'report', 'none']\n"
        "assert kd_plugins_cli.main() == 2\n"
        "from torchdistill.losses.registry import MIDDLE_LEVEL_LOSS_DICT as table\n"
        "assert 'LSKDLoss' in table\n"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path)


def test_a_file_is_written_and_not_replaced_without_force(tmp_path, capsys):
    path = tmp_path / "new" / "config.yaml"
    assert run(capsys, "kd", *PAIR, "--out", path) == (0, f"written: {path}\n", "")
    code, printed, _ = run(capsys, "kd", *PAIR)
    assert (code, printed) == (0, path.read_text())
    code, out, err = run(capsys, "lskd", *PAIR, "--out", path)
    assert (code, out) == (2, "")
    assert f"--out {path} exists; name another file, or replace it with --force" in err
    assert path.read_text() == printed
    assert run(capsys, "lskd", *PAIR, "--out", path, "--force")[0] == 0
    assert "LSKDLoss" in path.read_text()
    assert "is a folder; name a file in it" in run(capsys, "kd", *PAIR, "--out", tmp_path)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lsdk", *PAIR), "unknown method 'lsdk'; did you mean 'lskd'"),
        (("kd", "--teacher", "resnet32x5", "--student", "resnet20"), "unknown model 'resnet32x5'; did you mean 'resn"),
        (("kd", *PAIR, "--dataset", "cifar101"), "unknown dataset 'cifar101'; did you mean 'cifar10' or 'cifar100'?"),
        (
            ("ckd+reviewkd", "--teacher", "resnet101", "--student", "resnet18", "--dataset", "objects365"),
            "unknown dataset 'objects365'; known: cifar10, cifar100, cub200, digits, fashion-mnist, imagenet, "
            "tiny-imagenet. Own images are folder:PATH, other sets torchvision:NAME; detectors have coco and "
            "canvas-digits",
        ),
        (("kd", *PAIR, "--with", "standardise"), "unknown transform 'standardise'; did you mean 'standardize'?"),
        (("kd", *PAIR, "--dataset", "folder:none"), "folder:none names no folder; the layout is ROOT/train/CLASS/"),
        (("kd", "--student", "resnet20"), "kd needs --teacher"),
    ],
)
def test_a_mistake_is_one_message(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"kd-plugins: error: {message}")
    assert err.count("\n") == 1


def test_the_command_in_the_head_prints_the_same(capsys):
    _, first, _ = run(capsys, "lskd", *PAIR, "--base", "ckd", "--dataset", "cifar10")
    command = next(line for line in first.splitlines() if line.startswith("# Command: "))
    words = command.removeprefix("# Command: kd-plugins recipe ").split()
    assert run(capsys, *words)[1] == first


def test_transforms_go_before_the_first_term(capsys):
    _, text, _ = run(capsys, "dkd+kd", *PAIR, "--with", "standardize,keep_salient=0.3")
    wrapper = "transforms: [{key: standardize}, {key: keep_salient, keep: 0.3}]"
    assert text.count(wrapper) == 1
    assert text.index("dkd:") < text.index("key: TransformedLoss") < text.index(wrapper) < text.index("        kd:")
