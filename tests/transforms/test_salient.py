import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.bench.memory import peak_bytes
from kd_plugins.transforms import keep_salient, salient_mask
from kd_plugins.transforms.salient import _BLOCK, _LONGEST_COUNT, kept_entries


def loop_reference(x, count, *, by="value"):
    """The first `count` entries of every sample in the order of size, ties in the order of the tensor."""
    mask = torch.zeros_like(x, dtype=torch.bool).flatten(1)
    for row, entries in zip(mask, x.flatten(1).tolist(), strict=True):
        size = abs if by == "magnitude" else float
        for i in sorted(range(len(entries)), key=lambda i: -size(entries[i]))[:count]:
            row[i] = True
    return mask.view_as(x)


def test_hand_computed_mask():
    # Of 4, -6, 4, 1 the three largest are 4, 4, 1; in magnitude -6 comes first, and of the two 4s the first is kept.
    x = torch.tensor([[4.0, -6.0, 4.0, 1.0]])
    assert salient_mask(x, keep=3).tolist() == [[True, False, True, True]]
    assert salient_mask(x, keep=2, by="magnitude").tolist() == [[True, True, False, False]]
    assert keep_salient(x, keep=3).tolist() == [[4.0, 0.0, 4.0, 1.0]]


@settings(deadline=None, max_examples=60)
@given(
    shape=st.sampled_from([(1, 1), (3, 7), (2, 3, 4, 4)]),
    keep=st.one_of(st.integers(1, 60), st.floats(0.01, 1.0)),
    levels=st.integers(1, 20),
    by=st.sampled_from(["value", "magnitude"]),
    seed=st.integers(0, 99),
)
def test_keeps_exactly_the_first_k_in_the_order_of_size(shape, keep, levels, by, seed):
    x = torch.randint(-levels, levels + 1, shape, generator=torch.Generator().manual_seed(seed)).double()
    count = kept_entries(keep, x[0].numel())
    mask = salient_mask(x, keep=keep, by=by)
    assert mask.flatten(1).sum(1).tolist() == [count] * len(x)
    assert torch.equal(mask, loop_reference(x, count, by=by))


@pytest.mark.parametrize("entries", [_LONGEST_COUNT - 1, _LONGEST_COUNT, _LONGEST_COUNT + 1, 129 * _BLOCK])
@pytest.mark.parametrize("kind", ["ties", "constant", "distinct"])
def test_long_rows(entries, kind):
    x = {
        "ties": torch.randint(0, 4, (3, entries)).float(),
        "constant": torch.zeros(3, entries),
        "distinct": torch.randn(3, entries),
    }[kind]
    order = x.sort(dim=1, descending=True, stable=True).indices
    for count in (1, _BLOCK, entries // 3, entries - 1):
        expected = torch.zeros_like(x, dtype=torch.bool).scatter_(1, order[:, :count], True)
        assert torch.equal(salient_mask(x, keep=count), expected)


def test_compiled_code_selects_otherwise_and_the_same():
    torch.compiler.reset()
    for x, by in ((torch.randint(-5, 5, (4, 3, 5, 5)).float(), "magnitude"), (torch.randn(2, 40_000), "value")):
        compiled = torch.compile(lambda x: salient_mask(x, keep=0.3, by=by), fullgraph=True, backend="aot_eager")  # noqa: B023
        assert torch.equal(compiled(x), salient_mask(x, keep=0.3, by=by))


@pytest.mark.parametrize("keep", [1.0, 6, 99])
@pytest.mark.parametrize("fill", ["zero", "-inf"])
def test_keeping_all_is_the_tensor_itself(keep, fill):
    x = torch.randn(2, 6)
    assert keep_salient(x, keep=keep, fill=fill) is x
    assert salient_mask(x, keep=keep).all()


def test_fraction_and_count_differ_at_one():
    x = torch.tensor([[1.0, 2.0]])
    assert salient_mask(x, keep=1).tolist() == [[False, True]]
    assert salient_mask(x, keep=1.0).tolist() == [[True, True]]
    assert kept_entries(0.001, 10) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_type_and_layout_are_kept(dtype):
    x = torch.randn(2, 4, 3, 3).to(dtype)
    kept = keep_salient(x, keep=0.25)
    assert kept.dtype == dtype
    assert torch.equal(keep_salient(x.contiguous(memory_format=torch.channels_last), keep=0.25), kept)
    assert torch.equal(kept.double(), x.double() * loop_reference(x.double(), 9))


@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_takes_no_more_memory_than_the_mask_and_the_result(by, memory_format):
    x = torch.randn(64, 64, 32, 32).contiguous(memory_format=memory_format)
    mask, copy_of_x = x.numel(), 4 * x.numel()
    assert peak_bytes(lambda: keep_salient(x, keep=0.5, by=by), given=(x,)) <= mask + copy_of_x
    assert torch.equal(salient_mask(x, keep=0.5, by=by)[5:6], salient_mask(x[5:6], keep=0.5, by=by))


def test_minus_infinity_leaves_the_kept_entries_as_they_are():
    x = torch.randn(3, 9)
    kept = keep_salient(x, keep=4, fill="-inf")
    mask = salient_mask(x, keep=4)
    assert torch.equal(kept[mask], x[mask])
    assert torch.equal(kept[~mask], torch.full((15,), -torch.inf))


def test_the_input_is_left_alone():
    x = torch.randn(2, 5)
    before = copy.deepcopy(x)
    for fill in ("zero", "-inf"):
        keep_salient(x, keep=2, fill=fill)
        keep_salient(x, keep=2, by="magnitude", fill=fill)
    assert torch.equal(x, before)


def test_gradcheck():
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: keep_salient(x, keep=0.4, by="magnitude"), x)


