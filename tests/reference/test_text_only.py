"""Text models of mlx-lm against transformers."""

from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.reference import tiny
from tests.reference.parity import Case, TextParity, difference
from tests.reference.spelling import Spelling

SPELLINGS = (Spelling("transformers-4", (), old_config=True),)
TEXT = "A text that is longer than the window of any of these models, so that it has to slide."


def model(config_class, model_class, **changes):
    def build(tokenizer):
        settings = {key: value for key, value in tiny.TEXT.items() if key != "model_type"}
        return model_class(config_class(**settings | {"vocab_size": len(tokenizer)} | changes))

    return build


class TestLlama(TextParity):
    case = Case(
        "llama",
        model(
            LlamaConfig,
            LlamaForCausalLM,
            attention_bias=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        ),
        spellings=SPELLINGS,
        text=TEXT,
    )


class TestQwen3(TextParity):
    case = Case("qwen3", model(Qwen3Config, Qwen3ForCausalLM), spellings=SPELLINGS, text=TEXT)


class TestGemma(TextParity):
    case = Case("gemma", model(GemmaConfig, GemmaForCausalLM, tie_word_embeddings=True), spellings=SPELLINGS, text=TEXT)


class TestGemma2(TextParity):
    """Every other layer slides."""

    case = Case(
        "gemma2",
        model(
            Gemma2Config,
            Gemma2ForCausalLM,
            tie_word_embeddings=True,
            sliding_window=8,
            query_pre_attn_scalar=12,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
        ),
        spellings=SPELLINGS,
        text=TEXT,
    )


class TestGemma3(TextParity):
    case = Case(
        "gemma3_text",
        model(
            Gemma3TextConfig,
            Gemma3ForCausalLM,
            num_hidden_layers=3,
            sliding_window=8,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            query_pre_attn_scalar=12,
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        ),
        spellings=SPELLINGS,
        text=TEXT,
    )


class TestMistral(TextParity):
    case = Case("mistral", model(MistralConfig, MistralForCausalLM, sliding_window=8), spellings=SPELLINGS, text=TEXT)


def phi3(**changes):
    settings = {"pad_token_id": 0, "bos_token_id": 0, "head_dim": 12} | changes
    return model(Phi3Config, Phi3ForCausalLM, **settings)


class TestPhi3(TextParity):
    """A window in each layer."""

    case = Case("phi3", phi3(sliding_window=8), spellings=SPELLINGS, text=TEXT)


def longrope(limit):
    return {
        "rope_type": "longrope",
        "rope_theta": 300.0,
        "partial_rotary_factor": 0.67,
        "short_factor": [1.0, 1.1, 1.3, 1.2],
        "long_factor": [1.0, 2.0, 4.0, 9.0],
        "original_max_position_embeddings": limit,
    }


class TestPhi3Long(TextParity):
    """A text beyond the limit, where the long waves begin."""

    case = Case(
        "phi3, long",
        phi3(original_max_position_embeddings=32, rope_parameters=longrope(32)),
        spellings=SPELLINGS,
        text=TEXT,
    )

    def test_a_text_in_chunks(self, pair):
        whole = pair.ours.logits(TEXT, [])
        assert difference(pair.ours.logits(TEXT, [], 8), whole) < 1e-5


class TestPhi3Short(TextParity):
    case = Case(
        "phi3, short",
        phi3(original_max_position_embeddings=200, rope_parameters=longrope(200)),
        spellings=SPELLINGS,
        text=TEXT,
    )
