"""Discovery on real models of Hugging Face, built from small configurations without a download."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

import basinbridge as bb

transformers = pytest.importorskip("transformers")


@dataclass(frozen=True)
class Model:
    """A model's class, its configuration, its number of groups and why, what it reads."""

    kind: str
    config: str
    groups: int
    why: str
    options: dict[str, Any] = field(default_factory=dict)
    reads: str = "text"
    share: float = 0.95
    experts: str = ""

    def build(self):
        config = getattr(transformers, self.config)(**{**SMALL[self.reads], **self.options})
        torch.manual_seed(0)
        options = {"experts_implementation": self.experts} if self.experts else {}
        return getattr(transformers, self.kind)._from_config(config, **options).eval()

    def example(self):
        generator = torch.Generator().manual_seed(0)
        if self.reads in ("images", "pixels"):
            return {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
        words = torch.randint(3, 40, (2, 7), generator=generator)
        if self.reads == "speech":
            sound = torch.randn(2, 8, 20, generator=generator)
            return {"input_features": sound, "decoder_input_ids": words}
        inputs = {"input_ids": words, "attention_mask": torch.ones_like(words)}
        if self.reads == "pairs":
            inputs["decoder_input_ids"] = words[:, :5].clone()
        else:
            inputs["attention_mask"][1, 5:] = 0
        return inputs


BERT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "vocab_size": 40,
    "max_position_embeddings": 16,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL: dict[str, dict[str, Any]] = {
    "text": {**BERT, **TOKENS, "use_cache": False},
    "pairs": {"vocab_size": 40, "use_cache": False, "decoder_start_token_id": 0, "pad_token_id": 0},
    "images": {**BERT, "image_size": 32, "patch_size": 8, "num_labels": 4},
    "pixels": {"image_size": 32, "num_labels": 4},
    "speech": {**TOKENS, "decoder_start_token_id": 0, "vocab_size": 40, "use_cache": False},
}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16}
BART = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 18,
    "max_position_embeddings": 16,
}
CODES = {"num_key_value_heads": 2, "num_attention_heads": 4, "hidden_size": 32}

