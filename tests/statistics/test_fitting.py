import errno
import shutil

import pytest
import torch
from made_up import in_blocks, random_stream

from kd_plugins.statistics import StatisticsError, artefact, cache, fit_statistics, fitting, load_statistics
from kd_plugins.statistics.cache import Cache, DiskStore, KeptFeatures
from kd_plugins.statistics.fitting import Request, Settings


class Counted:
    """A stream that counts its passes, as a teacher whose features are not in memory anyway."""

    def __init__(self, stream, *, fails_in=None, seconds=None):
        self.stream, self.shape, self.device = in_blocks(stream, 7), stream.shape, stream.device
        self.titles, self.fails_in, self.seconds = [], fails_in, seconds

    def blocks(self, title):
        self.titles.append(title)
        for number, block in enumerate(self.stream.blocks(title)):
            if title == self.fails_in and number == 1:
                raise KeyboardInterrupt
            yield block


SETTINGS = Settings(num_centres=6, subclasses=3)
META = {"teacher": "a", "seed": "0"}


def requests(stream, *kinds, settings=SETTINGS):
    return {kind: Request(stream, 4, settings) for kind in kinds or ("penultimate", "intermediate")}


def everything(path):
    found = load_statistics(path)
    tensors = {name: getattr(found.intermediate, name) for name in vars(found.intermediate)}
    return tensors | {"centres": found.penultimate.centres}


def test_a_file_of_both_kinds(tmp_path):
    path = tmp_path / "s.safetensors"
    stream = random_stream()
    fit_statistics(path, requests(stream), META)
    found = load_statistics(path)
    assert found.penultimate.centres.shape == (6, 5)
    part = found.intermediate
    assert part.projection.shape == (3, 5)  # min(60, C - 1)
    assert part.projection_bias.shape == (3,)
    assert part.subclass_centres.shape == part.prototypes.shape == (12, 3)
    assert part.subclass_counts.sum() == 360
    torch.testing.assert_close(part.score_table.sum(1), torch.ones(12))
    assert {name: found.metadata[name] for name in META} == META
    assert list(tmp_path.iterdir()) == [path]
    # Positions are taken for their own sub-class far more often than for another one.
    assert (part.score_table.diagonal() > 1.5 / 12).all()


@pytest.mark.parametrize(("mode", "passes"), [("auto", 1), ("memory", 1), ("disk", 2), ("off", 4)])
def test_what_is_kept_changes_the_number_of_passes_and_not_one_bit(tmp_path, mode, passes):
    reference = tmp_path / "reference.safetensors"
    fit_statistics(reference, requests(Counted(random_stream())), META, cache="off")
    path = tmp_path / "s.safetensors"
    stream = Counted(random_stream())
    fit_statistics(path, requests(stream, "intermediate"), META, cache=mode)
    assert len(stream.titles) == passes
    found, expected = load_statistics(path).intermediate, load_statistics(reference).intermediate
    for name in vars(found):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert {p.name for p in tmp_path.iterdir()} == {"reference.safetensors", "s.safetensors"}


