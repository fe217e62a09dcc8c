import copy

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio.compliance.kaldi as kaldi

from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.modules.float32_bits import from_bits, to_bits
from maskspec_fairseq.modules.front_ends import FRONT_ENDS
from maskspec_fairseq.modules.log_mel import JITTER_F_MAX, JITTER_F_MIN, LogMel, jittered_edges
from tests.factories import audiomae_input

RATE = 32000


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    """A chirp in noise and noise that becomes loud, (2, 2 s)."""
    t = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal((2, len(t)))
    chirp = 0.3 * scipy.signal.chirp(t, 100, 2, 12000) + 0.05 * noise[0]
    burst = noise[1] * np.where(t > 1, 0.2, 0.01)
    return torch.tensor(np.stack([chirp, burst]), dtype=torch.float32)


def librosa_mel_power(
    clip: np.ndarray, sr=RATE, n_fft=1024, hop_length=320, n_mels=128, fmin=50.0, fmax=14000.0
) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=clip.astype(np.float64), sr=sr, n_fft=n_fft, hop_length=hop_length, window="hamming", center=True,
        pad_mode="reflect", power=2.0, n_mels=n_mels, fmin=fmin, fmax=fmax, norm=None, htk=False,
    )  # fmt: skip


def assert_agrees(found: np.ndarray, expected: np.ndarray, mel_power: np.ndarray) -> None:
    """Within 1e-4, but for bins 40 dB under the loudest of their frame, where the float32 FFT shows: within 1e-3.

    The error of an FFT is a share of its loudest bin, and which share depends on the CPU.
    """
    quiet = mel_power < 1e-4 * mel_power.max(axis=0)
    assert quiet.mean() < 0.8
    difference = np.abs(found - expected)
    assert difference[~quiet].max() < 1e-4 and difference.max() < 1e-3 and difference.mean() < 2e-5


def test_paper_front_end_is_librosas_log_mel(waveform):
    ours = LogMel("paper").log_mel(waveform).numpy()
    for clip, mel in zip(waveform.numpy(), ours):
        power = librosa_mel_power(clip)
        expected = np.log(power + 1e-5)
        assert mel.shape == (128, 192)  # 201 frames, cut to a multiple of 16
        assert_agrees(mel, expected[:, :192], power[:, :192])


def test_narrowband_front_end_is_librosas_log_mel(waveform):
    """A window of 32 ms every 5 ms, 64 bins up to 4 kHz."""
    ours = LogMel("narrowband", 8000).log_mel(waveform).numpy()
    for clip, mel in zip(waveform.numpy(), ours):
        power = librosa_mel_power(clip, sr=8000, n_fft=256, hop_length=40, n_mels=64, fmax=4000.0)
        assert mel.shape == (64, 1600)  # 1601 frames, cut to a multiple of 16
        assert_agrees(mel, np.log(power + 1e-5)[:, :1600], power[:, :1600])


def test_reference_front_end_is_the_released_front_end(waveform):
    """Pre-emphasis and STFT by scipy and librosa, filters by torchaudio, as paper_vs_code has the released code."""
    banks = kaldi.get_mel_banks(128, 1024, RATE, 0.0, 15000.0, 100.0, -500.0, 1.0)[0].double().numpy()
    front_end = LogMel("reference")
    rng = np.random.default_rng(1)
    mean, std = rng.normal(size=128), rng.uniform(0.5, 2, size=128)
    front_end.set_statistics(mean, std)
    ours = front_end(waveform).numpy()
    for clip, mel in zip(waveform.numpy().astype(np.float64), ours):
        emphasised = scipy.signal.lfilter([1.0, -0.97], [1.0], clip)[1:]
        spectrum = librosa.stft(
            emphasised, n_fft=1024, hop_length=320, win_length=800, window=scipy.signal.get_window("hann", 800, False),
            center=True, pad_mode="reflect",
        )  # fmt: skip
        power = np.abs(spectrum[:-1]) ** 2
        fast_norm = (np.log(banks @ power + 1e-5) + 4.5) / 5.0
        expected = (fast_norm - mean[:, None]) / std[:, None]
        assert_agrees(mel, expected[:, :192], (banks @ power)[:, :192])


