"""Clips in packs made by other programs: zipfile, webdataset, h5py and pyarrow, in the layouts of their users."""

import io
import multiprocessing
import os
import resource
import sys
import zipfile

import h5py
import numpy as np
import pytest
import soundfile
import torch
from fairseq.data.audio.audio_utils import parse_path, read_from_stored_zip

from maskspec_fairseq.audio import AudioError, packs, parquet_pack
from maskspec_fairseq.audio.read import load_clip, open_audio, read_audio
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.factories import (
    NOISE,
    PACK_RATE,
    encoded,
    int16,
    write_mp3s,
    write_parquet,
    write_tar,
    write_waveforms,
    write_zip,
)

EXTENSIONS = ("wav", "flac", "ogg", "mp3")


def same_audio(one, other):
    """Whole, beginnings and crops, bit by bit, and equally long by their headers."""
    for clip_sec, seed in ((None, None), (0.3, None), (0.3, 1), (0.7, 2), (100.0, 3)):
        rng = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        (a, a_rate), (b, b_rate) = read_audio(str(one), clip_sec, rng[0]), read_audio(str(other), clip_sec, rng[1])
        if a_rate != b_rate or a.dtype != b.dtype or not np.array_equal(a, b):
            return False
    with open_audio(str(one)) as a, open_audio(str(other)) as b:
        return (a.frames, a.samplerate, a.channels) == (b.frames, b.samplerate, b.channels)


@pytest.fixture()
def loose(tmp_path):
    """Name -> bytes of a stereo file of each format, and the files themselves."""
    members = {}
    for number, extension in enumerate(EXTENSIONS):
        samples = NOISE[number : number + 2].T
        members[f"a {number}.{extension}"] = encoded(samples, extension, 44100 if number % 2 else PACK_RATE)
    for name, data in members.items():
        (tmp_path / name).write_bytes(data)
    return members


def test_a_zip_gives_the_samples_of_the_files(tmp_path, loose):
    for name, path in write_zip(tmp_path / "a.zip", loose).items():
        assert same_audio(path, tmp_path / name)
        file, place = parse_path(path)  # fairseq's own reader finds the same bytes
        assert read_from_stored_zip(file, *place) == loose[name]


def test_a_tar_gives_the_samples_of_the_files(tmp_path, loose):
    for name, path in write_tar(tmp_path / "a.tar", loose).items():
        assert same_audio(path, tmp_path / name)


def test_a_parquet_file_gives_the_samples_of_the_files(tmp_path, loose):
    """In any order: the rows are in groups of three."""
    pack = write_parquet(tmp_path / "a.parquet", list(loose.values()) * 2)
    for index in (7, 0, 3, 1, 2, 6, 4, 5):
        assert same_audio(f"{pack}:{index}", tmp_path / list(loose)[index % 4])