def test_two_fits_are_equal_bit_for_bit_and_the_seed_matters(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit_statistics(tmp_path / name, requests(Counted(random_stream())), META, seed=seed)
    first, again, other = (everything(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["centres"], other["centres"])


@pytest.mark.parametrize(
    ("title", "left"),
    [
        ("intermediate: discriminants", 4),
        ("intermediate: sub-class centres", 3),
        ("intermediate: prototypes", 2),
        ("intermediate: score table", 1),
    ],
)
def test_an_interrupted_fit_goes_on_after_the_last_finished_part(tmp_path, title, left):
    whole, path = tmp_path / "whole", tmp_path / "s"
    fit_statistics(whole, requests(random_stream()), META)
    with pytest.raises(KeyboardInterrupt):
        fit_statistics(path, requests(Counted(random_stream(), fails_in=title)), META, cache="off")
    assert not path.exists()
    assert (tmp_path / "s.partial").exists()
    stream = Counted(random_stream())
    fit_statistics(path, requests(stream), META, cache="off")
    assert len(stream.titles) == left  # the K-means is not run again
    assert not (tmp_path / "s.partial").exists()
    expected, found = everything(whole), everything(path)
    assert all(torch.allclose(expected[name].float(), found[name].float(), atol=1e-5) for name in expected)


def test_parts_of_something_else_are_not_picked_up(tmp_path):
    path = tmp_path / "s"
    title = "intermediate: score table"
    with pytest.raises(KeyboardInterrupt):
        fit_statistics(path, requests(Counted(random_stream(), fails_in=title)), META, cache="off")
    stream = Counted(random_stream(seed=1))
    fit_statistics(path, requests(stream), {**META, "teacher": "b"}, cache="off")
    assert len(stream.titles) == 5
    (tmp_path / "t.partial").write_bytes(b"broken")
    fit_statistics(tmp_path / "t", requests(random_stream()), META)


def test_a_full_disk_at_the_end_keeps_the_parts(tmp_path, monkeypatch):
    path = tmp_path / "s"
    real = artefact.save_file

    def full(given, target, metadata):
        if "partial" not in target.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(given, target, metadata=metadata)

    monkeypatch.setattr(artefact, "save_file", full)
    with pytest.raises(StatisticsError, match=r"No space left .* \(finished parts are kept\)"):
        fit_statistics(path, requests(random_stream()), META)
    assert [p.name for p in tmp_path.iterdir()] == ["s.partial"]
    monkeypatch.setattr(artefact, "save_file", real)
    stream = Counted(random_stream())
    fit_statistics(path, requests(stream), META)
    assert stream.titles == []


def test_a_full_disk_under_the_kept_features(tmp_path, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", lambda dir: Full())
    message = r"features cannot be kept in a file in .*: .*No space left on device; make room, or .* --cache off"
    with pytest.raises(StatisticsError, match=message):
        fit_statistics(tmp_path / "s", requests(random_stream()), META, cache="disk")


def test_the_smallest_classes(tmp_path):
    """One class without a position, one with fewer than sub-classes, and one of equal positions."""
    stream = random_stream(images=12, positions=2, classes=2)
    stream.labels[0], stream.labels[1:3] = 2, 3
    stream.features[1:3] = 4.0
    path = tmp_path / "s"
    fit_statistics(path, {"intermediate": Request(stream, 5, Settings(subclasses=3))}, META)
    part = load_statistics(path).intermediate
    counts = part.subclass_counts.reshape(5, 3)
    assert counts.sum(1).tolist() == [2 * int((stream.labels == c).sum()) for c in range(5)]
    assert (counts > 0).sum(1)[2:].tolist() == [2, 1, 0]
    empty = part.subclass_counts == 0
    assert part.subclass_centres[empty].abs().sum() == part.score_table[:, empty].sum() == 0
    assert all(torch.isfinite(value.float()).all() for value in vars(part).values())


def test_labels_missing(tmp_path):
    stream = random_stream()
    stream.labels = None
    with pytest.raises(StatisticsError, match="need a class index with each image"):
        fit_statistics(tmp_path / "s", requests(stream, "intermediate"), META)
    fit_statistics(tmp_path / "s", requests(stream, "penultimate"), META)
    assert load_statistics(tmp_path / "s").intermediate is None


def test_a_budget_that_is_too_small(tmp_path):
    stream = random_stream()
    with pytest.raises(StatisticsError, match=r"sub-classes of 4 classes over 5 channels need a memory budget of at"):
        fit_statistics(tmp_path / "s", requests(stream, "intermediate"), META, budget=1000)
    with pytest.raises(StatisticsError, match=r"--cache memory: .* raise --memory-budget, or use --cache auto"):
        fit_statistics(
            tmp_path / "s", requests(random_stream(images=6000), "intermediate"), META, cache="memory", budget=400_000
        )
    with pytest.raises(ValueError, match="cache must be one of 'auto', 'memory', 'disk', 'off', found 'ram'"):
        fit_statistics(tmp_path / "s", requests(stream), META, cache="ram")


@pytest.mark.parametrize(
    ("seconds", "free", "store"),
    [(1e6, 1 << 40, DiskStore), (None, 1 << 40, DiskStore), (0.0, 1 << 40, None), (1e6, 10, None)],
)
def test_a_file_is_used_where_it_is_cheaper_than_the_teacher(tmp_path, monkeypatch, seconds, free, store):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 41, 0, free))
    source = Counted(random_stream(), seconds=seconds)
    with Cache("auto", budget=100, folder=tmp_path) as keep:
        assert keep.of_teacher(source) is source
        kept = keep.of_projection(source, source, passes=3)
        assert isinstance(getattr(kept, "store", None), store or type(None))


def test_a_first_pass_that_ends_early_is_not_taken_for_whole(tmp_path):
    source = random_stream()
    kept = KeptFeatures(in_blocks(source, 7), DiskStore(source.shape, tmp_path))
    next(iter(kept.blocks("")))
    with pytest.raises(StatisticsError, match="ended early"):
        list(kept.blocks(""))
    kept.store.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_sample_bounded_by_the_budget_still_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_SAMPLED", 20)
    fit_statistics(tmp_path / "s", requests(random_stream(images=200), "intermediate"), META)
    part = load_statistics(tmp_path / "s").intermediate
    assert part.subclass_counts.sum() == 1200
    assert (part.subclass_counts > 0).all()
