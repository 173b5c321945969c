"""Tiny models of random numbers that look at pictures, saved as real checkpoints, and clips to show them."""

from __future__ import annotations

import io
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fdvs.captioners.base import ClipInput
from fdvs.captioners.measures import measure_clip
from fdvs.encoders._local_models import require
from fdvs.records import Clip, Span, TimedPicture
from tests.encoders.models import pictures

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LETTERS = [*string.ascii_lowercase, *string.digits, *".,:?'-<>"]


def transformers() -> Any:
    return require("transformers", "models")


def seeded(seed: int = 0) -> Any:
    torch = require("torch", "models")
    torch.manual_seed(seed)
    return torch


# --- clips


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95)
    return out.getvalue()


def clip_of(times_ms: Sequence[int] = (0, 1000, 2000), kept_ms: Sequence[int] | None = None, name: str = "c") -> Clip:
    return Clip(f"clip-{name}", "video", Span(0, 10_000), 0, tuple(times_ms))


def shown(
    images: Sequence[NDArray[np.uint8]] | None = None, kept: Sequence[int] | None = None, name: str = "c"
) -> ClipInput:
    """A clip with one picture a second; `kept` are the indices that visual redundancy kept (all by default)."""
    images = pictures(3, 48, 64) if images is None else images
    times = [1000 * index for index in range(len(images))]
    kept_ms = tuple(times if kept is None else [times[index] for index in kept])
    facts = measure_clip(np.empty((0, 64, 64, 3), np.uint8), [])
    timed = tuple(TimedPicture(time, jpeg(image)) for time, image in zip(times, images, strict=True))
    return ClipInput(clip_of(times, name=name), facts, (), timed, kept_ms)


DAMAGED = TimedPicture(0, b"\xff\xd8\xff\xe0 no picture at all")


# --- tokenizers


def save_tokenizer(folder: Path, form: str = "<s> $A </s>") -> int:
    """A tokenizer of letters as transformers saves them, whose texts have that form; returns how many tokens it knows.
    Ids: pad 0, bos 1, eos 2, unk 3."""
    library = require("tokenizers", "models")
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {token: index for index, token in enumerate([*special, "▁", *LETTERS])}
    tokenizer = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace()
    tokenizer.decoder = library.decoders.Metaspace()
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single=form, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    made = transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made.save_pretrained(folder)
    return len(vocabulary)


def save_bert_tokenizer(folder: Path, words: Sequence[str] = ()) -> int:
    """A WordPiece tokenizer that knows `words` and letters; returns the size of its vocabulary."""
    letters = [form for letter in LETTERS for form in (letter, f"##{letter}")]
    tokens = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]))
    made = transformers().BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    made.save_pretrained(folder)
    return len(tokens)


# --- models


def save_clip(folder: Path, seed: int = 0) -> Path:
    library, _ = transformers(), seeded(seed)
    size = save_tokenizer(folder)
    # The tokenizer's own end token is 2, which to transformers means "the highest id of a text"; it works either way.
    text = {**TOWER, "vocab_size": size, "max_position_embeddings": 77, "bos_token_id": 1, "eos_token_id": 2}
    config = library.CLIPConfig(
        vision_config={**TOWER, "image_size": 32, "patch_size": 8}, text_config=text, projection_dim=24
    )
    library.CLIPModel(config).save_pretrained(folder)
    library.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder


def save_siglip(folder: Path, seed: int = 0) -> Path:
    library, torch = transformers(), seeded(seed)
    size = save_tokenizer(folder, "$A </s>")
    text = {**TOWER, "vocab_size": size, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
    model = library.SiglipModel(
        library.SiglipConfig(vision_config={**TOWER, "image_size": 32, "patch_size": 8}, text_config=text)
    )
    with torch.no_grad():
        model.logit_scale.fill_(4.7)
        model.logit_bias.fill_(-16.0)
    model.save_pretrained(folder)
    library.SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_grounding(folder: Path, words: Sequence[str] = (), *, max_text_len: int = 32, queries: int = 12) -> Path:
    library, _ = transformers(), seeded()
    size = save_bert_tokenizer(folder, words)
    swin = library.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=2,
        out_features=["stage2", "stage3"],
    )  # fmt: skip
    config = library.GroundingDinoConfig(
        backbone_config=swin,
        text_config=library.BertConfig(**TOWER, vocab_size=size, max_position_embeddings=64),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=queries, num_feature_levels=3, max_text_len=max_text_len,
    )  # fmt: skip
    library.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    library.GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


ACTIONS = {0: "riding a bike", 1: "playing guitar", 2: "abseiling"}


def save_video_classifier(folder: Path, family: str = "videomae", labels: dict[int, str] | None = None) -> Path:
    library, _ = transformers(), seeded()
    names = ACTIONS if labels is None else labels
    shared = {
        **TOWER, "image_size": 32, "id2label": names, "label2id": {name: index for index, name in names.items()},
    }  # fmt: skip
    if family == "videomae":
        config = library.VideoMAEConfig(**shared, patch_size=16, num_frames=16, tubelet_size=2)
        model: Any = library.VideoMAEForVideoClassification(config)
    elif family == "timesformer":
        model = library.TimesformerForVideoClassification(
            library.TimesformerConfig(**shared, patch_size=16, num_frames=4)
        )
    else:
        config = library.VivitConfig(**shared, num_frames=6, tubelet_size=[2, 16, 16])
        model = library.VivitForVideoClassification(config)
    model.save_pretrained(folder)
    if family == "vivit":
        library.VivitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}).save_pretrained(
            folder
        )
    else:
        library.VideoMAEImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ).save_pretrained(folder)
    return folder


def save_blip2(folder: Path, language: str = "t5", seed: int = 0) -> Path:
    library, torch = transformers(), seeded(seed)
    size = save_tokenizer(folder, "$A </s>" if language == "t5" else "<s> $A") + 1  # the token for pictures comes last
    vision = {**TOWER, "image_size": 32, "patch_size": 16}
    qformer = {**TOWER, "vocab_size": 40, "encoder_hidden_size": 32, "cross_attention_frequency": 1}
    if language == "t5":
        text: Any = library.T5Config(
            vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=4,
            decoder_start_token_id=0, pad_token_id=0, tie_word_embeddings=False, eos_token_id=2, bos_token_id=1,
        )  # fmt: skip
    else:
        text = library.OPTConfig(
            vocab_size=size, hidden_size=32, ffn_dim=64, num_hidden_layers=1, num_attention_heads=4,
            word_embed_proj_dim=32, max_position_embeddings=512, tie_word_embeddings=False,
            pad_token_id=0, eos_token_id=2, bos_token_id=1,
        )  # fmt: skip
    config = library.Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=text.to_dict(), num_query_tokens=4,
        image_token_index=size - 1,
    )  # fmt: skip
    model = library.Blip2ForConditionalGeneration(config)
    with torch.no_grad():  # a model that writes letters only, and other ones for other pictures
        model.language_projection.weight.mul_(50)
        head = model.language_model.get_output_embeddings()
        head.weight.normal_()
        head.weight[[0, 1, 2, 3, 4, size - 1]] = 0
    model.save_pretrained(folder)
    library.BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
