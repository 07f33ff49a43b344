import pytest
import torch
from torch import nn
from torchdistill.losses.mid_level import DISTLoss, KDLoss, LogitStdKDLoss

from kd_plugins import losses
from kd_plugins.host.losses.mid_level import mid_level_loss
from kd_plugins.host.losses.wrappers import LogitStandardization, SalientFeatureMask, TransformedLoss
from kd_plugins.transforms import keep_salient, standardize

PATHS = (".", "output", ".", "output")
LSKD = mid_level_loss(losses.LSKDLoss)
SOFT = mid_level_loss(losses.SoftTargetLoss)
MLKD = mid_level_loss(losses.MLKDLoss, sees_untransformed=True)


class Capture(nn.Module):
    """A base loss that reads all that it is given, and keeps it."""

    def __init__(self, student=".", teacher="."):
        super().__init__()
        self.student_module_path, self.teacher_module_path = student, teacher

    def forward(self, student_io_dict, teacher_io_dict, targets=None):
        self.student, self.teacher = (
            {path: dict(entry) for path, entry in io.items()} for io in (student_io_dict, teacher_io_dict)
        )
        self.targets = targets
        return student_io_dict["."]["output"].sum()


class Deaf(nn.Module):
    """A base loss that tells nothing and reads the models' outputs alone."""

    def forward(self, student_io_dict, teacher_io_dict, targets=None):
        return (student_io_dict["."]["output"] - teacher_io_dict["."]["output"]).square().mean()


@pytest.fixture
def pair():
    student = {".": {"output": torch.randn(4, 6, requires_grad=True)}, "fc": {"input": torch.randn(4, 8)}}
    return student, {".": {"output": torch.randn(4, 6)}}


def test_wrapped_kd_is_lskd(pair):
    wrapped = LogitStandardization(SOFT(temperature=2.0))
    torch.testing.assert_close(wrapped(*pair), LSKD(temperature=2.0)(*pair))


def test_wrapped_stock_kd_is_lskd_without_the_factor_it_drops(pair):
    stock = KDLoss(*PATHS, temperature=2.0, beta=1.0)
    wrapped = TransformedLoss(stock, [{"key": "standardize"}])
    # torchdistill's KDLoss leaves out temperature^2 when alpha is not set
    torch.testing.assert_close(4 * wrapped(*pair), LSKD(temperature=2.0)(*pair))


def test_composes_with_a_relational_stock_loss(pair):
    base = DISTLoss(*PATHS, beta=1.0, gamma=1.0, tau=1.0)
    wrapped = TransformedLoss(base, [{"key": "standardize", "temperature": 2.0}])
    student, teacher = (standardize(side["."]["output"], temperature=2.0) for side in pair)
    expected = base({".": {"output": student}}, {".": {"output": teacher}})
    torch.testing.assert_close(wrapped(*pair), expected)
    wrapped(*pair).backward()
    assert pair[0]["."]["output"].grad.abs().sum() > 0


def test_other_readers_see_the_untransformed_tensors(pair):
    before = {side: dict(io) for side, io in zip(("s", "t"), pair, strict=True)}
    base = Capture()
    TransformedLoss(base, [{"key": "standardize"}])(*pair, torch.tensor([0, 1, 2, 3]))
    assert pair[0]["."]["output"] is before["s"]["."]["output"]
    assert base.student["fc"]["input"] is pair[0]["fc"]["input"]
    torch.testing.assert_close(base.teacher["."]["output"], standardize(pair[1]["."]["output"]))
    assert base.targets.tolist() == [0, 1, 2, 3]


def test_order_is_the_order_of_application_and_one_side_is_possible(pair):
    base = Capture()
    steps = [
        {"key": "standardize", "side": "teacher", "temperature": 2.0},
        {"key": "standardize", "side": "teacher", "temperature": 4.0},
    ]
    TransformedLoss(base, steps)(*pair)
    assert base.student["."]["output"] is pair[0]["."]["output"]
    # the last one decides the spread: standardizing a Z-score only divides by the new temperature
    torch.testing.assert_close(base.teacher["."]["output"], standardize(pair[1]["."]["output"], temperature=4.0))


