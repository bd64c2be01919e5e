"""The attack on heads over a frozen backbone: embeddings, what starts agree on, and images of them."""

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny_targets import dense_stack, forward, generator, headed_target, smooth_images, stationary
from torch import nn
from torch.nn.functional import cosine_similarity, normalize

from auditcli.attacks import all_attacks, run
from auditcli.attacks.transfer._clusters import agreement, representatives
from auditcli.attacks.transfer._embeddings import Settings, _combine, search
from auditcli.attacks.transfer._prior import Priors
from auditcli.attacks.transfer._typical import typical_norm
from auditcli.errors import AttackError
from auditcli.outcomes import attempt
from auditcli.types import Budget, Head, StopReason
from auditcli.weights import Sides, margin_gradients, span

TRANSFER = next(attack for attack in all_attacks() if attack.name == "transfer")
SETTINGS = Settings(**{name: TRANSFER.settings[name] for name in Settings.__slots__})
SMALL = Budget(steps=6, seconds=60, candidates=4, restarts=2)


def nearest(ours, theirs):
    """Highest cosine of each of ours with any of theirs."""
    return (normalize(ours, dim=1) @ normalize(theirs, dim=1).T).amax(dim=1)


def planted(n, outputs=1, seed=0):
    """A head at rest on some features, those features, and others of the same kind."""
    features = torch.randn(2 * n, 30, generator=generator(seed))
    dense, _ = stationary(features[:n].view(n, 1, 5, 6), outputs, mean=0.0, std=1.0, widths=(40,))
    return dense, features[:n], features[n:]


# ---- embeddings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_what_embeddings_explain_is_the_gradient_of_their_margins(outputs):
    dense = dense_stack(20, 12, 7, outputs, activation="tanh", dtype=torch.float64)
    inputs = torch.randn(5, 20, dtype=torch.float64, generator=generator())
    multipliers = torch.rand(1, 5, dtype=torch.float64, generator=generator(1))
    sides, weights = Sides.balanced(5, max(2, outputs)), span(dense, at_least=20)
    layer = torch.cat([dense.weights[0], dense.biases[0][:, None]], dim=1).requires_grad_()
    logits = forward(dense, torch.cat([inputs, torch.ones(5, 1, dtype=torch.float64)], dim=1) @ layer.T)
    if outputs == 1:
        margins = (2.0 * sides.labels - 1) * logits[:, 0]
    else:
        own = nn.functional.one_hot(sides.labels, outputs).bool()
        others = logits.masked_fill(own, -torch.inf).softmax(dim=1).detach()
        margins = logits[own] - (others * logits.masked_fill(own, 0)).sum(dim=1)
    (slow,) = torch.autograd.grad((multipliers[0] * margins).sum(), layer)
    # The network as it is, and not its first layer within the span.
    first = inputs @ dense.weights[0].T + dense.biases[0]
    gradients = margin_gradients(dense, first, sides, sharpness=math.inf)
    ours = _combine(gradients[None], weights.coordinates(inputs)[None], multipliers)
    torch.testing.assert_close(ours[0], slow @ weights.basis)


@pytest.mark.parametrize("outputs", [1, 2])
def test_it_finds_the_embeddings_a_head_rests_on_and_no_others(outputs):
    dense, members, others = planted(6, outputs)
    *_, found = search(
        *(dense, 2),
        starts=3,
        candidates=12,
        steps=300,
        norm=float(members.norm(dim=1).median()),
        rng=generator(),
        settings=SETTINGS,
    )
    everything = found.embeddings.flatten(0, 1)
    near, far = nearest(members, everything), nearest(others, everything)
    assert found.residual.max() < 0.3
    assert near.max() > 0.9
    assert near.min() > far.max()


def test_starts_do_not_know_of_each_other():
    dense, members, _ = planted(6)
    norm = float(members.norm(dim=1).median())
    together, alone = (
        [*search(dense, 2, starts=s, candidates=6, steps=3, norm=norm, rng=generator(), settings=SETTINGS)]
        for s in (2, 1)
    )
    shape = together[0].embeddings.shape
    assert shape[0] == 2
    assert not torch.equal(together[-1].embeddings[0], together[-1].embeddings[1])
    assert alone[0].embeddings.shape == (1, *shape[1:])


# ---- what starts agree on -------------------------------------------------------------------------------------------


def clouds(starts, places, n=12, seed=0):
    """Candidates of several starts: as many starts as it says are near each place, all else is anywhere."""
    rng = generator(seed)
    directions = normalize(torch.randn(len(places), 40, generator=rng), dim=1)
    found = torch.randn(starts, n, 40, generator=rng)
    for index, count in enumerate(places):
        for start in range(count):
            noise = 0.02 * torch.randn(40, generator=rng)
            found[start, index] = (1 + index) * (directions[index] + noise)  # the length says nothing
    return found, directions


