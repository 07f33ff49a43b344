"""Teacher and student detectors in torchdistill's box: same images, same proposals, gradients where they belong."""

import copy

import detectors
import pytest
import torch
from detectors import CKD, LEVELS, PYRAMID, captured, tiny
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from kd_plugins.host.detection.student import DetectionStudent
from kd_plugins.host.detection.teacher import DetectionTeacher
from kd_plugins.host.losses.mid_level import mid_level_loss
from kd_plugins.host.model_sections import model_from_section
from kd_plugins.losses import CKDLoss, DKDLoss, LSKDLoss, ckd_loss


def first_batch(box):
    return next(iter(box.train_data_loader))


def sampled(box):
    """Let the student sample the same proposals again."""
    torch.manual_seed(5)
    return captured(box, first_batch(box))


def test_own_weights_as_teacher_give_the_same_logits():
    student = tiny()
    box = detectors.box(student, copy.deepcopy(student).eval(), {"ckd": CKD})
    # The teacher's batch norms are in eval mode; the student's follow them here.
    student.backbone.eval()
    total, io = sampled(box)
    z, v = (io[side]["points.proposals"]["output"] for side in ("student", "teacher"))
    assert z.shape == (32, 11)
    assert torch.equal(z, v)
    assert z.requires_grad
    assert not v.requires_grad
    own = sum(io["student"]["."]["output"].values())
    assert torch.isclose(total - own, ckd_loss(v, v))


def test_two_proposals_by_hand():
    # cos 1 and 0.6, so -log(e^1 / (e^1 + e^0.6)) for (1, 0) against (1, 0), (0.6, 0.8), and the like for the second.
    z = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    io = {"points.proposals": {"output": z}}
    loss = mid_level_loss(CKDLoss)(student_module_path="points.proposals", teacher_module_path="points.proposals")
    expected = torch.log1p(torch.tensor(-0.4).exp())
    assert loss(io, io).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_teacher_gets_the_images_of_the_student():
    teacher = tiny(1)
    box = detectors.box(
        tiny(0, min_size=[48, 64, 80]), teacher, {"ckd": CKD}, images=40, transforms=detectors.tall_or_wide
    )
    seen = {"teacher": [], "student": []}
    box.teacher_model._sizes[0].register_forward_hook(lambda _m, _i, out: seen["teacher"].append(out[0]))
    box.student_model.student_model.transform.register_forward_hook(lambda _m, _i, out: seen["student"].append(out[0]))
    with torch.no_grad():
        for batch in box.train_data_loader:
            box.forward_process(*batch)
    assert len(seen["student"]) == 20
    for mine, theirs in zip(seen["student"], seen["teacher"], strict=True):
        assert mine.image_sizes == theirs.image_sizes
        torch.testing.assert_close(mine.tensors, theirs.tensors)  # both have the same normalisation here
    assert len({size for batch in seen["student"] for size in batch.image_sizes}) > 3


@pytest.mark.parametrize("min_size", [64, [48, 64]])
def test_random_numbers_are_those_without_a_teacher(min_size):
    def state(box, with_teacher):
        torch.manual_seed(3)
        batch = first_batch(box)
        torch.manual_seed(4)
        if with_teacher:
            box.forward_process(*batch)
        else:
            box.student_model.student_model(*batch[:2])
        return torch.get_rng_state()

    box = detectors.box(tiny(0, min_size=min_size), tiny(1), {"ckd": CKD})
    assert torch.equal(state(box, with_teacher=True), state(box, with_teacher=False))


def test_teacher_does_not_change():
    teacher = tiny(1)
    before = copy.deepcopy(teacher.state_dict())
    box = detectors.box(
        tiny(), teacher, {"ckd": CKD, "review": PYRAMID}, hooks=["points.proposals", *LEVELS], review={}
    )
    teacher.train()
    box.forward_process(*first_batch(box)).backward()
    assert not any(p.grad is not None for p in teacher.parameters())
    assert all(torch.equal(tensor, teacher.state_dict()[name]) for name, tensor in before.items())
    assert not teacher.training