def test_features_are_brought_to_maps_at_a_path():
    base = Capture(teacher="blocks.1")
    tokens = torch.randn(2, 1 + 4, 3)
    student = {".": {"output": torch.randn(2, 3)}}
    step = {
        "key": "to_feature_map", "side": "teacher", "layout": "NLC", "prefix_tokens": 1,
    }  # fmt: skip
    TransformedLoss(base, [step])(student, {"blocks.1": {"output": tokens}})
    found = base.teacher["blocks.1"]["output"]
    assert found.shape == (2, 3, 2, 2)
    assert found[1, 2, 1, 0] == tokens[1, 1 + 2, 2]


def test_every_pair_that_the_base_reads_is_transformed():
    hint = mid_level_loss(losses.HintLoss, wants="features")
    paths = {"student_module_path": ["a", "b", "b"], "teacher_module_path": ["c", "c", "d"]}
    student, teacher = (
        {path: {"output": torch.randn(2, 3, 4, 4)} for path in names} for names in (("a", "b"), ("c", "d"))
    )
    masked = {path: {"output": keep_salient(io["output"], keep=0.3)} for path, io in teacher.items()}
    assert torch.equal(SalientFeatureMask(hint(**paths), keep=0.3)(student, teacher), hint(**paths)(student, masked))
    step = {"key": "keep_salient", "keep": 0.3, "teacher_module_path": "d"}
    only_d = TransformedLoss(hint(**paths), [step])(student, teacher)
    assert torch.equal(only_d, hint(**paths)(student, {**teacher, "d": masked["d"]}))
    with pytest.raises(ValueError, match=r"does not read \(it reads 'c', 'd'\)"):
        TransformedLoss(hint(**paths), [{**step, "teacher_module_path": "e"}])


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"key": "standardise"}], r"unknown transform 'standardise'; did you mean 'standardize'"),
        (
            [{"key": "standardize", "temprature": 2.0}],
            r"transform standardize takes no keyword 'temprature'.*'temperature'",
        ),
        ([{"key": "standardize", "side": "left"}], r"side of transform standardize must be one of"),
        ([{"key": "to_feature_map"}], r"transform to_feature_map needs layout"),
        ([{"temperature": 2.0}], r"must be a mapping with a key"),
        ([], r"must be a non-empty list such as \[\{key: standardize\}\]"),
        ({"key": "standardize"}, r"must be a non-empty list"),
        (
            [{"key": "standardize", "student_module_path": "fc"}],
            r"would change the student's 'fc', which .* does not read",
        ),
        ([{"key": "keep_salient"}], r"transform keep_salient needs keep"),
        ([{"key": "keep_salient", "keep": 0}], r"keep must be a fraction above 0 and at most 1.0, .* found 0"),
        ([{"key": "keep_salient", "keep": 0.5, "by": "size"}], r"by must be one of 'value', 'magnitude', found 'size'"),
        *(
            (
                [{"key": "keep_salient", "keep": 0.5, "side": side}],
                rf"keep_salient must have side: teacher, found side: {side}; the mask is computed from the",
            )
            for side in ("student", "both")
        ),
        (
            [{"key": "keep_salient", "keep": 0.5, "fill": "-inf"}],
            r"LSKDLoss does not support fill: -inf.*SoftTargetLoss.*KDLoss, DISTLoss",
        ),
        (
            [{"key": "standardize", "teacher_module_io": "inputs"}],
            r"teacher_module_io of transform standardize must be",
        ),
    ],
)
def test_mistakes_in_transforms(transforms, message):
    with pytest.raises(ValueError, match=message):
        TransformedLoss(LSKD(), transforms)


@pytest.mark.parametrize(
    "base",
    [
        KDLoss(*PATHS, temperature=4.0, alpha=0.5),
        LogitStdKDLoss(*PATHS, temperature=4.0, alpha=0.5),
    ],
)
def test_a_base_with_its_own_cross_entropy_is_refused(base):
    with pytest.raises(ValueError, match=r"also apply standardize to the logits of the cross-entropy .*alpha=0.5"):
        LogitStandardization(base)


def test_masked_classes_must_be_the_last_word_on_their_tensor():
    steps = [{"key": "keep_salient", "keep": 0.5, "fill": "-inf"}, {"key": "standardize"}]
    with pytest.raises(ValueError, match=r"standardize cannot follow keep_salient with fill: -inf.*the end of transf"):
        TransformedLoss(SOFT(), steps)
    TransformedLoss(SOFT(), [{**steps[0]}, {"key": "standardize", "side": "student"}])
    TransformedLoss(SOFT(), steps[::-1])