def test_what_most_starts_share_comes_first_and_is_counted():
    found, directions = clouds(5, (3, 5, 2))
    chosen, shared = representatives(found, 0.1)
    assert shared[:3].tolist() == [5, 3, 2]
    assert (shared[3:] == 1).all()
    torch.testing.assert_close(chosen.norm(dim=1), torch.ones(len(chosen)))
    assert (cosine_similarity(chosen[:3], directions[[1, 0, 2]]) > 0.98).all()


def test_one_start_that_places_many_at_one_point_counts_once():
    found, directions = clouds(4, (2,))
    found[3, 1:9] = normalize(torch.randn(40, generator=generator(9)), dim=0) + 0.01 * torch.randn(8, 40)
    chosen, shared = representatives(found, 0.1)
    assert cosine_similarity(chosen[0], directions[0], dim=0) > 0.98
    assert shared[:2].tolist() == [2, 1]


def test_what_cannot_be_clustered_is_an_answer_or_an_error():
    only = torch.tensor([[[3.0, 4.0]]])
    directions, shared = representatives(only, 0.1)
    torch.testing.assert_close(directions, torch.tensor([[0.6, 0.8]]))
    assert shared.tolist() == [1]
    with pytest.raises(AttackError, match="not finite"):
        representatives(torch.full((2, 3, 4), torch.nan), 0.1)


def test_agreement_is_half_of_the_starts_or_the_best_there_is():
    assert agreement(8, torch.tensor([7, 4, 1])) == 4
    assert agreement(5, torch.tensor([5, 1])) == 3
    assert agreement(8, torch.tensor([2, 1])) == 2


# ---- images of embeddings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20), (3, 33, 33)])
def test_a_prior_draws_images_and_shares_nothing_with_the_next(shape):
    priors = Priors(3, shape, 6, generator()).to(torch.device("cpu"))
    drawn = priors()
    assert drawn.shape == (3, *shape)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    for weight, gradient in zip(priors.weights, torch.autograd.grad(drawn[1].sum(), priors.weights), strict=True):
        assert weight.shape == gradient.shape
        assert not gradient[[0, 2]].any()
    assert torch.autograd.grad(priors()[1].sum(), priors.weights[0])[0][1].any()


def test_a_prior_comes_to_an_image_with_the_features_it_is_told():
    images = smooth_images(2, 12)
    features = headed_target(dense_stack(144, 9, 1)).head.features
    priors = Priors(2, (1, 12, 12), 8, generator()).to(torch.device("cpu"))
    optimizer = torch.optim.Adam(priors.weights, lr=0.01)
    for _ in range(120):
        distance = 1 - cosine_similarity(features(priors()), features(images), dim=1)
        optimizer.zero_grad()
        distance.sum().backward()
        optimizer.step()
    assert distance.max() < 0.02
    pixels = [
        torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in zip(priors(), images, strict=True)
    ]
    assert min(pixels) > 0.5


def test_the_typical_norm_is_that_of_pictures_and_drawn_from_the_generator():
    head = headed_target(dense_stack(144, 9, 1)).head
    one, again, other = (typical_norm(head, (1, 12, 12), generator(seed)) for seed in (0, 0, 1))
    assert one == again != other
    true = head.features(smooth_images(40, 12)).norm(dim=1).median()
    assert 0.5 < one / true < 2


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_candidates_are_members_where_features_tell_all():
    coarse = torch.rand(12, 1, 5, 5, generator=generator(3))
    images = nn.functional.interpolate(coarse, size=(12, 12), mode="bilinear", align_corners=True)
    members, others = ((part - 0.5) / 0.25 for part in images.split(6))
    dense, _ = stationary(images[:6], 2, mean=0.5, std=0.25, widths=(40,))
    target = headed_target(dense)
    target = replace(target, head=Head(lambda pixels: ((pixels - 0.5) / 0.25).flatten(1), dense))
    found = run(TRANSFER, target, Budget(steps=250, seconds=60, candidates=12, restarts=1), seed=0)
    assert max(found.objective) < 0.1
    drawn = (found.candidates.flatten(0, 1) - 0.5).flatten(1)
    near, far = nearest(members.flatten(1), drawn), nearest(others.flatten(1), drawn)
    assert near.max() > 0.9
    assert near.median() > far.max()


def test_a_linear_head_is_refused_with_a_reason():
    outcome = attempt(TRANSFER, headed_target(dense_stack(144, 3)), SMALL, None, None, seed=0, watch=None)
    assert outcome.status == "failed"
    assert "transfer: the head is one linear layer" in outcome.reason