def test_gradient_of_ckd_and_of_the_pyramid():
    box = detectors.box(
        tiny(), tiny(1), {"ckd": CKD, "review": PYRAMID}, hooks=["points.proposals", *LEVELS],
        review={"mid_channels": 8},
    )  # fmt: skip
    _, io = sampled(box)
    student = box.student_model
    terms = {name: term for name, (term, _) in box.criterion.term_dict.items()}
    terms["ckd"](io["student"], io["teacher"]).backward(retain_graph=True)
    names = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("student_model.backbone") for name in names)
    assert any("cls_score" in name for name in names)
    assert not any(part in name for name in names for part in ("rpn", "bbox_pred", "fusions"))
    terms["review"](io["student"], io["teacher"]).backward()
    names = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("fusions.0") for name in names)


def test_every_parameter_is_in_the_graph_of_the_output():
    box = detectors.box(
        tiny(), tiny(1), {"ckd": CKD, "review": PYRAMID}, hooks=["points.proposals", *LEVELS], review={}
    )
    images, targets, _ = first_batch(box)
    losses = box.student_model(images, targets)
    found, queue = set(), [sum(losses.values()).grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in found:
            continue
        found.add(node)
        queue += [parent for parent, _ in node.next_functions]
    variables = {id(node.variable) for node in found if hasattr(node, "variable")}
    assert all(id(p) in variables for p in box.student_model.parameters() if p.requires_grad)


def test_labels_are_those_of_the_detectors_own_loss(monkeypatch):
    from torchvision.models.detection import roi_heads

    given = []
    own = roi_heads.fastrcnn_loss
    monkeypatch.setattr(
        roi_heads,
        "fastrcnn_loss",
        lambda logits, boxes, labels, targets: given.append(labels) or own(logits, boxes, labels, targets),
    )
    more = {"targets_module_path": "points.proposal_labels", "alpha": 1.0, "beta": 0.25, "temperature": 1.0}
    dkd = {"key": "DKDLoss", "kwargs": {**CKD["kwargs"], **more}}
    box = detectors.box(tiny(), tiny(1), {"dkd": dkd}, hooks=["points.proposals", "points.proposal_labels"])
    total, io = captured(box, first_batch(box))
    labels = io["student"]["points.proposal_labels"]["output"]
    assert torch.equal(labels, torch.cat(given[0]))
    assert labels.max() > 0
    assert total.isfinite()


def test_nothing_is_left_on_the_student_and_copies_are_alone():
    student = tiny()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in student.modules()]
    box = detectors.box(student, tiny(1), {"ckd": CKD})
    box.forward_process(*first_batch(box))
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in student.modules()] == hooks
    assert "torch_choice" not in vars(student.transform)
    other = copy.deepcopy(box.student_model)
    assert other.link.teacher is None
    images, targets, _ = first_batch(box)
    other(images, targets)
    assert box.teacher_model._io_dict == {}


def test_evaluation_is_the_bare_detector():
    student = tiny()
    box = detectors.box(student, tiny(1), {"ckd": CKD})
    images, _, _ = first_batch(box)
    assert box.student_model.eval()(images)[0].keys() == {"boxes", "labels", "scores"}
    assert set(box.student_model.state_dict()) == set(tiny().state_dict())


def test_transforms_precede_the_loss_on_proposals():
    box = detectors.box(tiny(), tiny(1), {"ckd": CKD})
    _, io = sampled(box)
    wrapped = mid_level_loss(LSKDLoss)(**CKD["kwargs"])
    z, v = (io[side]["points.proposals"]["output"] for side in ("student", "teacher"))
    assert torch.equal(wrapped(io["student"], io["teacher"]), LSKDLoss()(z, v))


def test_a_failing_forward_leaves_no_replay():
    box = detectors.box(tiny(), tiny(1), {"ckd": CKD})
    images, targets, _ = first_batch(box)
    wrong = [{**target, "labels": target["labels"] + 20} for target in targets]
    with pytest.raises(ValueError, match=r"image 0: label .* beyond the detector's classes"):
        box.forward_process(images, wrong, {})
    assert "torch_choice" not in vars(box.student_model.student_model.transform)


def pair(student, teacher, *, hooks=("points.proposals",), review=None):
    return detectors.box(student, teacher, {"ckd": CKD}, hooks=hooks, review=review)