def test_of_a_member_only_the_crop_is_read(tmp_path):
    """A wav that begins in a file of 4 GB, most of which is a hole."""
    header = encoded(NOISE[0])[:44]
    with open(tmp_path / "a.tar", "wb") as stream:
        stream.write(header[:40] + (4 * 10**9).to_bytes(4, "little") + encoded(NOISE[0])[44:])
        stream.truncate(44 + 4 * 10**9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    audio, _ = read_audio(f"{tmp_path}/a.tar:0:{44 + 4 * 10**9}", 2.0)
    assert np.abs(audio[:, 0] - NOISE[0]).max() < 1e-4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**5  # kB


def test_offsets_may_be_beyond_four_gibibytes(tmp_path):
    data, offset = encoded(NOISE[0]), 5 * 2**30 + 7
    with open(tmp_path / "large.ZIP", "wb") as stream:  # most of it is a hole
        stream.seek(offset)
        stream.write(data)
    (tmp_path / "a.wav").write_bytes(data)
    assert same_audio(f"{tmp_path}/large.ZIP:{offset}:{len(data)}", tmp_path / "a.wav")


@pytest.mark.parametrize("extension", ["hdf", "hdf5", "h5", "HDF"])
def test_an_hdf5_of_mp3s_gives_the_samples_of_the_files(tmp_path, extension):
    rows = [encoded(samples, "mp3", rate) for samples, rate in zip(NOISE, (32000, 44100, 22050))]
    pack = write_mp3s(tmp_path / f"a.{extension}", rows)
    for index, row in enumerate(rows):
        (tmp_path / "a.mp3").write_bytes(row)
        assert same_audio(f"{pack}:{index}", tmp_path / "a.mp3")


@pytest.mark.parametrize("extension", ["h5", "hdf"])
def test_an_hdf5_of_waveforms_gives_them_as_their_makers_scale_them(tmp_path, extension):
    rows = int16(2 * NOISE[:3])
    rows[0, :2] = 32767, -32768
    pack = write_waveforms(tmp_path / f"a.{extension}", rows)
    for index, row in enumerate(rows):
        expected = (row / 32767.0).astype(np.float32)
        soundfile.write(tmp_path / "a.wav", expected, PACK_RATE, subtype="FLOAT")
        assert same_audio(f"{pack}:{index}", tmp_path / "a.wav")


def test_of_a_waveform_only_the_crop_is_read(tmp_path):
    """Every second is a chunk with a check sum, and that of the last one is wrong."""
    rows = int16(np.hstack([NOISE[:1], NOISE[1:2]]))
    pack = write_waveforms(tmp_path / "a.h5", rows, chunks=(1, PACK_RATE), fletcher32=True)
    content = bytearray(pack.read_bytes())
    content[content.index(rows[0, 3 * PACK_RATE :].tobytes())] ^= 1
    pack.write_bytes(content)
    assert np.array_equal(
        read_audio(f"{pack}:0", 3.0)[0][:, 0], (rows[0, : 3 * PACK_RATE] / 32767.0).astype(np.float32)
    )
    with pytest.raises(AudioError, match="a.h5: expected an HDF5 file that can be read, found: "):
        read_audio(f"{pack}:0")


def test_a_file_of_that_whole_name_is_meant(tmp_path, loose):
    paths = write_zip(tmp_path / "a.zip", loose)
    first, second = list(paths.values())[:2]
    assert not same_audio(first, second)
    (tmp_path / first).write_bytes(loose["a 1.flac"])  # named like the first clip of the pack
    assert same_audio(first, second)


@pytest.mark.parametrize(
    "name", ["12:30.wav", "a.zip:1:2.wav", "a.zip:1:2:3", "a.zip:1", "b.rar:1:2", "a.h5:1:2", "a.h5:-1", "a.h5:٣", ":1"]
)
def test_other_names_with_colons_are_names(tmp_path, name):
    (tmp_path / name).write_bytes(encoded(NOISE[0]))
    (tmp_path / "b.wav").write_bytes(encoded(NOISE[0]))
    assert same_audio(tmp_path / name, tmp_path / "b.wav")
    (tmp_path / name).unlink()
    with pytest.raises(AudioError, match="No such file or directory"):
        read_audio(str(tmp_path / name))


def test_a_pack_may_have_a_difficult_name(tmp_path, loose):
    folder = tmp_path / "x.zip:3:4" / "a:b.h5:7"
    folder.mkdir(parents=True)
    paths = write_zip(folder / "Füße: 1.zip", loose)
    assert all(same_audio(path, tmp_path / name) for name, path in paths.items())


@pytest.fixture()
def packed(tmp_path, loose):
    """The manifest of twenty clips, four in each kind of pack, by a relative path with a folder in it."""
    (tmp_path / "packs").mkdir()
    paths = list(write_zip(tmp_path / "packs" / "a.zip", loose).values())
    mp3s = write_mp3s(tmp_path / "packs" / "a.hdf", [encoded(samples, "mp3") for samples in NOISE[:4]])
    paths += [f"{mp3s}:{index}" for index in range(4)]
    waveforms = write_waveforms(tmp_path / "packs" / "a.h5", int16(NOISE[4:]))
    paths += [f"{waveforms}:{index}" for index in range(4)]
    paths += write_tar(
        tmp_path / "packs" / "a.tar", {f"{name}.wav": encoded(NOISE[name, 9:]) for name in range(4)}
    ).values()
    parquet = write_parquet(tmp_path / "packs" / "a.parquet", [encoded(NOISE[row, 99:]) for row in range(4)])
    paths += [f"{parquet}:{index}" for index in range(4)]
    return Manifest(str(tmp_path), [os.path.relpath(path, tmp_path) for path in paths], [2 * PACK_RATE] * 20)


def test_the_dataset_reads_packs_in_loader_processes(tmp_path, packed):
    write_manifest(tmp_path / "train.tsv", packed)
    dataset = AudioDataset(read_manifest(tmp_path / "train.tsv"), PACK_RATE, 0.5, training=True)
    here = [dataset[index] for index in range(20)]  # so that this process has the packs open
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context="fork"
    )
    for _ in range(2):
        there = [item for batch in loader for item in batch]
        assert [item["id"] for item in there] == list(range(20))
        assert all(torch.equal(a["waveform"], b["waveform"]) for a, b in zip(here, there))
    assert len({item["waveform"].numpy().tobytes() for item in here}) == 20


