"""Pretrain the demo backbone with masked language modelling on the demo language, and report its MLM accuracy.

    python scripts/pretrain_demo.py --output my-backbone

Text, masks and first weights follow from the seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, get_linear_schedule_with_warmup, set_seed

from adapter_tune.demo.corpus import DEGREES, LINKS, documents
from adapter_tune.demo.lexicon import LEXICON

Batch = tuple[torch.Tensor, torch.Tensor]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LENGTH = 48  # tokens a document is padded or cut to while pretraining
IGNORED = -100
MASKED = 0.25  # share of the tokens that are predicted; 0.15 in BERT, more learns faster (Wettig et al. 2023)
WORDS_FIRST = 0.4  # share of the training before the relation of the parts is practised on its own
SALIENT = 0.6  # share of the documents in which only the word that says how the parts hang together is predicted


def build_tokenizer() -> BertTokenizerFast:
    """WordPiece over the words of the fragment; any other text falls apart into letters."""
    letters = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1))]
    pieces = [*letters, *("##" + letter for letter in letters), *".,:;?!'-"]
    forms = {form for sense in LEXICON.values() for form in sense.forms()}
    said = {word for pair in documents(20_000, seed=1) for text in pair for word in text.split()}
    words = SPECIAL + pieces + sorted((forms | said) - set(pieces))
    return BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})


def encode(count: int, seed: int, tokenizer: BertTokenizerFast) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and segment ids of documents, int16 and int8 of shape (count, LENGTH)."""
    vocabulary = tokenizer.get_vocab()
    ids = np.zeros((count, LENGTH), dtype=np.int16)
    segments = np.zeros((count, LENGTH), dtype=np.int8)
    cls = tokenizer.cls_token_id
    sep = tokenizer.sep_token_id
    for row, (first, second) in enumerate(track(documents(count, seed), "writing text", count)):
        one = [cls, *(vocabulary[word] for word in first.split()), sep]
        two = [*(vocabulary[word] for word in second.split()), sep] if second else []
        ids[row, : len(one) + len(two)] = (one + two)[:LENGTH]
        segments[row, len(one) : len(one) + len(two)] = 1
    return torch.from_numpy(ids), torch.from_numpy(segments)


