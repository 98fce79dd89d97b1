"""A tokenizer made to fit its backbone: the sides, the padding token, the columns, the highest token id."""

from __future__ import annotations

import logging
from inspect import signature
from typing import Any

from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedTokenizerBase

from adapter_tune.foundation.errors import RunError

log = logging.getLogger("adapter_tune")

_USUAL_PADDING = ("[PAD]", "<pad>")
_TYPES = "token_type_ids"
_MASK = "attention_mask"
_NAMES = "model_input_names"


def fit_to_backbone(tokenizer: PreTrainedTokenizerBase, backbone: Any, model_id: str) -> None:
    """Change a tokenizer so that it gives what its backbone reads; what is changed is logged.

    The changes are saved with the tokenizer, so a saved one needs only ``pad_and_cut_right`` and ``check_token_ids``.

    Args:
        tokenizer: as its files describe it.
        backbone: the transformers configuration of the backbone.
        model_id: path or id of the model, for messages.

    Raises:
        RunError: it names no padding token, or has tokens that the backbone has no embeddings for.
    """
    pad_and_cut_right(tokenizer, model_id)
    _name_padding_token(tokenizer, backbone, model_id)
    _choose_columns(tokenizer, backbone, model_id)
    check_token_ids(tokenizer, backbone, model_id)
    if tokenizer.num_special_tokens_to_add() == 0:
        log.warning(
            "model %s: its tokenizer adds no [CLS] and [SEP], so the head reads the first token of the text; add a "
            "post_processor to tokenizer.json if the model was pretrained with them",
            model_id,
        )


def pad_and_cut_right(tokenizer: PreTrainedTokenizerBase, model_id: str) -> None:
    """Set the sides of padding and truncation, whatever the tokenizer's file says.

    Absolute positions count from the first token: with padding before it, a row's score would depend on its batch.
    """
    for attribute, change in (("padding_side", "padded"), ("truncation_side", "cut")):
        if getattr(tokenizer, attribute) != "right":
            log.info("model %s: its tokenizer has %s: left; rows are %s on the right", model_id, attribute, change)
            setattr(tokenizer, attribute, "right")


def check_token_ids(tokenizer: PreTrainedTokenizerBase, backbone: Any, model_id: str) -> None:
    """Check that the backbone has an embedding for every token.

    Raises:
        RunError: it lacks some.
    """
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    rows = getattr(backbone, "vocab_size", None)  # none if it is no text model, which is refused elsewhere
    if rows is not None and highest >= rows:
        raise RunError(
            f"model {model_id}: its tokenizer has token ids up to {highest} ('{token}'), but its embeddings have only "
            f"{rows} rows; add rows with transformers' resize_token_embeddings and save the model, or "
            "remove the added tokens"
        )


def _name_padding_token(tokenizer: PreTrainedTokenizerBase, backbone: Any, model_id: str) -> None:
    """Take the padding token of config.json, or one with a usual name, if the tokenizer names none.

    Only special tokens count: an ordinary word would no longer be read as text.
    """
    if tokenizer.pad_token is not None:
        return
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    vocabulary = tokenizer.get_vocab()
    candidates = [
        special.get(getattr(backbone, "pad_token_id", None)),
        *(name for name in _USUAL_PADDING if name in vocabulary),
    ]
    token = next((candidate for candidate in candidates if candidate is not None), None)
    if token is None:
        raise RunError(
            f"model {model_id}: its tokenizer names no padding token and has none with a usual name; add "
            '"pad_token": "..." to tokenizer_config.json'
        )
    log.info("model %s: its tokenizer names no padding token; %s is taken", model_id, token)
    tokenizer.pad_token = token


def _choose_columns(tokenizer: PreTrainedTokenizerBase, backbone: Any, model_id: str) -> None:
    """Give an attention mask always, and token types where the backbone reads them.

    A class without columns of its own (PreTrainedTokenizerFast) gives no token types unless its file asks for them.
    """
    given = tokenizer.model_input_names
    types = _token_types(backbone)
    with_types = (_TYPES in given and types != 1) or (types > 1 and _NAMES not in tokenizer.init_kwargs)
    columns = [*(name for name in given if name not in (_TYPES, _MASK)), *([_TYPES] if with_types else []), _MASK]
    if with_types and types > 1:
        _check_types(tokenizer, types, model_id)
    if set(columns) == set(given):
        return
    log.info("model %s: its tokenizer gives %s; the backbone gets %s", model_id, ", ".join(given), ", ".join(columns))
    tokenizer.model_input_names = columns
    tokenizer.init_kwargs[_NAMES] = columns  # saved with the tokenizer


def _check_types(tokenizer: PreTrainedTokenizerBase, types: int, model_id: str) -> None:
    highest = max(tokenizer("a", "a", return_token_type_ids=True)[_TYPES])
    if highest >= types:
        raise RunError(
            f"model {model_id}: its tokenizer gives token type {highest}, but the backbone has {types} types (0 to "
            f"{types - 1}); correct the type_id of the post_processor in tokenizer.json"
        )


def _token_types(backbone: Any) -> int:
    """Return how many token types a backbone tells apart: 1 if it reads none, 0 if it ignores them (DeBERTa-v2)."""
    if type(backbone) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return 1
    forward = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(backbone)].forward
    return int(getattr(backbone, "type_vocab_size", 1)) if _TYPES in signature(forward).parameters else 1