@pytest.mark.parametrize("fill", ["zero", "-inf"])
def test_masked_kd_is_sfkd(pair, fill):
    wrapped = SalientFeatureMask(SOFT(temperature=3.0), keep=0.5, fill=fill)
    logits = [side["."]["output"] for side in pair]
    assert wrapped(*pair) == losses.sfkd_loss(*logits, keep=0.5, temperature=3.0, fill=fill)


def test_keeping_all_is_the_base_bit_for_bit(pair):
    for base in (SOFT(), LSKD(), DISTLoss(*PATHS)):
        assert SalientFeatureMask(base, keep=1.0)(*pair) == base(*pair)


def test_features_are_masked_at_the_path_that_the_base_reads():
    base = Capture("layer", "blocks")
    features = torch.randn(2, 3, 4, 4)
    io = {"layer": {"output": features}, ".": {"output": torch.zeros(2, 3)}}
    SalientFeatureMask(base, keep=0.25)(io, {"blocks": {"output": features}})
    assert torch.equal(base.teacher["blocks"]["output"], keep_salient(features, keep=12))
    assert base.student["layer"]["output"] is features


def test_a_base_that_does_not_tell_what_it_reads_needs_a_path(pair):
    with pytest.raises(ValueError, match=r"cannot find out which tensors Deaf reads.*set student_module_path beside"):
        TransformedLoss(Deaf(), [{"key": "standardize"}])
    places = {"student_module_path": ".", "teacher_module_path": "."}
    wrapped = TransformedLoss(Deaf(), [{"key": "standardize", **places}])
    expected = (standardize(pair[0]["."]["output"]) - standardize(pair[1]["."]["output"])).square().mean()
    for _ in range(2):
        torch.testing.assert_close(wrapped(*pair), expected)


@pytest.mark.parametrize(("path", "io"), [("fc", "input"), ("fc", "output"), (".", "input")])
def test_a_transform_of_what_the_base_does_not_read_is_an_error(pair, path, io):
    student = {name: {io: torch.randn(4, 6), **entry} for name, entry in pair[0].items()}
    step = {"key": "standardize", "side": "student", "student_module_path": path, "student_module_io": io}
    wrapped = TransformedLoss(Deaf(), [step])
    for _ in range(2):
        with pytest.raises(
            ValueError, match=f"standardize has no effect, because Deaf did not read the student's .*{io}"
        ):
            wrapped(student, pair[1])


def test_lakd_takes_no_transform():
    with pytest.raises(ValueError, match="cannot find out which tensors LAKDLoss reads"):
        SalientFeatureMask(mid_level_loss(losses.LAKDLoss, wants="student_tensors")(), keep=0.5)


def test_wrappers_over_each_other_find_what_the_innermost_reads(pair):
    base = KDLoss(*PATHS, temperature=2.0, beta=1.0)
    both = LogitStandardization(SalientFeatureMask(base, keep=0.5))(*pair)
    student, teacher = (standardize(io["."]["output"]) for io in pair)
    assert both == base({".": {"output": student}}, {".": {"output": keep_salient(teacher, keep=0.5)}})
    with pytest.raises(ValueError, match="to the logits of the cross-entropy in KDLoss"):
        LogitStandardization(SalientFeatureMask(KDLoss(*PATHS, temperature=2.0, alpha=0.5), keep=0.5))


def test_transforms_reach_the_divergences_of_mlkd_alone(pair):
    wrapped = LogitStandardization(MLKD(variant="authors"), correction=1)
    standardized = MLKD(variant="authors", standardize=True, correction=1)
    torch.testing.assert_close(wrapped(*pair), standardized(*pair))


def test_a_base_with_a_cross_entropy_and_no_weight_for_it_is_refused():
    base = Capture()
    base.cross_entropy_loss = nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match="to the logits of the cross-entropy in Capture"):
        LogitStandardization(base)


def test_a_loss_against_labels_is_refused():
    with pytest.raises(ValueError, match=r"found CrossEntropyLoss; transformed logits must not reach"):
        LogitStandardization(nn.CrossEntropyLoss())


def test_gradient_reaches_the_student_and_not_the_teacher(pair):
    pair[1]["."]["output"].requires_grad_()
    LogitStandardization(SOFT(temperature=2.0))(*pair).backward()
    assert pair[0]["."]["output"].grad.abs().sum() > 0
    assert pair[1]["."]["output"].grad is None
