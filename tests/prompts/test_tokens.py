"""The estimate of tokens against a real tokenizer, and its own rules."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from fdvs.encoders import minilm
from fdvs.prompts.tokens import chars_within, estimated_message_tokens, estimated_tokens
from fdvs.prompts.writer import SYSTEM

TEXTS = {
    "rules": SYSTEM,
    "prose": (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8"),
    "times": '[12] 0:05–0:12 said: "Hello."\n[13] 1:02:05–1:03:00 told: "It\'s 12.5 % of 3,000."\n' * 20,
    "german": "Die Geschwindigkeitsbegrenzung gilt für größere Fahrzeuge außerhalb geschlossener Ortschaften. " * 9,
    "cyrillic": "Женщина в красном пальто идёт по заснеженной улице и разговаривает с мальчиком. " * 9,
    "chinese": "一个穿红色外套的女人走在下雪的街道上，和一个男孩说话。" * 9,
    "japanese": "赤いコートを着た女性が雪の降る通りを歩いています。" * 9,
    "korean": "빨간 코트를 입은 여자가 눈 덮인 거리를 걷고 있다. " * 9,
    "hindi": "लाल कोट पहने एक महिला बर्फीली सड़क पर चल रही है। " * 9,
    "arabic": "امرأة ترتدي معطفا أحمر تمشي في شارع مغطى بالثلوج. " * 9,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The one tokenizer that is in the package; it is English, so it cuts other languages finely."""
    text = (resources.files(minilm) / "tokenizer.json").read_text(encoding="utf-8")
    made = Tokenizer.from_str(text)
    made.no_truncation()
    made.no_padding()
    return made


@pytest.mark.parametrize("name", TEXTS)
def test_the_estimate_lies_above_what_a_tokenizer_counts_but_not_far(name: str, tokenizer: Tokenizer) -> None:
    counted = len(tokenizer.encode(TEXTS[name], add_special_tokens=False).ids)
    assert counted <= estimated_tokens(TEXTS[name]) <= 3 * counted


def test_no_text_is_no_token_and_a_text_in_two_takes_no_less_than_whole() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("a b c") == 3
    assert estimated_tokens("\U0001f600") == 3
    assert estimated_tokens("internationalisation") == 8  # 20 letters at 0.4
    for text in TEXTS.values():
        half = len(text) // 2
        assert estimated_tokens(text) <= estimated_tokens(text[:half]) + estimated_tokens(text[half:])
    assert estimated_message_tokens("a", "b c") == 3 + 2 * 16


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_cut_to_a_number_of_tokens_is_estimated_to_have_no_more(name: str) -> None:
    text = TEXTS[name]
    for tokens in (0, 1, 17, 100):
        length = chars_within(text, tokens)
        assert estimated_tokens(text[:length]) <= tokens
        assert length == len(text) or estimated_tokens(text[: length + 2]) > tokens - 1