def in_fork(function, *args):
    """What a function returns in a forked process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: sender.send(function(*args)))
    process.start()
    assert receiver.poll(30), "the process says nothing"
    result = receiver.recv()
    process.join()
    return result


def open_files(pack):
    """Descriptors of this process that lead to a path, or to what was there before."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # that of the listing
            continue
    return [link for link in links if link.startswith(str(pack))]


def read_and_count(path, pack):
    return read_audio(path)[0], open_files(pack)


counts_descriptors = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")


def test_a_closed_reader_of_a_waveform_reads_nothing(tmp_path):
    with open_audio(f"{write_waveforms(tmp_path / 'a.h5', int16(NOISE[:1]))}:0") as clip:
        assert len(clip.read(2)) == 2
    with pytest.raises(ValueError, match="expected an open clip, found a closed one"):
        clip.read(2)


@counts_descriptors
@pytest.mark.parametrize("kind", ["zip", "tar", "parquet", "mp3", "waveform"])
def test_a_forked_process_opens_packs_of_its_own(tmp_path, kind):
    """While they are open, another pack is put in their place: a process that opens for itself reads that one."""

    def write(path, samples):
        if kind in ("zip", "tar"):
            path.write_bytes(encoded(samples))
            return f"{path}:0:{path.stat().st_size}"
        if kind == "parquet":
            return f"{write_parquet(path, [encoded(samples)])}:0"
        if kind == "mp3":
            return f"{write_mp3s(path, [encoded(samples, 'mp3')])}:0"
        return f"{write_waveforms(path, int16(samples[None]))}:0"

    pack = tmp_path / f"a.{kind if kind in ('zip', 'tar', 'parquet') else 'h5'}"
    path = write(pack, NOISE[0])
    before, opened = read_and_count(path, pack)
    assert opened == [str(pack)] == open_files(pack)  # kept open, once
    same, opened = in_fork(read_and_count, path, pack)
    assert np.array_equal(same, before) and opened == [str(pack)]  # its own, and none of its parent's
    write(tmp_path / "new.h5", NOISE[1])
    os.replace(tmp_path / "new.h5", pack)
    after, opened = in_fork(read_and_count, path, pack)
    assert not np.array_equal(after, before) and opened == [str(pack)]  # none of those that were replaced
    assert np.array_equal(read_audio(path)[0], before)  # a process keeps the pack that it has opened


@counts_descriptors
def test_few_packs_are_kept_open(tmp_path):
    paths = []
    for number in range(packs.OPEN_PACKS + 6):
        (tmp_path / f"{number}.zip").write_bytes(encoded(NOISE[number % 8, :100]))
        paths.append(f"{tmp_path}/{number}.zip:0:{(tmp_path / f'{number}.zip').stat().st_size}")
    for _ in range(2):
        assert all(len(read_audio(path)[0]) == 100 for path in paths)
    assert len(open_files(tmp_path)) == packs.OPEN_PACKS