def test_a_nan_is_kept_so_that_it_is_seen():
    x = torch.tensor([[1.0, torch.nan, 0.0, -1.0], [torch.nan] * 4])
    mask = salient_mask(x, keep=2)
    assert mask.tolist() == [[True, True, False, False], [True] * 4]
    assert keep_salient(x, keep=2).isnan().sum() == 5


def entropy(logits):
    log_p = torch.log_softmax(logits, dim=1)
    return -torch.nan_to_num(log_p.exp() * log_p).sum(1)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 30), scale=st.floats(0.01, 20), data=st.data())
def test_masking_with_minus_infinity_concentrates_the_distribution(seed, classes, scale, data):
    """Proposition 1: KL to the uniform distribution, log C - H, does not fall."""
    logits = scale * torch.randn(1, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    keep = data.draw(st.integers(1, classes))
    assert entropy(keep_salient(logits, keep=keep, fill="-inf")) <= entropy(logits) + 1e-12


def test_masking_with_zero_can_spread_the_distribution():
    """The counter-example of the documentation: a zero outranks what is kept."""
    logits = torch.tensor([[-1.0, -3.0, -4.0]])
    kept = keep_salient(logits, keep=1)
    # softmax(-1, -3, -4) = (e^3, e, 1) / (e^3 + e + 1); softmax(-1, 0, 0) = (1, e, e) / (1 + 2 e)
    assert torch.softmax(logits, 1)[0, 0].item() == pytest.approx(20.0855 / 23.8038, rel=1e-4)
    assert torch.softmax(kept, 1)[0, 0].item() == pytest.approx(1 / 6.43656, rel=1e-4)
    assert entropy(kept) > entropy(logits)


@pytest.mark.parametrize("keep", [0, 0.0, -1, -0.5, 1.5, True, float("nan"), "0.5", None])
def test_refuses_another_share(keep):
    with pytest.raises(ValueError, match=r"keep must be a fraction above 0 and at most 1.0, or a number of entries"):
        keep_salient(torch.zeros(2, 3), keep=keep)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.zeros(3), {}, r"per sample of a tensor \(B, ...\), found shape \(3,\)"),
        (torch.zeros(0, 3), {}, r"found shape \(0, 3\)"),
        (torch.zeros(2, 3).long(), {}, "from floating-point numbers, found torch.int64"),
        (torch.zeros(2, 3), {"by": "size"}, "by must be one of 'value', 'magnitude', found 'size'"),
        (torch.zeros(2, 3), {"fill": "mean"}, "fill must be one of 'zero', '-inf', found 'mean'"),
        (torch.zeros(2, 3, 1, 1), {"fill": "-inf"}, r"for logits of shape \(B, C\), found shape \(2, 3, 1, 1\)"),
    ],
)
def test_refuses(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        keep_salient(x, keep=0.5, **arguments)


def test_another_device_than_the_cpu_needs_no_numpy():
    x = torch.empty(2, 6, device="meta")  # a tensor without entries: nothing can bring it to the CPU
    assert salient_mask(x, keep=3).shape == (2, 6)
