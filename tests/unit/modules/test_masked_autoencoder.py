import numpy as np
import pytest
import torch
from torch import nn

from maskspec_fairseq.checkpoints.read import model_arguments
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.masking import gather_tokens, random_masking, split_by_mask
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.modules.positions import sincos_positions
from maskspec_fairseq.modules.transformer import TokenStack
from tests.factories import SMALL_AUTOENCODER, small_autoencoder

KEYS = np.array([[1, 1, 0], [1, 1, 1]])


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "width, heads, papers", [(768, 12, 86), (384, 6, 22), (192, 3, 5.6)], ids=["base", "small", "tiny"]
)
def test_encoders_have_the_papers_parameter_counts(width, heads, papers):
    """Twelve blocks of 12 D^2 + 13 D, the projection of 256 values, the last norm; table 1 rounds, and has a head."""
    encoder = MaskedAutoencoder(
        encoder_embed_dim=width, encoder_attention_heads=heads, encoder_ffn_embed_dim=4 * width
    ).encoder
    count = sum(p.numel() for p in encoder.parameters())
    assert count == 12 * (12 * width**2 + 13 * width) + 257 * width + 2 * width
    # 85.3, 21.4 and 5.4 million; with a layer to AudioSet's 527 classes 85.7, 21.6 and 5.5
    assert (count + 528 * width) / 1e6 == pytest.approx(papers, rel=0.025)


def test_ffn_of_2048_is_not_the_papers_count():
    encoder = MaskedAutoencoder(encoder_ffn_embed_dim=2048).encoder
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(66.4, abs=0.1)


def test_decoder_is_the_papers():
    decoder = MaskedAutoencoder().decoder
    block = decoder.blocks[0]
    assert len(decoder.blocks) == 8 and block.attn.num_heads == 16
    assert block.mlp.fc1.weight.shape == (2048, 512) and decoder.pred.weight.shape == (256, 512)


def test_prediction_target_and_mask_fit_together(waveform):
    model = small_autoencoder()
    output = model(waveform, clip_key=KEYS)
    patches = patchify(model.front_end(waveform), 16)
    assert output["prediction"].shape == output["target"].shape == (2, 36, 256)  # 0.75 of 8 x 6
    assert torch.equal(output["mask"], random_masking(KEYS, 48, 0.75))
    assert torch.equal(output["target"], patches[output["mask"]].view(2, 36, 256))


@pytest.mark.parametrize("cls_token", [False, True])
def test_is_the_plain_masked_autoencoder(waveform, cls_token):
    """The same function, written as MAE writes it: masked tokens put back in place, every patch predicted."""
    model = small_autoencoder(cls_token=cls_token).eval()
    output = model(waveform, clip_key=KEYS)
    patches, mask = patchify(model.front_end(waveform), 16), output["mask"]
    encoder, decoder = model.encoder, model.decoder
    tokens = encoder.patch_embed(patches) + sincos_positions(8, 6, 32)
    visible = torch.stack([row[~hidden] for row, hidden in zip(tokens, mask)])
    if cls_token:
        visible = torch.cat([encoder.cls_token.expand(2, -1, -1), visible], dim=1)
    encoded = decoder.embed(encoder.run_blocks(visible))
    first = 1 if cls_token else 0
    full = decoder.mask_token.expand(2, 48, -1).clone()
    full[~mask] = encoded[:, first:].reshape(-1, 16)
    full = torch.cat([encoded[:, :first], full + sincos_positions(8, 6, 16)], dim=1)
    prediction = decoder.pred(decoder.run_blocks(full))[:, first:]
    assert torch.allclose(output["prediction"], prediction[mask].view(2, 36, 256), atol=1e-5)