# Refusals


def refused(path, *messages):
    with pytest.raises(AudioError) as caught:
        load_clip(str(path), PACK_RATE)
    assert str(caught.value).startswith(f"{path}: expected ") or str(caught.value).startswith(
        f"{packs.split_path(str(path))[0]}: expected "
    )
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("path", ["a.zip:1:2", "a.tar:1:2", "a.parquet:0", "a.hdf:0", "a.h5:0"])
def test_packs_that_are_no_files_are_refused(tmp_path, path):
    pack = tmp_path / path.split(":")[0]
    refused(tmp_path / path, "a pack of clips, found: ", "No such file or directory", "correct line 1 of the manifest")
    pack.mkdir()
    refused(tmp_path / path, "found: a directory")
    pack.rmdir()
    os.mkfifo(pack)
    refused(tmp_path / path, "found: a pipe or a device")


def test_ranges_that_are_not_in_the_zip_are_refused(tmp_path, loose):
    pack = tmp_path / "a.zip"
    write_zip(pack, loose)
    size = pack.stat().st_size
    for offset, length in ((size, 1), (size - 10, 11), (0, size + 1), (10**17, 10), (100, 0), (0, 10**17)):
        refused(
            f"{pack}:{offset}:{length}", f"within the {size} bytes of the pack, found the bytes from {offset} to "
            f"{offset + length}; build the manifest again",
        )  # fmt: skip


def test_ranges_that_are_no_clip_are_refused(tmp_path, loose):
    pack = tmp_path / "a.zip"
    for path in write_zip(pack, loose).values():
        offset, length = map(int, path.split(":")[-2:])
        for wrong in (offset - 1, offset + 1, offset - 30):
            begins = pack.read_bytes()[wrong : wrong + 8]
            refused(f"{pack}:{wrong}:{length}", f"audio that soundfile decodes, found {begins}", "stored uncompressed?")
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as deflated:
        deflated.writestr("a", encoded(np.zeros(PACK_RATE)))
        refused(f"{tmp_path}/deflated.zip:31:{deflated.getinfo('a').compress_size}", "stored uncompressed?")


def test_a_zip_that_is_cut_off_under_its_reader_is_refused(tmp_path, loose):
    pack = tmp_path / "a.zip"
    path = list(write_zip(pack, loose).values())[1]
    read_audio(path)
    os.truncate(pack, int(path.split(":")[-2]) + 10)
    refused(path, f"within the {pack.stat().st_size} bytes of the pack, found the bytes from ", "if it is cut off")


def test_broken_audio_in_a_pack_is_refused_as_in_a_file(tmp_path):
    nan = io.BytesIO()
    soundfile.write(nan, np.array([0.1, np.nan]), PACK_RATE, format="WAV", subtype="FLOAT")
    half = encoded(NOISE[0], "mp3")[:9000]
    paths = write_zip(tmp_path / "a.zip", {"nan": nan.getvalue(), "empty": encoded(NOISE[0, :0]), "half": half})
    refused(paths["nan"], "finite samples, found NaN or infinity")
    refused(paths["empty"], "found a file of 0 frames")
    refused(paths["half"], "is the file cut off?")
    refused(f"{write_mp3s(tmp_path / 'a.hdf', [half])}:0", "is the file cut off?")


