"""Every mid-level loss of torchdistill: what it is known to read is what its forward pass takes out of the io dicts."""

import pytest
import torch
from torchdistill.losses import registry

from kd_plugins.host.losses.reads import reads_of
from kd_plugins.host.losses.wrappers import SalientFeatureMask, TransformedLoss, Watched

BATCH, CLASSES, SAMPLES = 8, 6, 12
LOGITS = {"student_module_path": "logits", "teacher_module_path": "logits"}
LOGITS |= {"student_module_io": "output", "teacher_module_io": "input"}
OUTPUTS = {"student_output_path": "logits", "teacher_output_path": "logits"}
PAIR = {side: {"path": "map", "io": "output"} for side in ("student", "teacher")}
REGRESSED = {**PAIR, "student": {"path": "mean and variance", "io": "output"}}
FSP = {f"{side}_{place}": {"path": f"map {place}", "io": "output"} for side in PAIR for place in ("first", "second")}
FEATURES = {f"{side}_feature_module_path": "map" for side in PAIR} | {
    f"{side}_feature_module_io": "input" for side in PAIR
}

LOSSES = {
    "KDLoss": {**LOGITS, "temperature": 2.0, "beta": 1.0},
    "FSPLoss": {"fsp_pairs": {"one": FSP}},
    "ATLoss": {"at_pairs": {"one": PAIR}},
    "PKTLoss": LOGITS,
    "FTLoss": {"paraphraser_path": "map", "translator_path": "map"},
    "AltActTransferLoss": {"feature_pairs": {"one": PAIR}, "margin": 1.0, "reduction": "mean"},
    "RKDLoss": {**OUTPUTS, "dist_factor": 1.0, "angle_factor": 1.0, "reduction": "mean"},
    "VIDLoss": {"feature_pairs": {"one": REGRESSED}},
    "CCKDLoss": {
        **{f"{side}_linear_path": "logits" for side in PAIR},
        "kernel_config": {"type": "bilinear"},
        "reduction": "mean",
    },
    "SPKDLoss": {**OUTPUTS, "reduction": "mean"},
    "CRDLoss": {
        **{f"{side}_norm_module_path": "logits" for side in PAIR},
        "student_empty_module_path": "supplement",
        "input_size": CLASSES,
        "output_size": SAMPLES,
        "num_negative_samples": 3,
        "num_samples": SAMPLES,
    },
    "AuxSSKDLoss": {"module_path": "logits"},
    "SSKDLoss": {
        **{f"{side}_linear_module_path": "logits" for side in PAIR},
        **{f"{side}_ss_module_path": "embedding" for side in PAIR},
        **dict.fromkeys(["kl_temp", "ss_temp", "tf_temp", "ss_ratio", "tf_ratio"], 1.0),
    },
    "PADL2Loss": {**{f"{side}_embed_module_path": "logits" for side in PAIR}, "module_path": "embedding"},
    "HierarchicalContextLoss": {**LOGITS, "student_module_path": "mean and variance", "teacher_module_path": "map"},
    "RegularizationLoss": {"module_path": "map", "io_type": "input", "is_from_teacher": True},
    "KTALoss": {"knowledge_translator_path": "map", "feature_adapter_path": "map"},
    "AffinityLoss": {**LOGITS, "student_module_path": "map", "teacher_module_path": "map"},
    "ChSimLoss": {"feature_pairs": {"one": PAIR}},
    "DISTLoss": LOGITS,
    "SRDLoss": {
        **FEATURES,
        **{f"{side}_linear_module_path": "logits" for side in PAIR},
        **{f"{side}_linear_module_io": "output" for side in PAIR},
    },
    "LogitStdKDLoss": {**LOGITS, "temperature": 2.0, "beta": 1.0},
    "DISTPlusLoss": {
        **FEATURES,
        **{f"{side}_logit_module_path": "logits" for side in PAIR},
        **{f"{side}_logit_module_io": "output" for side in PAIR},
    },
    "SKDInstanceLoss": LOGITS,
    "SKDDirectionLoss": LOGITS,
}
STOCK = [key for key, kind in registry.MIDDLE_LEVEL_LOSS_DICT.items() if kind.__module__.startswith("torchdistill.")]