@pytest.mark.parametrize("bins, frames", [(16, 4), (16, 8), (128, 2), (64, 4)])
def test_rectangular_patches_are_the_plain_masked_autoencoder(waveform, bins, frames):
    """Patches by torch's Unfold, and the function as MAE writes it, on a grid of other rows and columns."""
    model = small_autoencoder(patch_size=[bins, frames]).eval()
    output = model(waveform, clip_key=KEYS)
    spectrogram = model.front_end(waveform)  # 101 frames, cut to whole patches
    rows, columns = 128 // bins, 101 // frames
    assert spectrogram.shape == (2, 128, columns * frames)
    patches = nn.Unfold((bins, frames), stride=(bins, frames))(spectrogram[:, None]).transpose(1, 2)
    mask, hidden = output["mask"], int(0.75 * rows * columns)
    assert mask.sum(1).tolist() == [hidden, hidden] and not torch.equal(mask[0], mask[1])
    assert torch.equal(output["target"], patches[mask].view(2, hidden, bins * frames))
    encoder, decoder = model.encoder, model.decoder
    tokens = encoder.patch_embed(patches) + sincos_positions(rows, columns, 32)
    encoded = decoder.embed(encoder.run_blocks(torch.stack([row[~own] for row, own in zip(tokens, mask)])))
    full = decoder.mask_token.expand(2, rows * columns, -1).clone()
    full[~mask] = encoded.reshape(-1, 16)
    prediction = decoder.pred(decoder.run_blocks(full + sincos_positions(rows, columns, 16)))
    assert torch.allclose(output["prediction"], prediction[mask].view(2, hidden, -1), atol=1e-5)


def test_rectangular_patches_of_padding_are_not_scored(waveform):
    """Columns of 40 ms: of a clip of 0.5 s those that begin before its end."""
    model = small_autoencoder(patch_size=[16, 4])
    output = model(waveform, torch.tensor([32000, 16000]), clip_key=KEYS)
    column = output["mask"].nonzero()[:, 1].view(2, -1) % 25
    assert output["scored"][0].all() and torch.equal(output["scored"][1], column[1] * 0.04 < 0.5)


def test_squares_of_a_pair_are_those_of_a_number(waveform):
    pair, number = small_autoencoder(patch_size=(16, 16)), small_autoencoder(patch_size=16)
    outputs = pair(waveform, clip_key=KEYS), number(waveform, clip_key=KEYS)
    assert all(torch.equal(outputs[0][name], outputs[1][name]) for name in outputs[0])
    assert pair.patch_size == number.patch_size == (16, 16)


def test_rectangular_patches_learn(waveform):
    model = small_autoencoder(patch_size=[16, 4])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        output = model(waveform, clip_key=KEYS)
        total, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        losses.append((total / count).item())
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]