def test_a_window_shorter_than_the_fft_stands_where_torchs_stft_has_it():
    """The rounding of float32, which is all that there is in bins 80 dB down, is then the released code's, too."""
    t = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    waveform = (0.3 * torch.sin(2 * torch.pi * (100 + 3000 * t) * t))[None].float()
    emphasised = torch.nn.functional.conv1d(waveform[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    spectrum = torch.stft(emphasised, 1024, 320, 800, torch.hann_window(800, periodic=False), return_complex=True)
    banks = kaldi.get_mel_banks(128, 1024, RATE, 0.0, 15000.0, 100.0, -500.0, 1.0)[0]
    power = banks @ torch.view_as_real(spectrum).square().sum(-1)[0, :-1]
    assert (power < 1e-8 * power.amax(dim=0)).float().mean() > 0.3
    expected = ((power + 1e-5).log() + 4.5) / 5.0
    assert (LogMel("reference").log_mel(waveform)[0] - expected[:, :192]).abs().max() < 1e-5


def test_audiomae_front_end_is_torchaudios_fbank(waveform):
    front_end = LogMel("audiomae", 16000)
    front_end.set_statistics(np.full(128, -4.2677393), np.full(128, 2 * 4.5689974))
    offset = waveform + 0.05  # of which nothing is left
    ours = front_end(offset)
    for clip, mel in zip(offset.numpy(), ours.numpy()):
        expected = audiomae_input(clip, 400).T
        power = np.exp(expected * (2 * 4.5689974))
        assert mel.shape == (128, 400)
        assert_agrees(mel, expected, power)


@pytest.mark.parametrize("name", sorted(FRONT_ENDS))
def test_a_frame_has_its_middle_where_a_click_is_loudest(name):
    front_end = LogMel(name, {"audiomae": 16000, "narrowband": 8000}.get(name, 32000), patch_size=[16, 1])
    for at in (3000, 4013):
        clip = torch.zeros(1, 8000)
        clip[0, at] = 1.0
        power = front_end.frames.power(front_end.frames(clip, front_end.num_frames(8000)))[0].mean(1)
        middles = front_end.frames.first_middle + torch.arange(len(power)) * front_end.hop_length
        assert abs((power * middles).sum() / power.sum() - at) < front_end.hop_length / 8


def test_audiomae_has_1024_frames_of_its_clips():
    clip = 0.1 * np.random.default_rng(0).standard_normal(163840).astype(np.float32)
    front_end = LogMel("audiomae", 16000)
    assert front_end.grid(163840) == (8, 64)
    mel = front_end.log_mel(torch.from_numpy(clip)[None])[0]
    assert mel.shape == (128, 1024) and (mel[:, 1022:] == 0).all()
    np.testing.assert_allclose((mel.T + 4.2677393) / (2 * 4.5689974), audiomae_input(clip, 1024), atol=1e-4)


def test_paper_front_end_is_librosas_log_mel_on_real_recordings(real_audio):
    for path in sorted(real_audio.glob("esc10/*/1-*-A.ogg"))[::8]:
        clip, _ = load_clip(str(path), RATE)
        power = librosa_mel_power(clip)[:, :496]
        assert_agrees(LogMel().log_mel(torch.from_numpy(clip)[None])[0].numpy()[:, :496], np.log(power + 1e-5), power)


@pytest.mark.parametrize("name", ["paper", "reference"])
def test_ten_seconds_are_128_by_992(name):
    front_end = LogMel(name)
    assert front_end(torch.zeros(1, 320000)).shape == (1, 128, 992)
    assert front_end.num_frames(320000) == 992


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [5120, 16000, 31999, 32000, 32001, 64000])
def test_num_frames_tells_what_forward_returns(name, samples):
    front_end = LogMel(name)
    assert front_end(torch.zeros(1, samples)).shape[2] == front_end.num_frames(samples)


def test_a_waveform_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"a waveform of shape \(B, T\), found \(32000,\)"):
        LogMel()(torch.zeros(32000))


def test_clip_shorter_than_a_patch_is_refused():
    with pytest.raises(ValueError, match=r"at least 16 frames \(0.16 s\), found 13 frames"):
        LogMel()(torch.zeros(1, 4000))


@pytest.mark.parametrize("convert", [torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double])
def test_stays_in_float32_when_the_model_is_converted(waveform, convert):
    front_end = LogMel()
    front_end.set_statistics(np.linspace(-8, -4, 128), np.linspace(1, 2, 128))
    converted = copy.deepcopy(front_end)
    {torch.Tensor.half: converted.half, torch.Tensor.bfloat16: converted.bfloat16}.get(convert, converted.double)()
    bits = to_bits(waveform)  # as fairseq's fp16 leaves it
    assert torch.equal(converted(bits), front_end(waveform))


def test_fp16_changes_the_log_mel_by_less_than_a_thousandth(waveform):
    """The batch as `common.fp16` converts it, on the quiet second half of a clip too."""
    utils = pytest.importorskip("fairseq.utils")

    front_end = LogMel()
    quiet = waveform * torch.linspace(1, 1e-4, waveform.shape[1])
    sample = {"net_input": {"waveform": to_bits(quiet)}}
    halved = utils.apply_to_sample(lambda t: t.half() if t.dtype is torch.float32 else t, sample)
    difference = copy.deepcopy(front_end).half()(halved["net_input"]["waveform"]) - front_end(quiet)
    assert difference.abs().max() < 1e-3
    # and it would not do to let the waveform be halved
    assert (front_end(quiet.half()) - front_end(quiet)).abs().max() > 1e-3


def test_autocast_does_not_reach_it(waveform):
    front_end = LogMel()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(front_end(waveform), front_end(waveform.clone()))
        assert front_end(waveform).dtype == torch.float32


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_extreme_clips_give_finite_numbers(name):
    t = torch.arange(RATE) / RATE
    clips = torch.stack([torch.zeros(RATE), torch.ones(RATE), torch.sign(torch.sin(6000 * t)), t * 0 + 2.0**-23])
    assert torch.isfinite(LogMel(name)(clips)).all()