def test_a_second_is_enough_for_a_result_that_says_how_far_it_came():
    target = headed_target(dense_stack(144, 9, 3))
    outcome = attempt(TRANSFER, target, Budget(1_000_000, 1.0, 64, 2), None, None, seed=0, watch=None)
    assert outcome.found.stopped_by is StopReason.SECONDS
    assert outcome.found.candidates.isfinite().all()
    assert outcome.found.candidates.shape[:2] == (2, 16)


def test_an_image_is_better_than_none():
    target = headed_target(dense_stack(144, 9, 3))
    steps = [*TRANSFER.start(target, Budget(20, 60, 8, 2), generator())]
    assert len(steps) == 20
    search_, drawing = steps[:12], steps[12:]
    assert min(float(step.objective.min()) for step in search_) >= 2
    assert max(float(step.objective.max()) for step in drawing) < 2
    assert all(torch.equal(step.candidates, steps[0].candidates) for step in search_)


# ---- UnCLIP ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A random UnCLIP pipeline of a few thousand weights, of 144 features, as diffusers saves it."""
    pytest.importorskip("diffusers", reason="the extra unclip is not installed")
    folder = tmp_path_factory.mktemp("unclip")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        import warnings

        patch.setenv("HF_HUB_OFFLINE", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            tiny_unclip(folder / "plain", 144).save_pretrained(folder / "plain")
    return folder / "plain"


def tiny_unclip(folder, features):
    from inspect import signature

    import diffusers
    import transformers
    from diffusers import UnCLIPImageVariationPipeline, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel

    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = transformers.CLIPTextConfig(
        **{**small, "hidden_size": features}, **ends, projection_dim=features, vocab_size=3, max_position_embeddings=8
    )
    vision = transformers.CLIPVisionConfig(**small, projection_dim=features, image_size=16, patch_size=8)
    projection = signature(UnCLIPImageVariationPipeline).parameters["text_proj"].annotation
    sizes = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8}
    down, up = ("ResnetDownsampleBlock2D",) * 2, ("ResnetUpsampleBlock2D",) * 2
    finer = [
        UNet2DModel(
            **{**sizes, "sample_size": 16}, down_block_types=down, up_block_types=up, in_channels=6, out_channels=3
        )
        for _ in range(2)
    ]
    return diffusers.UnCLIPImageVariationPipeline(
        decoder=UNet2DConditionModel(
            **sizes,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            cross_attention_dim=16,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        ),
        text_encoder=transformers.CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        text_proj=projection(
            clip_embeddings_dim=features, time_embed_dim=64, clip_extra_context_tokens=2, cross_attention_dim=16
        ),
        feature_extractor=None,
        image_encoder=transformers.CLIPVisionModelWithProjection(vision),
        super_res_first=finer[0],
        super_res_last=finer[1],
        decoder_scheduler=UnCLIPScheduler(variance_type="learned_range", num_train_timesteps=1000),
        super_res_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", num_train_timesteps=1000),
    )


def decoded(folder, features=144):
    target = headed_target(dense_stack(features, 9, 3))
    attack = TRANSFER.with_settings(unclip=str(folder), starts=2)
    return run(attack, target, Budget(steps=10, seconds=60, candidates=2, restarts=2), seed=0)


def test_a_decoder_on_disk_draws_the_chosen_embeddings(pipeline):
    found, again = decoded(pipeline), decoded(pipeline)
    assert found.stopped_by is StopReason.EXHAUSTED
    assert found.candidates.shape == (2, 2, 1, 12, 12)
    assert 0 <= found.candidates.min() < found.candidates.max() <= 1
    assert max(found.objective) < 2
    assert torch.equal(found.candidates, again.candidates)


def test_what_a_folder_says_of_its_classes_is_not_believed(pipeline, tmp_path):
    copied = tmp_path / "other"
    copied.mkdir()
    for part in pipeline.iterdir():
        if part.is_dir():
            (copied / part.name).symlink_to(part)
    (copied / "model_index.json").write_text('{"_class_name": "Sly", "decoder": ["antigravity", "fly"]}')
    assert decoded(copied).candidates.isfinite().all()


def test_a_decoder_of_other_features_or_none_or_pickles_is_refused(pipeline, tmp_path):
    with pytest.raises(AttackError, match="no folder missing with an UnCLIP decoder"):
        decoded(tmp_path / "missing")
    (tmp_path / "pickled" / "decoder").mkdir(parents=True)
    (tmp_path / "pickled" / "decoder" / "config.json").write_text((pipeline / "decoder" / "config.json").read_text())
    torch.save({}, tmp_path / "pickled" / "decoder" / "diffusion_pytorch_model.bin")
    with pytest.raises(AttackError, match="pickled holds no decoder"):
        decoded(tmp_path / "pickled")
    from auditcli.attacks.transfer._unclip import decoder

    with pytest.raises(AttackError, match="draws 144 features; the head reads 20"):
        decoder(str(pipeline), 20, torch.device("cpu"))
