"""The cache of prepared samples: decoded once, never stale, never half full."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from ganatomy import cache
from ganatomy.cache import cache_folder, content_hash, prepare
from ganatomy.decoding import Decoded
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing, ScanError
from ganatomy.tables import TableError

SMALL = Preprocessing(size=(8, 8))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANATOMY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path):
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{n}.png" for n in range(4)]
    for file in files:
        Image.fromarray(draw.integers(0, 255, (12, 12), dtype=np.uint8)).save(file)
    return files


@pytest.fixture
def decoded(monkeypatch):
    """What was decoded so far; the decoding itself is the real one."""
    seen = []
    real = cache.decode

    def counting(paths, preprocessing):
        seen.extend(paths)
        return real(paths, preprocessing)

    monkeypatch.setattr(cache, "decode", counting)
    return seen


def test_samples_are_what_preprocessing_gives(paths):
    from ganatomy.scans import read_scan

    found = prepare(paths, SMALL)
    expected = np.concatenate([SMALL.apply(read_scan(path)).samples for path in paths])
    np.testing.assert_array_equal(found.array, expected)
    assert found.owner.tolist() == [0, 1, 2, 3]
    assert isinstance(found.array, np.memmap)


def test_the_second_call_decodes_nothing(paths, decoded):
    first = prepare(paths, SMALL)
    assert len(decoded) == 4
    second = prepare(paths, SMALL)
    assert len(decoded) == 4
    np.testing.assert_array_equal(first.array, second.array)


def test_a_changed_file_is_decoded_again(paths, decoded):
    before = prepare(paths, SMALL)
    Image.fromarray(np.eye(12, dtype=np.uint8) * 255).save(paths[2])
    after = prepare(paths, SMALL)
    assert len(decoded) == 8
    assert before.fingerprint != after.fingerprint
    assert not np.array_equal(before.array[2], after.array[2])
    np.testing.assert_array_equal(before.array[1], after.array[1])


def test_a_changed_setting_is_another_cache(paths, decoded):
    prepare(paths, SMALL)
    wide = prepare(paths, Preprocessing(size=(8, 8), margin=0.1))
    assert len(decoded) == 8
    assert wide.fingerprint != prepare(paths, SMALL).fingerprint


def test_another_template_is_another_cache(paths):
    draw = np.random.default_rng(1)
    templates = draw.normal(size=(2, 8, 8)).astype("float32")
    found = [
        prepare(paths, Preprocessing(size=(8, 8), align=True).load_state({"template": t}))
        for t in templates
    ]
    assert found[0].fingerprint != found[1].fingerprint


def test_the_same_data_have_one_hash_wherever_they_lie(paths, tmp_path, monkeypatch):
    first = prepare(paths, SMALL)
    known = content_hash({"scan": first})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copies = [elsewhere / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        shutil.copyfile(path, copy)
    moved = prepare(copies, SMALL)
    assert moved.fingerprint != first.fingerprint
    assert content_hash({"scan": moved}) == known
    # However many samples are read at a time.
    monkeypatch.setattr(cache, "PIECE", 3 * first.array[0].nbytes)
    assert content_hash({"scan": moved}) == known


def test_one_pixel_more_or_another_order_or_role_has_another_hash(paths):
    known = content_hash({"scan": prepare(paths, SMALL)})
    assert content_hash({"scan": prepare(paths[::-1], SMALL)}) != known
    assert content_hash({"scan": prepare(paths[:3], SMALL)}) != known
    whole = prepare(paths, SMALL)
    assert content_hash({"other": whole}) != known
    both = [content_hash({a: whole, b: whole}) for a, b in (("x", "y"), ("y", "x"))]
    assert len({known, *both}) == 3
    pixels = np.array(Image.open(paths[2]))
    pixels[5, 6] ^= 8
    Image.fromarray(pixels).save(paths[2])
    assert content_hash({"scan": prepare(paths, SMALL)}) != known


def test_failures_are_kept_with_the_cache_and_tried_again(paths, decoded):
    paths[1].write_bytes(b"no picture")
    for _ in range(2):  # the second from disk
        found = prepare(paths, SMALL)
        assert [error.path for error in found.failures] == [str(paths[1])]
        assert "is no image" in found.failures[0].problem
        assert found.owner.tolist() == [0, 2, 3]
    assert len(decoded) == 4 + 1  # the others are not decoded again


def test_a_scan_that_can_be_read_again_is_no_failure_any_more(paths, monkeypatch):
    real = cache.decode

    def out_of_memory(paths, preprocessing):
        for item in real(paths, preprocessing):
            if item.path == files[1]:
                item = Decoded(item.path, error=ScanError(item.path, "needs too much memory", ""))
            yield item

    files = paths
    monkeypatch.setattr(cache, "decode", out_of_memory)
    before = prepare(paths, SMALL)
    assert len(before.failures) == 1
    assert len(before.array) == 3
    monkeypatch.setattr(cache, "decode", real)
    after = prepare(paths, SMALL)
    assert after.failures == []
    assert after.owner.tolist() == [0, 1, 2, 3]
    assert len(before.array.sum((1, 2, 3))) == 3  # whoever had the old one open still reads it
    assert sorted(p.name for p in (cache_folder() / after.fingerprint).iterdir()) == [
        "done.json",
        "owner.npy",
        "samples.npy",
    ]


@pytest.mark.parametrize("what", ["CACHE_FORMAT", "version"])
def test_another_version_is_another_cache(paths, decoded, monkeypatch, what):
    prepare(paths, SMALL)
    monkeypatch.setattr(cache, what, 99 if what == "CACHE_FORMAT" else lambda name: "99")
    prepare(paths, SMALL)
    assert len(decoded) == 8


def test_the_longest_unused_caches_go_first(paths, monkeypatch):
    monkeypatch.setenv("GANATOMY_CACHE_LIMIT", "1e-5")  # 10 kB; one cache is some 1.5 kB
    folders = []
    for number in range(9):
        key = prepare(paths, Preprocessing(size=(8, 8), margin=0.01 * number)).fingerprint
        folders.append(cache_folder() / key)
        os.utime(folders[-1], (number + 1, number + 1))
    left = [folder.exists() for folder in folders]
    assert left == sorted(left)
    assert not left[0]
    assert left[-1]
    assert sum(f.stat().st_size for f in cache_folder().rglob("*.*")) < 1e4 + 2000
    monkeypatch.setenv("GANATOMY_CACHE_LIMIT", "0")
    last = prepare(paths, Preprocessing(size=(8, 8), margin=0.2))
    assert len(last.array) == 4  # what is asked for is kept, whatever the limit
    assert [f.name for f in cache_folder().iterdir()] == [last.fingerprint]


def test_pruning_leaves_what_is_no_cache(paths):
    root = cache_folder()
    for name in ("part-old", "part-new", "notes", "a" * 32):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("mine")
    os.utime(root / "part-old", (1, 1))
    kept = prepare(paths, SMALL)
    assert {f.name for f in root.iterdir()} == {"part-new", "notes", "a" * 32, kept.fingerprint}


def test_a_limit_that_is_no_number_is_named(paths, monkeypatch):
    monkeypatch.setenv("GANATOMY_CACHE_LIMIT", "much")
    with pytest.raises(WrongUse, match="GANATOMY_CACHE_LIMIT=much: expected gigabytes"):
        prepare(paths, SMALL)


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(TableError, match=r"none of 1 scans could be read; the first: .*is empty"):
        prepare([tmp_path / "a.png"], SMALL)


def test_a_fill_that_fails_leaves_nothing(paths, monkeypatch):
    def broken(paths, preprocessing):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decode", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare(paths, SMALL)
    assert list(cache_folder().iterdir()) == []
    monkeypatch.undo()


def test_a_killed_fill_is_never_taken_for_a_full_one(paths, tmp_path):
    script = f"""
        import time
        from pathlib import Path
        from ganatomy import cache
        from ganatomy.cache import prepare
        from ganatomy.scans import Preprocessing

        real = cache.decode
        def slow(paths, preprocessing):
            for item in real(paths, preprocessing):
                yield item
                print("one", flush=True)
                time.sleep(60)
        cache.decode = slow
        prepare([Path(p) for p in {[str(p) for p in paths]}], Preprocessing(size=(8, 8)))
    """
    environment = {**os.environ, "GANATOMY_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(cache_folder().glob("*/done.json"))
    assert len(prepare(paths, SMALL).array) == 4


def test_a_used_cache_is_touched(paths):
    folder = cache_folder() / prepare(paths, SMALL).fingerprint
    os.utime(folder, (1, 1))
    prepare(paths, SMALL)
    assert time.time() - folder.stat().st_mtime < 60