def test_bits_are_the_waveform():
    waveform = torch.randn(2, 100)
    assert torch.equal(from_bits(to_bits(waveform)), waveform)
    with pytest.raises(ValueError, match="expected a waveform of floats .* found torch.int16"):
        from_bits(torch.zeros(1, 10, dtype=torch.int16))


def test_statistics_normalise_and_travel_in_the_checkpoint(waveform):
    front_end = LogMel()
    raw = front_end.log_mel(waveform)
    front_end.set_statistics(raw.mean((0, 2)), raw.std((0, 2)))
    normalised = front_end(waveform)
    assert torch.allclose(normalised.mean((0, 2)), torch.zeros(128), atol=1e-4)
    assert torch.allclose(normalised.std((0, 2)), torch.ones(128), atol=1e-4)
    state = front_end.state_dict()
    assert sorted(state) == ["mel_mean", "mel_std"] and front_end.has_statistics
    other = LogMel()
    other.load_state_dict(state)
    assert torch.equal(other(waveform), normalised)


def test_decibels_undo_the_normalisation(waveform):
    for name in FRONT_ENDS:
        front_end = LogMel(name)
        front_end.set_statistics(np.linspace(-1, 1, front_end.n_mels), np.linspace(0.5, 2, front_end.n_mels))
        log_mel = front_end.log_mel(waveform) * front_end.params.log_scale - front_end.params.log_shift
        assert torch.allclose(front_end.to_decibels(front_end(waveform)), 10 * log_mel / np.log(10), atol=1e-3)


def test_bins_that_hardly_vary_are_not_blown_up():
    front_end = LogMel()
    std = np.full(128, 2.0)
    std[100:] = [0.0] * 14 + [1e-4] * 14
    front_end.set_statistics(np.zeros(128), std)
    assert front_end.mel_std[:100].eq(2.0).all()
    assert front_end.mel_std[100:].eq(0.05 * 2.0).all()


def test_statistics_as_uneven_as_the_released_ones_pass_unchanged():
    # a deviation of 0.712 overall and of 0.043 in the emptiest bins
    std = np.full(128, 0.712)
    std[120:] = 0.043
    front_end = LogMel("reference")
    front_end.set_statistics(np.zeros(128), std)
    np.testing.assert_allclose(front_end.mel_std.numpy(), std.astype(np.float32))


@pytest.mark.parametrize(
    "mean, std, message",
    [
        (np.zeros(64), np.ones(64), "statistics of 128 mel bins, found"),
        (np.full(128, np.nan), np.ones(128), "finite statistics, found NaN"),
        (np.zeros(128), np.zeros(128), "measured on silence"),
    ],
)
def test_bad_statistics_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        LogMel().set_statistics(mean, std)


def test_unknown_front_end_is_refused():
    with pytest.raises(ValueError, match=r"out of \['audiomae', 'narrowband', 'paper', 'reference'\], found 'kaldi'"):
        LogMel("kaldi")


def test_rate_too_low_for_the_filters_is_refused():
    with pytest.raises(ValueError, match="at least 28000 Hz for the mel filters .* found 16000"):
        LogMel(sample_rate=16000)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_mel_jitter_depends_on_the_clips_key_alone(waveform, name):
    front_end = LogMel(name, mel_jitter=True).train()
    keys = np.array([[1, 1, 0], [1, 1, 1]])
    both = front_end(waveform, keys)
    assert torch.allclose(front_end(waveform[1:], keys[1:])[0], both[1], atol=1e-5)
    assert not torch.allclose(front_end(waveform, keys + [0, 1, 0]), both, atol=1e-2)
    with pytest.raises(ValueError, match="keys .* for mel_jitter in training, found none"):
        front_end(waveform)
    assert torch.equal(front_end.eval()(waveform), LogMel(name).eval()(waveform))


def test_mel_jitter_has_the_filters_between_the_clips_edges(waveform):
    keys = np.array([[1, 1, 0], [1, 1, 1]])
    found = LogMel(mel_jitter=True).train().log_mel(waveform, keys)
    for clip, mel, key in zip(waveform.numpy(), found.numpy(), keys):
        f_min, f_max = jittered_edges(key)
        power = librosa_mel_power(clip, fmin=f_min, fmax=f_max)[:, :192]
        assert_agrees(mel, np.log(power + 1e-5), power)


def test_jittered_edges_are_whole_numbers_all_over_their_ranges():
    edges = np.array([jittered_edges((1, 1, clip)) for clip in range(1000)])
    assert set(edges[:, 0]) == set(range(JITTER_F_MIN[0], JITTER_F_MIN[1] + 1))
    assert (edges == edges.round()).all()
    low, high = JITTER_F_MAX
    assert low <= edges[:, 1].min() < low + 20 and high - 20 < edges[:, 1].max() <= high


def test_mel_jitter_needs_a_rate_for_its_highest_edge():
    with pytest.raises(ValueError, match="at least 32000 Hz for the mel filters .* found 31999"):
        LogMel(sample_rate=31999, mel_jitter=True)
