"""Discovery on real models of Hugging Face, built from small configurations without a download."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import basinbridge as bb

transformers = pytest.importorskip("transformers")


@dataclass(frozen=True)
class Model:
    """A model's class, its configuration, what it reads, and the groups it must have."""

    kind: str
    config: str
    groups: int
    options: dict[str, Any] = field(default_factory=dict)
    reads: str = "text"
    share: float = 0.95

    def build(self):
        config = getattr(transformers, self.config)(**{**SMALL[self.reads], **self.options})
        torch.manual_seed(0)
        return getattr(transformers, self.kind)(config).eval()

    def example(self):
        generator = torch.Generator().manual_seed(0)
        if self.reads in ("images", "pixels"):
            return {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
        words = torch.randint(3, 40, (2, 7), generator=generator)
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
SMALL: dict[str, dict[str, Any]] = {
    "text": {**BERT, "use_cache": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "pairs": {"vocab_size": 40, "use_cache": False, "decoder_start_token_id": 0},
    "images": {**BERT, "image_size": 32, "patch_size": 8, "num_labels": 4},
    "pixels": {"image_size": 32, "num_labels": 4},
}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16}
CODES = {"num_key_value_heads": 2, "num_attention_heads": 4, "hidden_size": 32}

MODELS = {
    "bert": Model("BertForSequenceClassification", "BertConfig", 10),
    "roberta": Model("RobertaForMaskedLM", "RobertaConfig", 9),
    "distilbert": Model(
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        9,
        {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 20},
    ),
    "albert": Model("AlbertForMaskedLM", "AlbertConfig", 6, {"embedding_size": 12}),
    "electra": Model("ElectraForPreTraining", "ElectraConfig", 11, {"embedding_size": 12}),
    "gpt2": Model("GPT2LMHeadModel", "GPT2Config", 9, GPT2),
    "opt": Model("OPTForCausalLM", "OPTConfig", 9, {"ffn_dim": 20, "word_embed_proj_dim": 24}),
    "gpt_neox": Model("GPTNeoXForCausalLM", "GPTNeoXConfig", 9, {"rotary_pct": 0.25}),
    "gptj": Model("GPTJForCausalLM", "GPTJConfig", 9, {**GPT2, "rotary_dim": 4}),
    "llama": Model("LlamaForCausalLM", "LlamaConfig", 9, CODES),
    "mistral": Model("MistralForCausalLM", "MistralConfig", 9, CODES),
    "qwen2": Model("Qwen2ForCausalLM", "Qwen2Config", 9, CODES),
    "qwen3": Model("Qwen3ForCausalLM", "Qwen3Config", 9, CODES),
    "gemma2": Model("Gemma2ForCausalLM", "Gemma2Config", 9, {**CODES, "head_dim": 8}),
    "phi": Model("PhiForCausalLM", "PhiConfig", 9, {}),
    "vit": Model("ViTForImageClassification", "ViTConfig", 9, {}, "images"),
    "deit": Model("DeiTForImageClassification", "DeiTConfig", 9, {}, "images"),
    "beit": Model("BeitForImageClassification", "BeitConfig", 9, {}, "images"),
    "dinov2": Model("Dinov2ForImageClassification", "Dinov2Config", 9, {}, "images"),
    "swin": Model(
        "SwinForImageClassification",
        "SwinConfig",
        18,
        {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "window_size": 2, "patch_size": 2},
        "pixels",
    ),
    "convnext": Model(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        9,
        {"hidden_sizes": [8, 10, 12, 14], "depths": [1, 1, 2, 1], "patch_size": 4},
        "pixels",
    ),
    "mobilenet_v2": Model(
        "MobileNetV2ForImageClassification", "MobileNetV2Config", 25, {}, "pixels"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_real_models_keep_their_function_and_move_nearly_everything(name):
    model = MODELS[name]
    symmetry = bb.discover(model.build(), model.example())
    assert symmetry.unsupported == ()
    assert symmetry.parameter_share >= model.share
    assert len(symmetry.groups) == model.groups