def test_rows_that_are_not_there_are_refused(tmp_path):
    mp3s = write_mp3s(tmp_path / "a.hdf", [encoded(NOISE[0], "mp3"), b"", b"no mp3 at all"])
    refused(f"{mp3s}:3", "expected an index below 3, found 3; build the manifest again")
    refused(f"{mp3s}:1", "expected the bytes of an mp3, found an empty row; build")
    refused(f"{mp3s}:2", "audio that soundfile decodes, found b'no mp3 a' and so on")
    waveforms = write_waveforms(tmp_path / "a.h5", int16(NOISE[:1] * [[1], [0], [0], [1]]), ["a", "", "b", ""])
    refused(f"{waveforms}:4", "expected an index below 4, found 4")
    refused(
        f"{waveforms}:1",
        "expected a clip, found a row of zeros without a name, which stands for a file",
        "build the manifest again",
    )
    assert not read_audio(f"{waveforms}:2")[0].any()  # silence
    assert np.array_equal(read_audio(f"{waveforms}:3")[0], read_audio(f"{waveforms}:0")[0])


def test_hdf5_files_without_the_keys_are_refused(tmp_path):
    def write(name, attributes=None, **datasets):
        with h5py.File(tmp_path / name, "w") as file:
            for key, data in datasets.items():
                file.create_group(key) if data is None else file.create_dataset(key, data=data)
            file.attrs.update(attributes or {})
        return f"{tmp_path / name}:0"

    rows, rate = int16(NOISE[:2]), {"sample_rate": PACK_RATE}
    refused(write("none.h5"), "a dataset mp3 of rows of uint8 (PaSST, MaskSpec), or waveform", "found no dataset")
    refused(write("other.h5", audio=rows, target=rows), "found audio (int16), target (int16) and the attributes []")
    refused(write("floats.h5", rate, waveform=NOISE), "found waveform (float64) and the attributes ['sample_rate']")
    refused(write("flat.h5", rate, waveform=rows[0]), "found waveform (int16)")
    refused(write("no_rate.h5", waveform=rows), "found waveform (int16) and the attributes []")
    refused(write("rate_0.h5", {"sample_rate": 0}, waveform=rows), "a sample_rate from 1000 to 1000000 Hz, found 0")
    refused(write("rate_text.h5", {"sample_rate": "fast"}, waveform=rows), "expected a dataset mp3")
    refused(write("group.h5", rate, waveform=None), "found waveform (a group)")
    refused(write("mp3.h5", mp3=rows), "found mp3 (int16)")
    refused(write("mp3_group.h5", mp3=None), "found mp3 (a group)")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda file: move(file, "waveform", h5py.ExternalLink("other.h5", "/waveform")),
            "link to other.h5/waveform",
        ),
        (lambda file: move(file, "waveform", h5py.SoftLink("/target")), "a link to /target"),
        (lambda file: move(file, "audio_name", h5py.ExternalLink("other.h5", "/a")), "a link to other.h5/a"),
        (lambda file: anew(file, "waveform", (2, 64000), "i2", external=[("secret.bin", 0, 256000)]), "in other files"),
        (lambda file: file.move("waveform", "w") or virtual(file), "values are in other files"),
        (lambda file: anew(file, "waveform", (2**20, 2**20), "i2"), "2199023255552 bytes of values in 0 bytes"),
        (
            lambda file: anew(file, "audio_name", (2**36,), "S20", chunks=(9,)),
            "1374389534720 bytes of values in 0",
        ),
        (lambda file: anew(file, "audio_name", data=np.array([b"a"] * 3)), "an audio_name for each of the 2 clips"),
        (lambda file: file.attrs.update(sample_rate=2**31), "a sample_rate from 1000 to 1000000 Hz, found 2147483648"),
        (lambda file: file.attrs.update(sample_rate=1), "a sample_rate from 1000 to 1000000 Hz, found 1;"),
        (lambda file: file.attrs.update(sample_rate=-32000), "found -32000"),
        (lambda file: file.attrs.update(sample_rate=np.nan), "expected a dataset mp3"),
        (lambda file: file.attrs.update(sample_rate=[32000, 1]), "expected a dataset mp3"),
    ],
)
def test_an_hdf5_file_that_lies_is_refused_before_its_values_are_read(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(b"the bytes of another file" * 20000)
    write_waveforms(tmp_path / "other.h5", int16(NOISE[:2]))
    pack = write_waveforms(tmp_path / "a.h5", int16(NOISE[:2]))
    assert len(read_audio(f"{pack}:1")[0]) == 64000
    packs._opened.cache_clear()
    with h5py.File(pack, "a") as file:
        change(file)
    refused(f"{pack}:1", message)


def move(file, name, link):
    del file[name]
    file[name] = link


def anew(file, name, *args, **kwargs):
    del file[name]
    file.create_dataset(name, *args, **kwargs)


def virtual(file):
    layout = h5py.VirtualLayout((2, 64000), "i2")
    layout[:] = h5py.VirtualSource("other.h5", "waveform", (2, 64000))
    file.create_virtual_dataset("waveform", layout)


def test_parquet_files_that_are_no_packs_are_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    def write(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
        packs._opened.cache_clear()
        return f"{tmp_path}/a.parquet:0"

    clip = [{"bytes": encoded(NOISE[0]), "path": "a"}]
    assert read_audio(write(sound=clip))[1] == PACK_RATE  # whatever the only column is called
    assert read_audio(write(audio=clip, context=clip))[1] == PACK_RATE
    refused(
        write(a=clip, b=clip), "expected one column of structs with the field bytes, or one called audio, found a, b"
    )
    refused(write(text=["a"]), "expected one column of structs with the field bytes, or one called audio, found text")
    refused(write(audio=[{"bytes": None, "path": "a"}, *clip]), "expected the bytes of a file")
    refused(write(audio=clip).replace(":0", ":1"), "expected a row below 1, found 1; build the manifest again")
    content = (tmp_path / "a.parquet").read_bytes()
    for share in (0.0, 0.5, 0.99):
        (tmp_path / "a.parquet").write_bytes(content[: int(share * len(content))])
        packs._opened.cache_clear()
        refused(f"{tmp_path}/a.parquet:0", "expected a Parquet file that can be read, found: ", "get it again")


def test_few_bytes_that_ask_for_many_rows_are_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    none = pyarrow.nulls(10**5, pyarrow.struct([("bytes", pyarrow.binary())]))
    pyarrow.parquet.write_table(pyarrow.table({"audio": none}), tmp_path / "a.parquet")
    refused(f"{tmp_path}/a.parquet:0", "expected a number of clips that a file of ", "found 100000")


def test_a_row_group_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    pack = write_parquet(tmp_path / "a.parquet", [encoded(NOISE[0])])
    monkeypatch.setattr(parquet_pack, "MAX_GROUP", 1000)
    refused(f"{pack}:0", "bytes in row group 0, of which 1000 are read at most")


def test_one_row_group_is_in_memory(tmp_path):
    """Of all packs together."""
    one, other = (write_parquet(tmp_path / f"{n}.parquet", [encoded(NOISE[n])] * 7) for n in range(2))
    for index in (0, 1, 2, 3, 5):
        read_audio(f"{one}:{index}")
        read_audio(f"{one}:{index}")
        read_audio(f"{other}:{index}")
        assert parquet_pack._row_group.cache_info().currsize == 1
    misses = parquet_pack._row_group.cache_info().misses
    for index in (3, 4, 5):
        read_audio(f"{other}:{index}")
    assert parquet_pack._row_group.cache_info().misses == misses


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_an_hdf5_file_that_is_cut_off_is_refused(tmp_path, share):
    pack = write_mp3s(tmp_path / "a.hdf", [encoded(samples, "mp3") for samples in NOISE])
    os.truncate(pack, int(share * pack.stat().st_size))
    refused(f"{pack}:7", "an HDF5 file that can be read, found: ", "get the pack again")


def test_without_h5py_or_pyarrow_the_cure_is_named_and_zips_are_read(tmp_path, loose, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.hdf").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"anything")
    refused(f"{tmp_path}/a.hdf:0", "pip install 'maskspec-fairseq[hdf5]'")
    refused(f"{tmp_path}/a.parquet:0", "pip install 'maskspec-fairseq[parquet]'")
    assert all(same_audio(p, tmp_path / name) for name, p in write_zip(tmp_path / "a.zip", loose).items())
