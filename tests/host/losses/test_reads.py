import pytest
import torch
from torchdistill.losses import mid_level

from kd_plugins.host.losses.reads import Read, reads
from kd_plugins.host.losses.wrappers import SalientFeatureMask, TransformedLoss
from kd_plugins.transforms import keep_salient

PLACES = ("s", "output", "t", "input")


CRD = mid_level.CRDLoss("s", "e", "t", input_size=4, output_size=5, num_negative_samples=3, num_samples=5)


def pairs(*paths):
    return {
        f"pair{n}": {"teacher": {"path": path, "io": "output"}, "student": {"path": f"s{n}", "io": "output"}}
        for n, path in enumerate(paths)
    }


@pytest.mark.parametrize(
    ("loss", "teacher"),
    [
        (mid_level.KDLoss(*PLACES, temperature=4.0, beta=1.0), [Read("t", "input")]),
        (mid_level.PKTLoss(*PLACES), [Read("t", "input")]),
        (mid_level.HierarchicalContextLoss(*PLACES), [Read("t", "input")]),
        (mid_level.RKDLoss("s", "t", 25.0, 50.0, "mean"), [Read("t", "output")]),
        (mid_level.CCKDLoss("s", "t", {"type": "bilinear"}, reduction="mean"), [Read("t", "output", projected=True)]),
        (
            CRD,
            [Read("t", "output", projected=True)],
        ),
        (mid_level.RKDLoss("s", "projections.a", 1.0, 1.0, "mean"), [Read("projections.a", "output", projected=True)]),
        (mid_level.ATLoss(pairs("a", "b")), [Read("a", "output", "pair0"), Read("b", "output", "pair1")]),
        (mid_level.VIDLoss(pairs("a")), [Read("a", "output", "pair0")]),
        (torch.nn.Identity(), None),
    ],
)
def test_what_a_loss_reads(loss, teacher):
    assert reads(vars(loss), "teacher") == teacher


def test_every_pair_is_masked_once():
    maps = {path: torch.randn(2, 3, 4, 4) for path in ("a", "b")}
    student = {f"s{n}": {"output": torch.randn(2, 5, 4, 4)} for n in range(3)}
    base = mid_level.ATLoss(pairs("a", "b", "a"))
    masked = SalientFeatureMask(base, keep=0.3)(student, {path: {"output": x} for path, x in maps.items()})
    by_hand = {path: {"output": keep_salient(x, keep=0.3)} for path, x in maps.items()}
    assert masked == base(student, by_hand)


def test_one_pair_alone_can_be_masked():
    step = {"key": "keep_salient", "keep": 0.3}
    base = mid_level.ATLoss(pairs("a", "b"))
    (only,) = TransformedLoss(base, [{**step, "teacher_module_path": "b"}]).steps
    assert (only.side, only.module_path, only.io) == ("teacher", "b", "output")
    with pytest.raises(ValueError, match=r"would change the teacher's 'c', which ATLoss does not read .* 'a', 'b'"):
        TransformedLoss(base, [{**step, "teacher_module_path": "c"}])