MODELS = {
    "bert": Model(
        "BertForSequenceClassification",
        "BertConfig",
        10,
        "stream, 4 in each layer, pooler",
    ),
    "roberta": Model(
        "RobertaForMaskedLM",
        "RobertaConfig",
        9,
        "stream, 4 in each layer; the head is tied to the stream",
    ),
    "distilbert": Model(
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        9,
        "stream, 4 in each layer; the head is tied to the stream",
        {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 20},
    ),
    "albert": Model(
        "AlbertForMaskedLM",
        "AlbertConfig",
        6,
        "embedding, stream, 4 in the shared layer",
        {"embedding_size": 12},
    ),
    "electra": Model(
        "ElectraForPreTraining",
        "ElectraConfig",
        11,
        "embedding, stream, 4 in each layer, the head's hidden units",
        {"embedding_size": 12},
    ),
    "gpt2": Model("GPT2LMHeadModel", "GPT2Config", 9, "stream, 4 in each layer", GPT2),
    "opt": Model(
        "OPTForCausalLM",
        "OPTConfig",
        9,
        "stream, 4 in each layer",
        {"ffn_dim": 20, "word_embed_proj_dim": 24},
    ),
    "bloom": Model(
        "BloomForCausalLM",
        "BloomConfig",
        15,
        "stream, MLPs; linear biases fix the heads, so each has query-key and value",
        {"n_layer": 2, "n_head": 3},
    ),
    "gpt_neox": Model(
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        9,
        "stream, 4 in each layer (query-key where not rotary)",
        {"rotary_pct": 0.25},
    ),
    "gptj": Model(
        "GPTJForCausalLM",
        "GPTJConfig",
        9,
        "stream, 4 in each layer (query-key where not rotary)",
        {**GPT2, "rotary_dim": 4},
    ),
    "llama": Model(
        "LlamaForCausalLM",
        "LlamaConfig",
        9,
        "stream; pairs, heads within, values, MLP in each layer",
        CODES,
    ),
    "mistral": Model("MistralForCausalLM", "MistralConfig", 9, "as Llama", CODES),
    "qwen2": Model("Qwen2ForCausalLM", "Qwen2Config", 9, "as Llama", CODES),
    "qwen3": Model("Qwen3ForCausalLM", "Qwen3Config", 9, "as Llama", CODES),
    "gemma2": Model("Gemma2ForCausalLM", "Gemma2Config", 9, "as Llama", {**CODES, "head_dim": 8}),
    "mixtral": Model(
        "MixtralForCausalLM",
        "MixtralConfig",
        9,
        "as Llama; the router's choice keeps the experts in order, with one numbering for all",
        {**CODES, "num_local_experts": 4},
        experts="batched_mm",
    ),
    "phi": Model(
        "PhiForCausalLM", "PhiConfig", 9, "stream, 4 in each layer (query-key where not rotary)", {}
    ),
    "falcon": Model(
        "FalconForCausalLM",
        "FalconConfig",
        7,
        "stream; heads, one value numbering for all of them, MLP in each layer",
        {},
    ),
    "t5": Model(
        "T5ForConditionalGeneration",
        "T5Config",
        19,
        "3 for heads, 3 in each encoder and 5 in each decoder layer; an output fixes the stream",
        {"d_model": 24, "d_ff": 20, "num_layers": 2, "num_heads": 3, "d_kv": 8},
        "pairs",
        share=0.9,
    ),
    "bart": Model(
        "BartForConditionalGeneration",
        "BartConfig",
        15,
        "3 MLPs, 4 attentions of 3; an output fixes the streams",
        BART,
        "pairs",
        share=0.8,
    ),
    "vit": Model(
        "ViTForImageClassification", "ViTConfig", 9, "stream, 4 in each layer", {}, "images"
    ),
    "deit": Model(
        "DeiTForImageClassification", "DeiTConfig", 9, "stream, 4 in each layer", {}, "images"
    ),
    "beit": Model(
        "BeitForImageClassification", "BeitConfig", 9, "stream, 4 in each layer", {}, "images"
    ),
    "clip": Model(
        "CLIPVisionModel",
        "CLIPVisionConfig",
        8,
        "4 in each layer; an output fixes the stream",
        {},
        "images",
        share=0.5,
    ),
    "dinov2": Model(
        "Dinov2ForImageClassification", "Dinov2Config", 9, "stream, 4 in each layer", {}, "images"
    ),
    "swin": Model(
        "SwinForImageClassification",
        "SwinConfig",
        18,
        "2 streams, 4 in each of 4 layers",
        {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "window_size": 2, "patch_size": 2},
        "pixels",
    ),
    "swinv2": Model(
        "Swinv2ForImageClassification",
        "Swinv2Config",
        12,
        "2 streams, 4 and the MLP of the biases in each of 2 layers",
        {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 3], "window_size": 2, "patch_size": 2},
        "pixels",
    ),
    "convnext": Model(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        9,
        "4 streams, 5 insides",
        {"hidden_sizes": [8, 10, 12, 14], "depths": [1, 1, 2, 1], "patch_size": 4},
        "pixels",
    ),
    "resnet": Model(
        "ResNetForImageClassification",
        "ResNetConfig",
        14,
        "4 streams, 2 in each of 5 blocks",
        {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 2, 1]},
        "pixels",
    ),
    "regnet": Model(
        "RegNetForImageClassification",
        "RegNetConfig",
        25,
        "stem, 4 streams, 4 in each of 5 blocks",
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 12, 16, 20],
            "depths": [1, 1, 2, 1],
            "groups_width": 4,
        },
        "pixels",
    ),
    "segformer": Model(
        "SegformerForImageClassification",
        "SegformerConfig",
        22,
        "4 streams, 4 MLPs, 3 reductions, 2 for one head, 3 for several in 3 stages",
        {
            "hidden_sizes": [8, 8, 12, 16],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 3, 4],
        },
        "pixels",
    ),
    "mobilenet_v2": Model(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        25,
        "as in families.mobile",
        {},
        "pixels",
    ),
    "poolformer": Model(
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        8,
        "4 streams, 4 MLPs",
        {"hidden_sizes": [8, 10, 12, 14], "depths": [1, 1, 1, 1]},
        "pixels",
    ),
    "convnextv2": Model(
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        9,
        "4 streams, the inside of 5 blocks",
        {"hidden_sizes": [8, 10, 12, 14], "depths": [1, 1, 2, 1]},
        "pixels",
    ),
    "mobilevit": Model(
        "MobileViTForImageClassification",
        "MobileViTConfig",
        62,
        "stem, 4 blocks that widen and 2 streams; then thrice a block's inside, its result, the "
        "local convolution, the transformer's stream, 4 in each of its 2, 4 and 3 layers, the way "
        "back, the fusion; the last layer",
        {
            "hidden_sizes": [12, 16, 20],
            "neck_hidden_sizes": [4, 8, 12, 14, 16, 18, 24],
            "num_attention_heads": 2,
        },
        "pixels",
    ),
    "pvt": Model(
        "PvtForImageClassification",
        "PvtConfig",
        22,
        "as SegFormer",
        {
            "hidden_sizes": [8, 8, 12, 16],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 3, 4],
        },
        "pixels",
    ),
    "data2vec_vision": Model(
        "Data2VecVisionForImageClassification", "Data2VecVisionConfig", 9, "as BEiT", {}, "images"
    ),
    "siglip": Model(
        "SiglipVisionModel",
        "SiglipVisionConfig",
        12,
        "4 in each layer and in the pooling head; an output fixes the stream",
        {},
        "images",
        share=0.6,
    ),
    "clip_text": Model(
        "CLIPTextModelWithProjection",
        "CLIPTextConfig",
        8,
        "4 in each layer; an output fixes the stream",
        {"projection_dim": 6},
        share=0.7,
    ),
    "gemma": Model("GemmaForCausalLM", "GemmaConfig", 9, "as Llama", {**CODES, "head_dim": 8}),
    "phi3": Model("Phi3ForCausalLM", "Phi3Config", 9, "as Llama, projections packed", CODES),
    "olmo2": Model("Olmo2ForCausalLM", "Olmo2Config", 9, "as Llama", CODES),
    "starcoder2": Model("Starcoder2ForCausalLM", "Starcoder2Config", 9, "as Llama", CODES),
    "stablelm": Model(
        "StableLmForCausalLM",
        "StableLmConfig",
        11,
        "as Llama, and in each layer query-key where not rotary",
        CODES,
    ),
    "gpt_bigcode": Model(
        "GPTBigCodeForCausalLM",
        "GPTBigCodeConfig",
        9,
        "stream; heads, one query-key and one value numbering for all of them, MLP in each layer",
        GPT2,
    ),
    "biogpt": Model("BioGptForCausalLM", "BioGptConfig", 9, "stream, 4 in each layer"),
    "xglm": Model(
        "XGLMForCausalLM",
        "XGLMConfig",
        8,
        "4 in each layer; sinusoids, which are no parameters, fix the stream",
        {"d_model": 24, "num_layers": 2, "attention_heads": 3, "ffn_dim": 20},
        share=0.8,
    ),
    "deberta": Model(
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        10,
        "stream, 4 in each layer, pooler",
    ),
    "marian": Model(
        "MarianMTModel",
        "MarianConfig",
        15,
        "as BART; an output fixes the streams",
        {**BART},
        "pairs",
        share=0.8,
    ),
    "whisper": Model(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        13,
        "first convolution, 2 MLPs, 3 attentions of 3, the decoder's stream; an output fixes the "
        "encoder's",
        {
            **BART,
            "encoder_layers": 1,
            "num_mel_bins": 8,
            "max_source_positions": 10,
            "max_target_positions": 16,
        },
        "speech",
        share=0.8,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_real_models_keep_their_function_and_move_nearly_everything(name):
    model = MODELS[name]
    symmetry = bb.discover(model.build(), model.example())
    assert symmetry.unsupported == ()
    assert symmetry.parameter_share >= model.share
    assert len(symmetry.groups) == model.groups


@pytest.mark.parametrize("name", MODELS)
def test_a_share_below_95_percent_has_its_reason(name):
    model = MODELS[name]
    assert model.share >= 0.95 or " fix the " in model.why or " fixes the " in model.why


def test_experts_that_run_one_by_one_on_the_words_given_to_them_are_refused():
    eager = replace(MODELS["mixtral"], experts="eager")
    with pytest.raises(
        bb.SymmetryError, match=r"'model\.layers\.0\.mlp\.experts' .*values"
    ) as error:
        bb.discover(eager.build(), eager.example())
    assert "\n" not in str(error.value)


def test_experts_in_a_product_of_an_unknown_library_stay_in_order():
    grouped = replace(MODELS["mixtral"], experts="grouped_mm")
    symmetry = bb.discover(grouped.build(), grouped.example())
    assert any(one.startswith("transformers::grouped_mm") for one in symmetry.unsupported)
    assert not any("experts" in t for g in symmetry.groups.values() for t, _ in g.tensors)