def places_of(target: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Where each patch of (B, K, P) is among those of (B, L, P)."""
    return (target[:, :, None] == patches[:, None]).all(dim=3).long().argmax(dim=2)


@pytest.mark.parametrize("cls_token", [False, True])
def test_a_share_is_a_full_decode_in_which_nobody_attends_to_the_patches_left_out(waveform, cls_token):
    """The blocks written out, over all tokens in the order of the grid, with the attention to them set to 0."""
    model = small_autoencoder(cls_token=cls_token, decoder_share=0.25).train()
    output = model(waveform, clip_key=KEYS)
    decoder, patches, hidden = model.decoder, patchify(model.front_end(waveform), 16), output["mask"]
    visible = split_by_mask(hidden)[0]
    decoded = places_of(output["target"], patches)
    assert output["prediction"].shape == output["target"].shape == (2, 9, 256) and output["scored"].shape == (2, 9)
    assert torch.equal(hidden, random_masking(KEYS, 48, 0.75)) and hidden.gather(1, decoded).all()
    first, encoded = int(cls_token), decoder.embed(model.encoder(patches, visible, (8, 6)))
    for clip in range(2):
        tokens = decoder.mask_token[0].expand(48, -1).clone()
        tokens[visible[clip]] = encoded[clip, first:]
        tokens = torch.cat([encoded[clip, :first], tokens + sincos_positions(8, 6, 16)])  # ([1 +] L, E)
        seen = torch.zeros(len(tokens), dtype=torch.bool)
        seen[:first] = seen[first + visible[clip]] = seen[first + decoded[clip]] = True
        for block in decoder.blocks:
            query, key, value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=1)
            heads = []
            for q, k, v in zip(query.chunk(2, dim=1), key.chunk(2, dim=1), value.chunk(2, dim=1)):
                scores = (q @ k.T / 8**0.5).masked_fill(~seen, float("-inf"))
                heads.append(scores.softmax(dim=1) @ v)
            tokens = tokens + block.attn.proj(torch.cat(heads, dim=1))
            tokens = tokens + block.mlp(block.norm2(tokens))
        expected = decoder.pred(decoder.norm(tokens))[first + decoded[clip]]
        torch.testing.assert_close(output["prediction"][clip], expected, rtol=1e-4, atol=1e-5)
        loss, _ = masked_spectrogram_loss(*(output[name][clip, None] for name in ("prediction", "target", "scored")))
        assert loss.item() == pytest.approx(((expected - patches[clip, decoded[clip]]) ** 2).sum().item(), rel=1e-5)


@pytest.mark.parametrize("cls_token", [False, True])
def test_with_cross_attention_masked_places_attend_to_the_encoded_patches_alone(waveform, cls_token):
    """torch's own multi-head attention, from the masked places to the encoded patches, the same in every block."""
    model = small_autoencoder(cls_token=cls_token, decoder_attention="cross", decoder_share=0.25).train()
    nn.init.normal_(model.decoder.memory_norm.weight, mean=1, std=0.5)
    output = model(waveform, clip_key=KEYS)
    decoder, patches = model.decoder, patchify(model.front_end(waveform), 16)
    visible, positions = split_by_mask(output["mask"])[0], sincos_positions(8, 6, 16)
    decoded = places_of(output["target"], patches)
    first, memory = int(cls_token), decoder.embed(model.encoder(patches, visible, (8, 6)))  # (B, [1 +] V, E)
    memory[:, first:] += positions[visible]
    memory = decoder.memory_norm(memory)
    tokens = decoder.mask_token + positions[decoded]  # (B, K, E)
    for block in decoder.blocks:
        attention = nn.MultiheadAttention(16, block.attn.num_heads, batch_first=True)
        attention.in_proj_weight, attention.in_proj_bias = block.attn.qkv.weight, block.attn.qkv.bias
        attention.out_proj = block.attn.proj
        tokens = tokens + attention(block.norm1(tokens), memory, memory)[0]
        tokens = tokens + block.mlp(block.norm2(tokens))
    torch.testing.assert_close(output["prediction"], decoder.pred(decoder.norm(tokens)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["self", "cross"])
def test_by_cross_attention_a_prediction_does_not_depend_on_what_else_is_decoded(waveform, attention):
    model = small_autoencoder(decoder_attention=attention, decoder_share=0.25)
    patches = patchify(model.front_end(waveform), 16)
    some, all_of_them = model.train()(waveform, clip_key=KEYS), model.eval()(waveform, clip_key=KEYS)
    places = torch.zeros(2, 48, dtype=torch.long).scatter(
        1, places_of(all_of_them["target"], patches), torch.arange(36).expand(2, -1)
    )
    same = gather_tokens(all_of_them["prediction"], places.gather(1, places_of(some["target"], patches)))
    assert torch.allclose(some["prediction"], same, atol=1e-5) == (attention == "cross")


def test_all_masked_patches_are_decoded_in_eval_mode_and_by_a_share_of_one(waveform):
    full = small_autoencoder()(waveform, clip_key=KEYS)
    for model in (small_autoencoder(decoder_share=0.25).eval(), small_autoencoder(decoder_share=1.0).train()):
        output = model(waveform, clip_key=KEYS)
        assert all(torch.equal(output[name], full[name]) for name in full)


def test_what_is_decoded_does_not_depend_on_the_batch(waveform):
    model = small_autoencoder(decoder_share=0.25).train()
    whole = model(waveform, clip_key=KEYS)
    swapped, alone = model(waveform.flip(0), clip_key=KEYS[::-1]), model(waveform[1:], clip_key=KEYS[1:])
    assert torch.equal(swapped["target"].flip(0), whole["target"]) and torch.equal(alone["target"], whole["target"][1:])
    assert torch.allclose(alone["prediction"][0], whole["prediction"][1], atol=1e-5)
    with pytest.raises(ValueError, match="keys .* for decoder_share in training, found none"):
        model(waveform, mask=whole["mask"])


@pytest.mark.parametrize("layers", [1, 3])
def test_the_last_tokens_of_a_stack_are_those_of_the_whole_stack(layers):
    torch.manual_seed(0)
    stack = TokenStack(32, layers, 2, 64)
    tokens = torch.randn(2, 10, 32)
    outputs = []
    last = stack.run_blocks(tokens, layers=outputs, num_queries=4)
    assert torch.allclose(last, stack.run_blocks(tokens)[:, -4:], atol=1e-5)
    assert [output.shape[1] for output in outputs] == [10] * (layers - 1) + [4]


def test_hidden_patches_do_not_leak_into_their_prediction(waveform):
    model = small_autoencoder()
    patches = patchify(model.front_end(waveform), 16)
    mask = random_masking(KEYS, 48, 0.75)
    visible, masked = split_by_mask(mask)
    other = patches.clone()
    other[mask] = torch.randn_like(other[mask])
    predictions = [model.decoder(model.encoder(p, visible, (8, 6)), visible, masked, (8, 6)) for p in (patches, other)]
    assert torch.equal(*predictions)
    other[0, visible[0, 0]] += 1
    changed = model.decoder(model.encoder(other, visible, (8, 6)), visible, masked, (8, 6))
    assert not torch.allclose(changed[0], predictions[0][0]) and torch.equal(changed[1], predictions[0][1])


class Spectrogram(nn.Module):
    """In the front end's place, to differentiate by what comes out of it."""

    hop_length = 320

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def grid(self, num_samples: int):
        return 8, 6

    def forward(self, waveform: torch.Tensor, clip_key=None) -> torch.Tensor:
        return self.values


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_loss_has_no_gradient_at_visible_patches_targets(waveform, norm_pix_loss):
    """Of the whole model's loss: with the encoder cut off, visible patches count for nothing and masked ones do.

    With the encoder, visible patches count; the masked ones' share is the same, for they reach the loss as targets
    alone. The last clip is half padding, whose patches are in no target.
    """
    model = small_autoencoder(norm_pix_loss=norm_pix_loss)
    model.front_end = Spectrogram(model.front_end(waveform))
    num_samples = torch.tensor([32000, 15000])

    def gradient(cut: bool) -> torch.Tensor:
        encode = model.encoder.forward
        model.encoder.forward = lambda *args: encode(*args).detach() if cut else encode(*args)
        output = model(waveform, num_samples, clip_key=KEYS)
        model.encoder.forward = encode
        loss, _ = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        (grad,) = torch.autograd.grad(loss, [model.front_end.values])
        return patchify(grad, 16)

    mask = random_masking(KEYS, 48, 0.75)
    padding = torch.zeros_like(mask)
    padding[1] = torch.arange(48) % 6 >= 3  # 15000 samples end in the third column
    through, cut = gradient(cut=False), gradient(cut=True)
    assert (cut[~mask | padding] == 0).all() and (cut[mask & ~padding] != 0).any(dim=1).all()
    assert torch.equal(through[mask], cut[mask]) and (through[~mask] != 0).any(dim=1).all()


def test_gradients_reach_the_targets_of_decoded_patches_alone(waveform):
    model = small_autoencoder(decoder_share=0.25).train()
    model.front_end = Spectrogram(model.front_end(waveform))
    encode = model.encoder.forward
    model.encoder.forward = lambda *args: encode(*args).detach()
    output = model(waveform, clip_key=KEYS)
    loss, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
    (grad,) = torch.autograd.grad(loss, [model.front_end.values])
    reached = patchify(grad, 16).abs().sum(dim=2) > 0
    assert count == 2 * 9 * 256 and reached.sum(dim=1).tolist() == [9, 9]
    decoded = places_of(output["target"], patchify(model.front_end.values, 16))
    assert reached.gather(1, decoded).all()


@pytest.mark.parametrize("decoder_share, attention", [(1.0, "self"), (0.25, "self"), (0.25, "cross")])
def test_every_parameter_learns(waveform, decoder_share, attention):
    model = small_autoencoder(cls_token=True, decoder_share=decoder_share, decoder_attention=attention)
    output = model(waveform, clip_key=KEYS)
    (output["prediction"] - output["target"]).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("seconds, columns", [(0.2, 1), (1, 6), (3.7, 23), (10, 62)])
def test_any_clip_length_works(seconds, columns):
    output = small_autoencoder()(torch.randn(1, round(seconds * 32000)), clip_key=KEYS[:1])
    assert output["mask"].shape == (1, 8 * columns)


def test_a_narrow_band_has_half_the_rows_and_a_finer_time():
    model = MaskedAutoencoder(**SMALL_AUTOENCODER, front_end="narrowband", sample_rate=8000)
    output = model(torch.randn(1, 5120), clip_key=KEYS[:1])  # 0.64 s
    assert output["mask"].shape == (1, 4 * 8) and output["prediction"].shape == (1, 24, 256)


def test_norm_pix_targets_and_their_inverse(waveform):
    model = small_autoencoder(norm_pix_loss=True)
    patches = torch.randn(2, 5, 256) * 3 + 1
    target = model.normalise_target(patches)
    assert torch.allclose(target, nn.functional.layer_norm(patches, (256,)) * (255 / 256) ** 0.5, atol=1e-4)
    assert torch.allclose(model.denormalise_prediction(target, patches), patches, atol=1e-4)
    plain = small_autoencoder()
    assert torch.equal(plain.normalise_target(patches), patches)
    assert torch.equal(plain.denormalise_prediction(patches, target), patches)


def test_patches_of_nothing_but_padding_are_not_scored(waveform):
    output = small_autoencoder()(waveform, torch.tensor([32000, 5121]), clip_key=KEYS)
    _, masked = split_by_mask(output["mask"])
    assert output["scored"][0].all()
    # 5121 samples reach into the second column, whose first frame is centred on sample 5120
    assert torch.equal(output["scored"][1], masked[1] % 6 < 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_model_predicts_like_the_full_one(waveform, dtype):
    model = small_autoencoder()
    full = model(waveform, clip_key=KEYS)
    half = model.to(dtype)(waveform, clip_key=KEYS)
    assert half["prediction"].dtype == dtype and half["target"].dtype == torch.float32
    assert torch.equal(half["target"], full["target"])
    error = (half["prediction"].float() - full["prediction"]).square().mean() / full["prediction"].square().mean()
    assert error.sqrt() < {torch.float16: 0.005, torch.bfloat16: 0.05}[dtype]


def test_config_is_taken_by_argument_name():
    cfg = (
        dict(SMALL_AUTOENCODER, front_end="reference", sample_rate=32000, mel_jitter=True, patch_size=16,
             mask_ratio=0.5, decoder_share=0.25, decoder_attention="cross", cls_token=True, position_grid=[8, 6],
             dropout=0.1, drop_path=0.2, norm_pix_loss=True, _name="maskspec")
    )  # fmt: skip
    model = MaskedAutoencoder(**model_arguments(MaskedAutoencoder, cfg))
    assert isinstance(model.front_end, LogMel) and model.front_end.params.name == "reference"
    assert (model.mask_ratio, model.decoder_share) == (0.5, 0.25) and model.decoder.memory_norm is not None
    assert model.encoder.cls_token is not None and model.encoder.position_grid == (8, 6)
    assert model.encoder.drop_path_rates == pytest.approx([0.0, 0.2])
    assert model.decoder.drop_path_rates == [0.0, 0.0]


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(mask_ratio=0.99), r"expected mask_ratio in \[0.05, 0.95\], found 0.99"),
        (dict(decoder_share=0.0), "expected model.decoder_share above 0 and at most 1, found 0.0"),
        (dict(decoder_attention="none"), "expected model.decoder_attention out of self, cross, found 'none'"),
        (dict(patch_size=10), "a patch size that divides 128 mel bins, found 10 x 10 .* 'paper'"),
        (
            dict(patch_size=[80, 4]),
            r"divides 128 mel bins, found 80 x 4 .*; set model.patch_size=\[BINS,4\] with BINS out of 1, 2, 4, 8, 16, "
            "32, 64, 128, or another model.front_end",
        ),
        (dict(patch_size=[16, 4, 2]), r"expected model.patch_size as \[bins, frames\], .*, found \[16, 4, 2\]"),
        (dict(front_end="kaldi"), "expected a front end out of"),
        (dict(position_grid=[8]), r"expected model.position_grid as \[rows, columns\], .* found \[8\]"),
        (dict(drop_path=1.0), "expected model.drop_path from 0 to below 1, found 1.0"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(**SMALL_AUTOENCODER, **kwargs)


def test_stochastic_depth_depends_on_the_clips_key_alone(waveform):
    model, plain = small_autoencoder(drop_path=0.5).train(), small_autoencoder()
    mask = random_masking(KEYS, 48, 0.75)
    whole = model(waveform, clip_key=KEYS, mask=mask)["prediction"]
    alone = model(waveform[1:], clip_key=KEYS[1:], mask=mask[1:])["prediction"]
    assert torch.allclose(alone[0], whole[1], atol=1e-5)
    others = [model(waveform, clip_key=KEYS + [0, n, 0], mask=mask)["prediction"] for n in range(1, 6)]
    assert not all(torch.allclose(other, whole, atol=1e-4) for other in others)
    expected = plain.eval()(waveform, mask=mask)["prediction"]
    assert torch.equal(model.eval()(waveform, mask=mask)["prediction"], expected)
    with pytest.raises(ValueError, match="keys .* for drop_path in training, found none"):
        model.train()(waveform, mask=mask)


def test_learned_positions_begin_as_the_sinusoidal_ones_and_learn(waveform):
    model, plain = small_autoencoder(position_grid=[8, 6], cls_token=True), small_autoencoder(cls_token=True)
    weights = model.state_dict()
    model.load_state_dict({**plain.state_dict(), "encoder.learned_positions": weights["encoder.learned_positions"]})
    output = model(waveform, clip_key=KEYS)
    assert torch.equal(output["prediction"], plain(waveform, clip_key=KEYS)["prediction"])
    output["prediction"].square().sum().backward()
    gradient = model.encoder.learned_positions.grad.view(48, 32).abs().sum(1)
    visible, _ = split_by_mask(output["mask"])
    assert sorted(visible.unique().tolist()) == gradient.nonzero()[:, 0].tolist()


def test_a_shorter_clip_has_the_first_of_the_learned_positions(waveform):
    model = small_autoencoder(position_grid=[8, 6])
    table = torch.randn(8, 6, 32, generator=torch.Generator().manual_seed(0))
    model.encoder.learned_positions.data = table.flatten()
    like = torch.zeros(1, dtype=torch.float64)
    assert torch.equal(model.encoder.positions((8, 4), like)[0], table[:, :4].reshape(32, 32).double())
    assert model.encoder.positions((8, 9), like).shape == (1, 72, 32)
    assert model(torch.randn(1, 50000), clip_key=KEYS[:1])["mask"].shape == (1, 72)


def test_a_mask_or_keys_are_needed(waveform):
    with pytest.raises(ValueError, match="either a mask or the clips' keys"):
        small_autoencoder()(waveform)