class Masker:
    """Chooses the tokens to predict, and hides them.

    Of the chosen tokens 50 % are masked, 30 % are another word of the same kind, 20 % are as they were (80, 10 and 10 %
    in Devlin et al. 2019), so that a model must hold every visible word against what the rest of the text says of it.
    In a share ``salience`` of the documents only the word that says how the parts hang together is predicted, and all
    others are seen (salient span masking, Guu et al. 2020).
    """

    def __init__(self, tokenizer: BertTokenizerFast, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.hidden = tokenizer.mask_token_id
        self.salient = torch.tensor(tokenizer.convert_tokens_to_ids([*DEGREES, *sum(LINKS.values(), ())]))
        groups: dict[tuple[object, ...], list[int]] = {}
        for sense in LEXICON.values():
            for form, how in sense.inflected():
                groups.setdefault((sense.part, sense.kind, how), []).append(tokenizer.convert_tokens_to_ids(form))
        self.start, self.size = torch.zeros(2, len(tokenizer), dtype=torch.long)
        self.members = torch.tensor([member for group in groups.values() for member in group])
        begin = 0
        for group in groups.values():
            self.start[group] = begin
            self.size[group] = len(group)
            begin += len(group)

    def __call__(self, ids: torch.Tensor, salience: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs, and targets that are IGNORED where nothing is predicted, both of the shape of ``ids``."""
        salient = torch.isin(ids, self.salient)
        only = salient.any(1, keepdim=True) & (self._random(len(ids), 1) < salience)
        chosen = torch.where(only, salient, (self._random(*ids.shape) < MASKED) & (ids >= len(SPECIAL)))
        fate = self._random(*ids.shape)
        inputs = torch.where(chosen & (only | (fate < 0.5)), self.hidden, ids)
        place = self.start[ids] + (self._random(*ids.shape) * self.size[ids]).long()
        replaced = chosen & ~only & (fate > 0.7) & (self.size[ids] > 0)
        return torch.where(replaced, self.members[place], inputs), torch.where(chosen, ids, IGNORED)

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator)


def batches(
    ids: torch.Tensor, segments: torch.Tensor, size: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One pass: batches of documents of like length, in random order, without padding beyond the longest."""
    lengths = (ids != 0).sum(1)
    order = torch.argsort(lengths + torch.rand(len(ids), generator=generator))
    for batch in torch.randperm(len(ids) // size, generator=generator):
        rows = order[batch * size : (batch + 1) * size]
        longest = int(lengths[rows].max())
        yield ids[rows, :longest].long(), segments[rows, :longest].long()


def loss_and_hits(
    model: BertForMaskedLM, batch: Batch, noise: Masker, salience: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy over the chosen tokens, and which of them are predicted right; the rest costs nothing."""
    ids, segments = batch
    inputs, targets = noise(ids, salience)
    hidden = model.bert(inputs, attention_mask=(ids != 0).long(), token_type_ids=segments).last_hidden_state
    chosen = targets != IGNORED
    scores = model.cls(hidden[chosen])
    loss = torch.nn.functional.cross_entropy(scores.float(), targets[chosen])
    return loss, scores.argmax(-1) == targets[chosen]


def main(
    output: Annotated[Path, typer.Option(help="Folder for weights, tokenizer and model card.")] = Path("demo-backbone"),
    count: Annotated[int, typer.Option("--documents", help="Number of documents.")] = 300_000,
    epochs: Annotated[int, typer.Option(help="Number of epochs.")] = 4,
    batch_size: Annotated[int, typer.Option(help="Batch size: documents per step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Random seed of text, masks and weights.")] = 0,
) -> None:
    """Pretrain the demo backbone."""
    set_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tokenizer = build_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM._from_config(config, attn_implementation="eager")  # faster than sdpa for short rows
    print(f"{model.num_parameters():,} parameters, {len(tokenizer):,} words and pieces")
    ids, segments = encode(count, seed + 2, tokenizer)
    steps = epochs * (count // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    noise = Masker(tokenizer, seed)
    started = time.monotonic()
    losses = []
    passes = (batch for _ in range(epochs) for batch in batches(ids, segments, batch_size, generator))
    for step, batch in enumerate(track(passes, "pretraining", steps), 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = loss_and_hits(model, batch, noise, SALIENT * (step > WORDS_FIRST * steps))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 500 == 0:
            passed = time.monotonic() - started
            print(f"step {step}/{steps}  loss {np.mean(losses[-500:]):.3f}  {passed:.0f} s", flush=True)
    renew_cls(model, tokenizer, seed)
    accuracy = evaluate(model, tokenizer, seed)
    print(f"MLM accuracy on new text: {accuracy:.1%} after {(time.monotonic() - started) / 60:.1f} min")
    model.half().save_pretrained(output)
    tokenizer.save_pretrained(output)


@torch.no_grad()
def renew_cls(model: BertForMaskedLM, tokenizer: BertTokenizerFast, seed: int) -> None:
    """Give [CLS] a fresh random embedding, so that it does not come made for the tasks.

    The model gathers there how the parts of a document hang together, which a head alone could read out. A real
    encoder's token stands before text of many kinds, and reading a text out of it is left to fine-tuning.
    """
    weight = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    weight[tokenizer.cls_token_id] = torch.randn(weight.shape[1], generator=generator) * weight.std()


@torch.inference_mode()
def evaluate(model: BertForMaskedLM, tokenizer: BertTokenizerFast, seed: int) -> float:
    """Share of the masked tokens predicted right, on documents not trained on."""
    generator = torch.Generator().manual_seed(seed)
    ids, segments = encode(8_000, seed + 1_000, tokenizer)
    noise = Masker(tokenizer, seed)
    hits = [loss_and_hits(model, batch, noise)[1] for batch in batches(ids, segments, 128, generator)]
    return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    typer.run(main)