def build(key, **more):
    return registry.get_mid_level_loss({"key": key, "kwargs": {**LOSSES[key], **more}})


def io_dicts():
    generator = torch.Generator().manual_seed(0)

    def both(*shape):
        return Watched({io: torch.randn(*shape, generator=generator) for io in ("input", "output")})

    def side():
        shapes = {"logits": (BATCH, CLASSES), "embedding": (BATCH, CLASSES)}
        maps = dict.fromkeys(("map", "map first", "map second"), (BATCH, 3, 4, 4))
        return {path: both(*shape) for path, shape in (shapes | maps).items()}

    pair = (torch.randn(BATCH, 3, 4, 4, generator=generator), torch.ones(1, 3, 1, 1))
    indices = torch.arange(4 * BATCH).reshape(BATCH, 4) % SAMPLES
    supplement = {"pos_idx": torch.arange(BATCH), "contrast_idx": indices}
    student = side() | {"mean and variance": Watched({"output": pair}), "supplement": Watched({"input": supplement})}
    return student, side()


def labels(key):
    return torch.arange(BATCH // 4 if key == "SSKDLoss" else BATCH) % CLASSES


def taken(io_dict):
    return {(path, io) for path, entry in io_dict.items() for io in entry.asked} - {("supplement", "input")}


def test_every_loss_has_its_row():
    assert set(LOSSES) == set(STOCK)


@pytest.mark.parametrize("key", STOCK)
def test_what_is_known_is_what_is_read(key):
    student, teacher = io_dicts()
    loss = build(key)
    loss(student, teacher, labels(key))
    for side, io_dict in (("student", student), ("teacher", teacher)):
        assert {(read.path, read.io) for read in reads_of(loss, side)} == taken(io_dict)


@pytest.mark.parametrize("key", STOCK)
def test_a_mask_changes_the_teacher_or_is_refused(key):
    """Where the base reads one kind of tensor it is masked; else a path is asked for, and each one can be given."""
    base = build(key)
    found = reads_of(base, "teacher")
    if not found:
        with pytest.raises(ValueError, match=f"{key} reads nothing"):
            SalientFeatureMask(base, keep=0.3)
        return
    if len({read.what for read in found}) > 1:
        with pytest.raises(ValueError, match=rf"{key} reads several tensors of the teacher, .*\(.*\).*\(.*\); set"):
            SalientFeatureMask(base, keep=0.3)
    for path in dict.fromkeys(read.path for read in found):
        step = {"key": "keep_salient", "keep": 0.3, "teacher_module_path": path}
        wrapped = TransformedLoss(base, [step])
        if wrapped.raw_steps:
            continue  # it works on the projection, in the teacher
        plain, masked = (loss(*io_dicts(), labels(key)) for loss in (build(key), wrapped))
        assert masked != plain


@pytest.mark.parametrize("key", ["SRDLoss", "DISTPlusLoss", "SSKDLoss"])
def test_logits_and_features_are_told_apart(key):
    with pytest.raises(ValueError, match="several tensors of the student"):
        TransformedLoss(build(key), [{"key": "standardize"}])
    with pytest.raises(ValueError, match=f"'fc', which {key} does not read \\(it reads "):
        TransformedLoss(build(key), [{"key": "standardize", "side": "teacher", "teacher_module_path": "fc"}])


def test_what_reads_nothing_of_a_side_says_so():
    with pytest.raises(ValueError, match="but AuxSSKDLoss reads none of them; set side: teacher"):
        TransformedLoss(build("AuxSSKDLoss"), [{"key": "standardize"}])
    with pytest.raises(ValueError, match="the teacher's tensors, but RegularizationLoss reads none of them"):
        SalientFeatureMask(build("RegularizationLoss", is_from_teacher=False), keep=0.5)
