"""Reading members and controls: what fits is read exactly, everything else is an error that says why."""

import contextlib
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from auditcli.errors import SampleError
from auditcli.images import _archive, _folder, _picture, _pixels, duplicates, read_sample, require_disjoint

GREY = (1, 4, 5)
COLOUR = (3, 4, 5)


def pixels(shape=GREY, seed=0):
    c, h, w = shape
    drawn = np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)
    return drawn[..., 0] if c == 1 else drawn


def save(path: Path, array, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def read(path, shape=GREY, labels=(), role="members"):
    return read_sample(path, shape, labels, role=role)


def refused(path, shape=GREY, labels=()) -> SampleError:
    with pytest.raises(SampleError) as caught:
        read(path, shape, labels)
    assert "members" in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def npy_bytes(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def lying_npz(path: Path, shape, body: bytes, dtype="|u1", declared: int | None = None) -> Path:
    """An archive whose npy header names `shape`, with `body` as data, and perhaps a false size in its directory."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    if declared is not None:
        raw = bytearray(path.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = raw.index(signature) + offset
            raw[at : at + 4] = struct.pack("<I", declared + len(content) - len(body))
        path.write_bytes(bytes(raw))
    return path


class TestFolder:
    def test_reads_exact_pixels_in_natural_order(self, tmp_path):
        arrays = {name: pixels(COLOUR, seed) for seed, name in enumerate(["10.png", "2.png", "1.png"])}
        for name, array in arrays.items():
            save(tmp_path / name, array)
        sample = read(tmp_path, COLOUR)
        assert sample.ids == ("1.png", "2.png", "10.png")
        assert sample.images.shape == (3, 3, 4, 5)
        assert sample.images.dtype == torch.float32
        expected = np.stack([arrays[name] for name in sample.ids]).transpose(0, 3, 1, 2)
        assert torch.equal(sample.images, torch.from_numpy(expected.astype(np.float32) / 255))
        assert sample.labels is None
        assert len(sample) == 3

    @pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "tiff", "PNG"])
    def test_reads_lossless_formats(self, tmp_path, suffix):
        array = pixels(COLOUR)
        save(tmp_path / f"a.{suffix}", array, **({"lossless": True} if suffix == "webp" else {}))
        assert np.array_equal(read(tmp_path, COLOUR).images[0].numpy() * 255, array.transpose(2, 0, 1))

    @pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
    def test_reads_jpeg(self, tmp_path, suffix):
        save(tmp_path / f"a.{suffix}", np.full((4, 5, 3), 100, np.uint8))
        assert read(tmp_path, COLOUR).images.shape == (1, 3, 4, 5)

    def test_reads_the_first_frame_of_a_gif(self, tmp_path):
        first, second = (Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (10, 200))
        first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
        assert torch.all(read(tmp_path).images == 10 / 255)

    def test_palette_of_greys_is_grey_or_colour_as_the_model_needs(self, tmp_path):
        Image.fromarray(pixels()).quantize(16).save(tmp_path / "a.png")
        assert read(tmp_path, GREY).images.shape == (1, 1, 4, 5)
        assert read(tmp_path, COLOUR).images.shape == (1, 3, 4, 5)

    def test_palette_of_colours_is_no_grey(self, tmp_path):
        Image.fromarray(pixels(COLOUR)).quantize(16).save(tmp_path / "a.png")
        assert "RGB" in refused(tmp_path, GREY).message

    def test_passes_over_hidden_and_other_files(self, tmp_path):
        save(tmp_path / "a.png", pixels())
        (tmp_path / "notes.txt").write_text("hello")
        (tmp_path / ".hidden.png").write_text("hello")
        (tmp_path / ".cache").mkdir()
        save(tmp_path / ".cache" / "b.png", pixels())
        assert read(tmp_path).ids == ("a.png",)

    def test_empty(self, tmp_path):
        assert "holds no images" in refused(tmp_path).message

    def test_missing(self, tmp_path):
        assert "does not exist" in refused(tmp_path / "nowhere").message

    def test_other_file(self, tmp_path):
        (tmp_path / "a.zip").write_bytes(b"PK")
        assert "neither a folder nor an .npz" in refused(tmp_path / "a.zip").message

    @pytest.mark.parametrize(
        ("array", "shape", "found", "wanted"),
        [
            (pixels((1, 4, 6)), GREY, "6x4 grey", "5x4 grey"),
            (pixels((1, 5, 4)), GREY, "4x5 grey", "5x4 grey"),
            (pixels(GREY), COLOUR, "5x4 grey", "5x4 RGB"),
            (pixels(COLOUR), GREY, "5x4 RGB", "5x4 grey"),
            (np.zeros((4, 5, 4), np.uint8), COLOUR, "with 4 channels", "5x4 RGB"),
        ],
    )
    def test_other_size_or_channels(self, tmp_path, array, shape, found, wanted):
        save(tmp_path / "a.png", array)
        error = refused(tmp_path, shape)
        assert found in error.message
        assert wanted in error.message
        assert "a.png" in error.message
        assert "--input-shape" in error.hint

    def test_sixteen_bits(self, tmp_path):
        save(tmp_path / "a.png", np.zeros((4, 5), np.uint16))
        assert "8-bit" in refused(tmp_path).message

    def test_four_channels_are_never_dropped(self, tmp_path):
        save(tmp_path / "a.png", np.zeros((4, 5, 4), np.uint8))
        assert "8-bit grey or RGB" in refused(tmp_path, (4, 4, 5)).message

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
    def test_no_image(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        assert "a.png" in refused(tmp_path).message

    def test_truncated(self, tmp_path):
        array = pixels((3, 64, 64))
        file = save(tmp_path / "a.png", array)
        file.write_bytes(file.read_bytes()[:2000])
        assert "cannot be decoded" in refused(tmp_path, (3, 64, 64)).message

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.data())
    def test_damage_is_a_sample_error_or_no_matter(self, tmp_path, data):
        file = save(tmp_path / "a.png", pixels(COLOUR))
        content = bytearray(file.read_bytes())
        for _ in range(3):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(bytes(content))
        with contextlib.suppress(SampleError):
            assert read(tmp_path, COLOUR).images.shape == (1, 3, 4, 5)

    def test_decompression_bomb_is_refused_before_decoding(self, tmp_path):
        def chunk(kind, body):
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", 50000, 50000, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(bomb)
        assert "bomb" in refused(tmp_path).message

    def test_a_format_behind_another_suffix_is_not_opened(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n")
        assert "not an image" in refused(tmp_path).message

    def test_large_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_picture, "MAX_FILE_BYTES", 10)
        save(tmp_path / "a.png", pixels())
        assert "bytes" in refused(tmp_path).message

    def test_too_many(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_pixels, "MAX_PIXEL_BYTES", 4 * 20 * 2)
        for index in range(3):
            save(tmp_path / f"{index}.png", pixels())
        error = refused(tmp_path)
        assert "3 images" in error.message
        assert "at most 2" in error.hint

    def test_countless_files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_folder, "MAX_ENTRIES", 3)
        for index in range(3):
            save(tmp_path / "sub" / f"{index}.png", pixels())
        assert "more than 3 files" in refused(tmp_path).message

    def test_pipes_are_passed_over(self, tmp_path):
        save(tmp_path / "a.png", pixels())
        os.mkfifo(tmp_path / "b.png")
        assert read(tmp_path).ids == ("a.png",)

    @pytest.mark.parametrize("name", ["two\nlines.png", "\x1b[31m.png", "\u202egnp.png"])
    def test_file_names_are_not_printed_as_they_are(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"nothing")
        assert refused(tmp_path).message.isprintable()

    def test_link_inside_is_read(self, tmp_path):
        save(tmp_path / "a.png", pixels())
        (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
        assert read(tmp_path).ids == ("a.png", "b.png")

    @pytest.mark.parametrize("target", ["secret.png", "secrets", "nowhere.png"])
    def test_link_outside_is_refused(self, tmp_path, target):
        save(tmp_path / "secret.png", pixels())
        save(tmp_path / "secrets" / "a.png", pixels())
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / f"link{Path(target).suffix}").symlink_to(tmp_path / target)
        assert "symbolic link" in refused(folder).message

    def test_folder_that_is_a_link_itself_is_read(self, tmp_path):
        save(tmp_path / "real" / "a.png", pixels())
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert read(tmp_path / "link").ids == ("a.png",)


class TestLabels:
    def folders(self, tmp_path, *names):
        for seed, name in enumerate(names):
            save(tmp_path / name / "0.png", pixels(seed=seed))
        return tmp_path

    def test_by_class_name(self, tmp_path):
        sample = read(self.folders(tmp_path, "dog", "Cat"), labels=("bird", "cat", "dog"))
        assert dict(zip(sample.ids, sample.labels.tolist(), strict=True)) == {"Cat/0.png": 1, "dog/0.png": 2}
        assert sample.labels.dtype == torch.int64

    @pytest.mark.parametrize("labels", [(), ("bird", "cat")])
    def test_by_number(self, tmp_path, labels):
        sample = read(self.folders(tmp_path, "10", "2"), labels=labels)
        assert sample.ids == ("2/0.png", "10/0.png")
        assert sample.labels.tolist() == [2, 10]

    def test_by_order(self, tmp_path):
        assert read(self.folders(tmp_path, "b", "a", "c")).labels.tolist() == [0, 1, 2]

    def test_deeper_folders_belong_to_the_first(self, tmp_path):
        sample = read(self.folders(tmp_path, "0", "1/x", "1/y"))
        assert sample.labels.tolist() == [0, 1, 1]

    def test_one_stranger_among_class_names(self, tmp_path):
        error = refused(self.folders(tmp_path, "cat", "dgo"), labels=("cat", "dog"))
        assert "'dgo'" in error.message
        assert "cat, dog" in error.hint

    def test_beside_and_inside(self, tmp_path):
        save(self.folders(tmp_path, "cat") / "loose.png", pixels())
        assert "beside and inside" in refused(tmp_path).message


class TestNpz:
    def test_reads_grey_and_labels(self, tmp_path):
        stack = np.stack([pixels(seed=seed) for seed in range(3)])
        np.savez_compressed(tmp_path / "m.npz", images=stack, labels=np.array([2, 0, 1], np.uint8))
        sample = read(tmp_path / "m.npz", labels=("a", "b", "c"))
        assert torch.equal(sample.images, torch.from_numpy(stack.astype(np.float32) / 255).unsqueeze(1))
        assert sample.ids == ("m.npz#0", "m.npz#1", "m.npz#2")
        assert sample.labels.tolist() == [2, 0, 1]

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_reads_colour(self, tmp_path, order):
        stack = np.asarray(np.stack([pixels(COLOUR, seed) for seed in range(2)]), order=order)
        np.savez(tmp_path / "m.npz", images=stack)
        assert np.array_equal(read(tmp_path / "m.npz", COLOUR).images.numpy() * 255, stack.transpose(0, 3, 1, 2))

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(npst.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(4), st.just(5), st.just(3))))
    def test_folder_and_npz_agree(self, tmp_path, stack):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for index, array in enumerate(stack):
            save(folder / f"{index}.png", array)
        np.savez(folder / "same.npz", images=stack)
        from_folder, from_npz = read(folder, COLOUR), read(folder / "same.npz", COLOUR)
        assert from_folder.hashes == from_npz.hashes
        assert torch.equal(from_folder.images, from_npz.images)

    def test_sample_hash_follows_the_pixels(self, tmp_path):
        save(tmp_path / "a" / "0.png", pixels(seed=1))
        save(tmp_path / "b" / "0.png", pixels(seed=1), compress_level=0)
        save(tmp_path / "c" / "0.png", pixels(seed=2))
        a, b, c = (read(tmp_path / name).sha256 for name in "abc")
        assert a == b != c

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"x_train": np.zeros((1, 4, 5), np.uint8)}, "it holds x_train"),
            ({"images": np.zeros((1, 4, 5), np.float32)}, "float32"),
            ({"images": np.zeros((4, 5), np.uint8)}, "(4, 5)"),
            ({"images": np.zeros((0, 4, 5), np.uint8)}, "no images"),
            ({"images": np.zeros((1, 5, 4), np.uint8)}, "4x5 grey"),
            ({"images": np.zeros((1, 1, 4, 5), np.uint8)}, "channels"),
            ({"images": np.zeros((2, 4, 5), np.uint8), "labels": np.zeros(3, np.int64)}, "(2,)"),
            ({"images": np.zeros((2, 4, 5), np.uint8), "labels": np.zeros(2)}, "float64"),
            ({"images": np.zeros((2, 4, 5), np.uint8), "labels": np.array([0, -1])}, "-1"),
            ({"images": np.zeros((2, 4, 5), np.uint8), "labels": np.array([0, 2])}, "2 classes"),
            ({"images": np.zeros((2, 4, 5), np.uint8), "labels": np.full(2, 2**64 - 1, np.uint64)}, "-1"),
        ],
    )
    def test_other_contents(self, tmp_path, arrays, words):
        np.savez(tmp_path / "m.npz", **arrays)
        assert words in refused(tmp_path / "m.npz", labels=("cat", "dog")).message

    @pytest.mark.parametrize("name", ["images", "labels"])
    def test_nothing_is_unpickled(self, tmp_path, name):
        class Bomb:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "boom",))

        arrays = {"images": npy_bytes(np.zeros((1, 4, 5), np.uint8)), name: npy_bytes(np.array([Bomb()], object))}
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            for member, content in arrays.items():
                archive.writestr(f"{member}.npy", content)
        assert "unpickled" in refused(tmp_path / "m.npz").message
        assert not (tmp_path / "boom").exists()

    def test_header_that_promises_more_than_there_is(self, tmp_path):
        lying_npz(tmp_path / "m.npz", (1000, 4, 5), b"\0" * 20)
        assert "declares 20000 bytes" in refused(tmp_path / "m.npz").message

    def test_directory_that_lies_with_the_header(self, tmp_path):
        lying_npz(tmp_path / "m.npz", (10**7, 4, 5), b"\0" * 20, declared=20 * 10**7)
        assert "as decompression bombs do" in refused(tmp_path / "m.npz").message

    def test_directory_that_lies_a_little(self, tmp_path):
        lying_npz(tmp_path / "m.npz", (2, 4, 5), b"\0" * 20, declared=40)
        assert "not a readable .npz" in refused(tmp_path / "m.npz").message

    def test_more_than_is_read(self, tmp_path):
        lying_npz(tmp_path / "m.npz", (10**9, 4, 5), b"\0" * 20)
        assert "GiB" in refused(tmp_path / "m.npz").message

    def test_negative_number_of_images(self, tmp_path):
        lying_npz(tmp_path / "m.npz", (-1, 4, 5), b"\0" * 20)
        refused(tmp_path / "m.npz")

    @pytest.mark.parametrize(
        "header",
        ["(((", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4, 5L}", "x" * 60000, "{", "[1]", "'", "\\"],
    )
    def test_forged_header(self, tmp_path, header):
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 20
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("images.npy", content)
        assert "not a readable .npz" in refused(tmp_path / "m.npz").message

    def test_unknown_npy_version(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("images.npy", b"\x93NUMPY\x09\x00" + b"\0" * 40)
        assert "npy format (9, 0)" in refused(tmp_path / "m.npz").message

    def test_header_that_claims_gigabytes(self, tmp_path):
        content = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(2**20)
        with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", content)
        assert "its header claims 4294967295 bytes" in refused(tmp_path / "m.npz").message

    def test_bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_archive, "MAX_INFLATED_BYTES", 10_000)
        np.savez_compressed(tmp_path / "m.npz", images=np.zeros((10_000, 4, 5), np.uint8))
        assert "as decompression bombs do" in refused(tmp_path / "m.npz").message
        np.savez(tmp_path / "n.npz", images=np.zeros((10_000, 4, 5), np.uint8))
        assert len(read(tmp_path / "n.npz")) == 10_000

    def test_countless_members(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_archive, "MAX_DIRECTORY_BYTES", 4096)
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            for index in range(100):
                archive.writestr(f"{index}.npy", b"")
        assert "its directory takes" in refused(tmp_path / "m.npz").message

    @pytest.mark.parametrize(
        "descr", ["'|S2000000000'", "[('a', '<i4'), ('b', '|O')]", "',,,'", "[]", "[((),)]", "'u1'*9"]
    )
    def test_strange_types(self, tmp_path, descr):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1, 4, 5)}}"
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 20
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("images.npy", content)
        refused(tmp_path / "m.npz")

    @pytest.mark.parametrize("shape", [(10**30,) * 100, (1,) * 1000])
    def test_strange_shapes(self, tmp_path, shape):
        assert len(refused(lying_npz(tmp_path / "m.npz", shape, b"\0" * 20)).message) < 500

    def test_names_of_members_are_not_printed_as_they_are(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("two\nlines\x1b[31m.npy", b"")
        assert "two?lines?[31m" in refused(tmp_path / "m.npz").message

    def test_encrypted_entry(self, tmp_path):
        np.savez(tmp_path / "m.npz", images=np.zeros((1, 4, 5), np.uint8))
        raw = bytearray((tmp_path / "m.npz").read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            raw[raw.index(signature) + offset] |= 1
        (tmp_path / "m.npz").write_bytes(bytes(raw))
        assert "not a readable .npz" in refused(tmp_path / "m.npz").message

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.data())
    def test_damage_is_a_sample_error_or_no_matter(self, tmp_path, data):
        np.savez_compressed(tmp_path / "m.npz", images=np.stack([pixels()]), labels=np.array([0]))
        content = bytearray((tmp_path / "m.npz").read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (tmp_path / "m.npz").write_bytes(bytes(content))
        with contextlib.suppress(SampleError):
            assert read(tmp_path / "m.npz").images.shape == (1, 1, 4, 5)


class TestTwoSamples:
    def sample(self, path, seeds):
        np.savez(path, images=np.stack([pixels(seed=seed) for seed in seeds]))
        return read(path)

    def test_disjoint(self, tmp_path):
        require_disjoint(self.sample(tmp_path / "m.npz", [0, 1]), self.sample(tmp_path / "c.npz", [2, 3]))

    def test_a_member_among_the_controls(self, tmp_path):
        with pytest.raises(SampleError) as caught:
            require_disjoint(self.sample(tmp_path / "m.npz", [0, 1]), self.sample(tmp_path / "c.npz", [2, 1]))
        assert "m.npz#1" in caught.value.message
        assert "c.npz#1" in caught.value.message
        assert "more" not in caught.value.message

    def test_two_members_among_the_controls(self, tmp_path):
        with pytest.raises(SampleError, match="1 more"):
            require_disjoint(self.sample(tmp_path / "m.npz", [0, 1]), self.sample(tmp_path / "c.npz", [1, 0]))

    def test_duplicates_are_kept_and_named(self, tmp_path):
        sample = self.sample(tmp_path / "m.npz", [0, 1, 0, 0])
        assert len(sample) == 4
        assert duplicates(sample) == (("m.npz#2", "m.npz#0"), ("m.npz#3", "m.npz#0"))
        assert duplicates(self.sample(tmp_path / "u.npz", [0, 1])) == ()
