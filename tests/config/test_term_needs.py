import pytest
import stock_configs

from kd_plugins._errors import ConfigError
from kd_plugins.config.build import build_config
from kd_plugins.config.config import read_config

WRAPPER = "    auxiliary_model_wrapper: {key: "


def student_wrapper(base):
    lines = stock_configs.BASES[base]["sides"].splitlines(keepends=True)
    return [line for line in lines if line.startswith(WRAPPER)][-1]


@pytest.mark.parametrize(
    ("base", "edit", "message"),
    [
        (
            "vid",
            [(student_wrapper("vid"), "")],
            r"VIDLoss, pair 'stage1', reads the student's 'regressors.stage1' output, which only a model wrapper "
            r"provides; found no wrapper. Add student.auxiliary_model_wrapper: \{key: VIDStudent, .*channels: 256",
        ),
        (
            "vid",
            [("VIDStudent", "RegressorStudent")],
            r"only a model wrapper provides; found RegressorStudent. Add student.a",
        ),
        (
            "vid",
            [(", regressors.stage3]", "]")],
            r"VIDLoss, pair 'stage3', reads the student's 'regressors.stage3' output, which is not hooked; hooked: "
            r"regressors.stage1, regressors.stage2. Add it to student.forward_hook.output: \[regressors.stage3\]",
        ),
        (
            "at",
            [("[layer1, layer2, layer3]", "[layer2, layer3]")],
            r"ATLoss, pair 'stage1', reads the teacher's 'layer1",
        ),
        (
            "rkd_stock",
            [("output: [avgpool]", "input: [avgpool]")],
            r"'avgpool' output, which is not hooked; hooked: not",
        ),
        (
            "reviewkd",
            [(student_wrapper("reviewkd"), "")],
            r"HierarchicalContextLoss reads the student's 'regressors.stage1' output.*Add student.*key: ReviewStudent",
        ),
        (
            "cckd",
            [(student_wrapper("cckd"), "")],
            r"CCKDLoss reads the student's 'regressors.pooled' .*: ProjectedStud",
        ),
        (
            "crd",
            [(f"{WRAPPER}ProjectedTeacher, kwargs: {{points: [pooled]}}}}\n", "")],
            r"CRDLoss reads the teacher's 'projections.pooled' output, .* teacher.auxiliary_model_wrapper: \{key: Proj",
        ),
        (
            "cc",
            [(student_wrapper("cc"), "")],
            r"CorrelationLoss needs student.auxiliary_model_wrapper: \{key: Projected",
        ),
        (
            "crd",
            [(", input: [supplement]", "")],
            r"CRDLoss reads indices .* student.forward_hook: \{input: \[sup",
        ),
        (
            "crd",
            [("forward_batch_supp_dict", "forward_batch_only")],
            r"needs student.forward_proc: forward_batch_supp_di",
        ),
        (
            "crd",
            [("    dataset_wrapper", "    # ")],
            r"indices of negative samples: add train_data_loader.dataset_wrapper: ",
        ),
        (
            "crd",
            [("num_negative_samples: 40, mode", "num_negative_samples: 41, mode")],
            r"must be the same, found 40 and 41",
        ),
        ("crd", [("dim: 16", "dim: 17")], r"input_size of CRDLoss must be dim of ProjectedStudent \(17\), found 16"),
        (
            "crd",
            [("output_size: 360", "output_size: 36")],
            r"output_size of CRDLoss must be the number of .* \(360\), found",
        ),
        (
            "crd",
            [("dataset_id: *train", "dataset_id: digits/test")],
            r"CRDDatasetWrapper needs a data set with classes and targets, .* found Subset; use the whole data set",
        ),
    ],
)
def test_a_term_without_its_other_half(tmp_path, base, edit, message):
    with pytest.raises(ConfigError, match=message):
        build_config(read_config(stock_configs.write(tmp_path, base, edit=edit)))


def test_a_wrapper_of_somebody_else_is_trusted(tmp_path):
    from torchdistill.models import registry
    from torchdistill.models.wrapper import VariationalDistributor4VID

    own = type("OwnVID", (VariationalDistributor4VID,), {"__module__": "own"})
    registry.AUXILIARY_MODEL_WRAPPER_DICT["OwnVID"] = own
    try:
        kwargs = "{key: OwnVID, kwargs: {regressors: {}}}"
        line = (student_wrapper("vid"), f"    auxiliary_model_wrapper: {kwargs}\n")
        build_config(read_config(stock_configs.write(tmp_path, "vid", edit=[line])))
    finally:
        del registry.AUXILIARY_MODEL_WRAPPER_DICT["OwnVID"]


def test_checking_a_config_draws_no_random_numbers(tmp_path):
    import torch

    config = read_config(stock_configs.write(tmp_path, "crd", keep=0.5))
    state = torch.get_rng_state()
    build_config(config)
    assert torch.equal(torch.get_rng_state(), state)
