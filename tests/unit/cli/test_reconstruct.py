import numpy as np
import pytest
import soundfile
import torch

from maskspec_fairseq.cli import reconstruct
from tests.factories import pretraining_cfg, small_autoencoder, write_tone


def save(path, name="maskspec", **kwargs):
    model = small_autoencoder(**kwargs)
    cfg = pretraining_cfg()
    cfg.update(kwargs, _name=name)
    torch.save({"model": model.state_dict(), "cfg": {"model": cfg, "task": {"clip_sec": 1.0, "channel": "mix"}}}, path)
    return str(path)


def pickled(path):
    """A file of torch.save with more than data in it."""
    torch.save({"cfg": {"model": {"_name": "maskspec"}}, "run": print}, path)
    return str(path)


@pytest.fixture()
def audio(tmp_path):
    return str(write_tone(tmp_path / "a clip.wav", 2.0, 44100))


def test_picture_is_written_and_the_loss_is_said(tmp_path, audio, capsys):
    out = tmp_path / "new" / "r.png"
    arguments = [audio, "--checkpoint", save(tmp_path / "c.pt"), "--device", "cpu"]
    assert reconstruct.main([*arguments, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and [path.name for path in out.parent.iterdir()] == ["r.png"]
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: squared error per masked value: model ")
    assert ", always predicting their mean " in said
    assert reconstruct.main([*arguments, "--out", str(tmp_path / "plain")]) == 0
    assert (tmp_path / "plain.png").is_file()


def test_sounds_are_written_next_to_the_picture(tmp_path, audio, capsys):
    out = tmp_path / "r.png"
    assert reconstruct.main([audio, "--checkpoint", save(tmp_path / "c.pt"), "--out", str(out), "--wav"]) == 0
    said, sounds = capsys.readouterr().out, {}
    for name in ("original", "masked", "reconstruction"):
        path = tmp_path / f"r_{name}.wav"
        sounds[name], rate = soundfile.read(path)
        assert rate == 32000 and sounds[name].shape == (95 * 320,)  # 96 frames of 10 ms
        assert str(path) in said
    assert np.abs(np.stack(list(sounds.values()))).max() <= 1
    assert 0 < sounds["masked"].std() < sounds["original"].std()
    spectrum = np.abs(np.fft.rfft(sounds["original"]))
    assert np.argmax(spectrum) * rate / len(sounds["original"]) == pytest.approx(440, abs=20)


def test_sound_of_a_front_end_that_has_none_is_refused_before_anything_is_written(tmp_path, audio, capsys):
    checkpoint, out = save(tmp_path / "c.pt", front_end="audiomae", sample_rate=16000), tmp_path / "r.png"
    arguments = [audio, "--checkpoint", checkpoint, "--out", str(out)]
    assert reconstruct.main([*arguments, "--wav"]) == 2
    assert "found 'audiomae' with the framing of 'kaldi'; leave --wav out" in capsys.readouterr().err
    assert not out.exists()
    assert reconstruct.main(arguments) == 0 and out.is_file()


def test_what_cannot_be_reconstructed_is_refused(tmp_path, audio, capsys):
    out = str(tmp_path / "r.png")
    for checkpoint, sound, message in [
        (save(tmp_path / "other.pt", name="hubert"), audio, "of the model 'maskspec', found 'hubert'"),
        (str(tmp_path / "none.pt"), audio, "found no such file"),
        (audio, audio, "a clip.wav: expected a checkpoint of a maskspec run, found:"),
        (pickled(tmp_path / "code.pt"), audio, "code.pt: expected a checkpoint of a maskspec run, found:"),
        (save(tmp_path / "c.pt"), str(tmp_path / "none.wav"), "expected audio that soundfile decodes"),
    ]:
        assert reconstruct.main([sound, "--checkpoint", checkpoint, "--out", out]) == 2
        assert message in capsys.readouterr().err
    good = [audio, "--checkpoint", str(tmp_path / "c.pt")]
    for arguments, message in [
        (["--out", str(tmp_path / "c.pt" / "r.png")], "c.pt"),
        (["--mask-ratio", "0", "--out", out], "expected mask_ratio in [0.05, 0.95], found 0.0"),
        (["--clip-sec", "0.1", "--out", out], "expected clips of at least 16 frames"),
    ]:
        assert reconstruct.main([*good, *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        reconstruct.main([*good, "--clip-sec", "0"])
    assert "expected seconds above 0, found 0" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()


@pytest.mark.parametrize("name", ["x.wav", "run_v1.2", "folder"])
def test_an_out_that_is_not_a_picture_is_refused_before_the_model_is_read(tmp_path, audio, capsys, name):
    (tmp_path / "folder").mkdir()
    assert reconstruct.main([audio, "--checkpoint", "none.pt", "--out", str(tmp_path / name), "--wav"]) == 2
    assert "expected --out to name a picture, such as NAME.png" in capsys.readouterr().err
    assert not (tmp_path / "folder.png").exists()
