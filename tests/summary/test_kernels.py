"""The back ends against each other, bit for bit, on whatever they may be given; Elephant: test_summary.py."""

import subprocess
import sys
import textwrap
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ann2neo import Summary
from ann2neo.summary.kernels import BACKENDS, choose
from ann2neo.summary.kernels.state import FIELDS, Segment, new_state

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DEVICES = {"compiled": torch.device("cpu"), "fused": DEVICE}
EXAMPLES = {"compiled": 150, "fused": 40}
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@st.composite
def blocks(draw):
    """Activations of units of every rate, thresholds, and where their first bit goes."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([1, 7, 40, 131]))
    n_bins, first = draw(st.integers(1, 150)), draw(st.integers(0, 40))
    p = torch.tensor([0.0, 1.0, 0.02, 0.3, 0.5, 0.95])[torch.randint(6, (n,), generator=rng)]
    dtype = draw(st.sampled_from(DTYPES))
    limit = (
        torch.rand(n, generator=rng).to(dtype).to(torch.float64 if dtype == torch.float64 else torch.float32)
    )
    spikes = torch.rand(n_bins, n, generator=rng) < p
    activation = torch.where(spikes, limit + 0.5, limit).to(dtype)  # at its threshold a unit is silent
    for value in draw(
        st.lists(st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0]), max_size=3)
    ):
        row, unit = draw(st.integers(0, n_bins - 1)), draw(st.integers(0, n - 1))
        activation[row, unit] = value
    n_words = (first + n_bins) // 32 + 2
    words = torch.randint(-(2**31), 2**31 - 1, (n_words, n), generator=rng).int()
    return activation, limit, words, first


@st.composite
def segments(draw, first, stop):
    """Adjacent segments of a stretch, with any window, before any first bin."""
    window = draw(st.integers(1, 70))
    phase, offset = draw(st.integers(0, window - 1)), draw(st.integers(0, 9))
    in_head, in_first_trial = draw(st.booleans()), draw(st.booleans())
    edges = sorted({first, stop, *draw(st.lists(st.integers(first, stop), max_size=3))})
    cut = []
    for a, b in pairwise(edges):
        cut.append(Segment(a, b, offset + a - first, window, phase, in_head, in_first_trial, a == first))
        in_head = in_head and phase + b - a < window
        phase = (phase + b - a) % window
    return cut


def run(name, device, block, cut, histogram):
    activation, limit, words, first = (x.clone().to(device) if torch.is_tensor(x) else x for x in block)
    backend = choose(device, name)
    assert backend.__name__.endswith(name)
    n_active, nan = backend.pack(activation, limit, words, first)
    state = new_state(words.shape[1], device)
    cells = torch.zeros(words.shape[1], 21, dtype=torch.int64, device=device) if histogram else None
    for segment in cut:
        backend.fold(words, segment, state, cells)
    results = {"n_active": n_active, "nan": nan, "words": words, "state": state}
    return {k: v.cpu() for k, v in {**results, **({"histogram": cells} if histogram else {})}.items()}


def differing(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.slow
@pytest.mark.parametrize("name", DEVICES)
def test_equal_to_the_reference(name):
    @settings(deadline=None, max_examples=EXAMPLES[name], database=None)
    @given(data=st.data())
    def compare(data):
        block = data.draw(blocks())
        cut = data.draw(segments(block[3], block[3] + len(block[0])))
        histogram = data.draw(st.booleans())
        wanted = run("portable", torch.device("cpu"), block, cut, histogram)
        found = run(name, DEVICES[name], block, cut, histogram)
        assert differing(found, wanted) == [], [
            FIELDS[i] for i in (found["state"] != wanted["state"]).any(1).nonzero()[:, 0]
        ]

    compare()


def test_the_comparison_can_fail():
    rng = torch.Generator().manual_seed(0)
    block = torch.rand(60, 5, generator=rng), torch.full((5,), 0.5), torch.zeros(3, 5, dtype=torch.int32), 4
    cut = [Segment(4, 64, 0, 7, 0, False, True, True)]
    right = run("portable", torch.device("cpu"), block, cut, True)
    for wrong in (
        [Segment(4, 63, 0, 7, 0, False, True, True)],
        [Segment(4, 64, 0, 8, 0, False, True, True)],
        [Segment(4, 64, 1, 7, 0, False, True, True)],
        [Segment(4, 64, 0, 7, 0, False, True, False)],
    ):
        assert "state" in differing(run("compiled", torch.device("cpu"), block, wrong, True), right)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_spike_is_an_activation_above_the_threshold_in_its_own_precision(name):
    """0.1 in bfloat16 is 0.10009…, above the float32 threshold 0.1; 0.1 in float32 is not above itself."""
    for dtype, spikes in ((torch.bfloat16, 1), (torch.float32, 0), (torch.float16, 0)):
        activation = torch.tensor([[0.1]], dtype=dtype, device=DEVICES.get(name, DEVICE))
        limit = torch.tensor([0.1], device=activation.device)
        words = torch.zeros(1, 1, dtype=torch.int32, device=activation.device)
        n_active, _ = choose(activation.device, name).pack(activation, limit, words, 0)
        assert n_active.item() == spikes == int(activation.float().item() > limit.item())


@pytest.mark.slow
def test_triton_kernels_compile_for_gpus():
    """Not only in the interpreter: to PTX for Hopper, which needs no GPU."""
    script = textwrap.dedent(
        """
        import os
        os.environ.pop("TRITON_INTERPRET", None)
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from ann2neo.summary.kernels import fused

        def compiled(kernel, types, constants):
            names = [n for n in kernel.arg_names]
            signature = {n: types.get(n, "constexpr" if n in constants else "i32") for n in names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]

        for dtype in ("fp32", "fp16", "bf16", "fp64"):
            limits = "*fp64" if dtype == "fp64" else "*fp32"
            types = {"activation": "*" + dtype, "threshold": limits, "words": "*i32"}
            types |= {"n_active": "*i64", "nan": "*i64"}
            assert "atom" in compiled(fused._pack, types, {"UNITS": fused.PACK_UNITS})
        for histogram in (False, True):
            types = {"words": "*i32", "state": "*i64", "histogram": "*i64"}
            ptx = compiled(fused._fold, types, {"HISTOGRAM": histogram, "UNITS": fused.FOLD_UNITS})
            assert "div.rn.f64" in ptx  # rounded as on CPUs
            assert ("atom" in ptx) == histogram
        print("compiled")
        """
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.stdout == "compiled\n", done.stderr


# -- on a real GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_layer_on_a_gpu(dtype):
    activation = torch.randn(700, 3, 61, 67, dtype=dtype, device="cuda").contiguous(
        memory_format=torch.channels_last
    )
    fast = Summary(50, isi_histogram=True, trial_bins=300).update({"conv": activation})
    slow = Summary(50, isi_histogram=True, trial_bins=300, backend="portable").update({"conv": activation})
    on_cpu = Summary(50, isi_histogram=True, trial_bins=300).update({"conv": activation.cpu()})
    for name, wanted in on_cpu._network.layers["conv"].arrays().items():
        assert torch.equal(fast._network.layers["conv"].arrays()[name].cpu(), wanted), name
        assert torch.equal(slow._network.layers["conv"].arrays()[name].cpu(), wanted), name
    assert fast.to("cpu").update({"conv": activation.cpu()}).n_bins == 1400


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_more_activations_than_32_bits_count():
    n_bins, n_units = 40, 2**26
    activation = torch.zeros(n_bins, n_units, dtype=torch.float16, device="cuda")
    activation[-1, -1], activation[-2, 5] = 1, float("nan")
    words = torch.zeros(2, n_units, dtype=torch.int32, device="cuda")
    limit = torch.zeros(n_units, device="cuda")
    n_active, nan = choose(activation.device, "fused").pack(activation, limit, words, 0)
    assert n_active.tolist() == [0] * 39 + [1]
    assert nan.tolist() == [1, 38 * n_units + 5]
    assert words[1, -1].item() == 1 << 7