def test_refusals():
    with pytest.raises(ValueError, match="same classes, found num_classes 11 and 12"):
        pair(tiny(), tiny(1, num_classes=12))
    with pytest.raises(
        ValueError, match=r"teacher's channels, found \[16, .*review: \{mid_channels: 256, channels: 24\}"
    ):
        pair(tiny(), tiny(1, channels=24), hooks=LEVELS)
    pair(tiny(), tiny(1, channels=24), hooks=LEVELS, review={"channels": 24})
    with pytest.raises(ValueError, match=r"same strides, found \[4, 8, 16, 32, 64\] in the student"):
        detectors.box(tiny(), strided(), {"ckd": CKD}, hooks=LEVELS)
    other = tiny(1)
    other.roi_heads.box_roi_pool.featmap_names = ["p8", "p9"]
    with pytest.raises(ValueError, match=r"reads the levels \['p8', 'p9'\], but its backbone returns"):
        pair(tiny(), other)


def strided():
    """Return a detector whose images are halved before its backbone, so that its strides double."""
    detector = tiny(1)
    detector.backbone.body = torch.nn.Sequential(torch.nn.AvgPool2d(2), detector.backbone.body)
    return detector


def test_one_stage_detectors_have_only_a_pyramid():
    def one_stage(seed):
        torch.manual_seed(seed)
        backbone = tiny(seed).backbone
        anchors = AnchorGenerator(tuple((side,) for side in (8, 16, 32, 64, 128)), ((1.0,),) * 5)
        return RetinaNet(backbone, 11, min_size=64, max_size=64, anchor_generator=anchors)

    with pytest.raises(ValueError, match=r"the student, RetinaNet, has no roi_heads; compare the pyramids only"):
        pair(one_stage(0), one_stage(1))
    box = detectors.box(one_stage(0), one_stage(1), {"review": PYRAMID}, hooks=LEVELS)
    assert box.forward_process(*first_batch(box)).isfinite()


def test_other_wrappers_and_models_are_refused():
    with pytest.raises(ValueError, match="a transform and a backbone"):
        DetectionTeacher(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="not connected to a student: set pre_epoch_process"):
        DetectionTeacher(tiny())([torch.rand(3, 64, 64)])
    with pytest.raises(ValueError, match=r"found Linear: set train\.teacher\.auxiliary_model_wrapper"):
        DetectionStudent(tiny()).listen_to(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="review takes no keyword 'mid'"):
        DetectionStudent(tiny(), review={"mid": 4})
    with pytest.raises(ValueError, match=r"channels of review must be a whole number"):
        DetectionStudent(tiny(), review={"channels": 0})


def test_one_position_in_the_batch():
    box = detectors.box(tiny(), tiny(1), {"review": PYRAMID}, hooks=LEVELS, review={"mid_channels": 4}, batch=1)
    with pytest.raises(ValueError, match=r"points\.fpn\.4 has one position in the whole batch"):
        box.forward_process(*first_batch(box))


def test_autocast():
    box = detectors.box(
        tiny(), tiny(1), {"ckd": CKD, "review": PYRAMID}, hooks=["points.proposals", *LEVELS], review={}
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = box.forward_process(*first_batch(box))
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()


def test_only_losses_with_labels_take_their_path():
    mid_level_loss(DKDLoss, uses_targets=True)(targets_module_path="points.proposal_labels")
    with pytest.raises(ValueError, match="targets_module_path of LSKDLoss is for losses that take labels"):
        mid_level_loss(LSKDLoss)(targets_module_path="points.proposal_labels")


def test_torchvisions_own_detectors():
    # The names of its levels for the proposals include two that its backbone does not return.
    section = {"key": "fasterrcnn_mobilenet_v3_large_fpn", "kwargs": {"weights": None, "weights_backbone": None}}
    detector = model_from_section(section)
    student, teacher = DetectionStudent(detector), DetectionTeacher(copy.copy(detector))
    student.points["proposals"].register_forward_hook(lambda *_: None)
    student.listen_to(teacher)
    assert [level.stride for level in student.levels.values()] == [32, 32, 64]
