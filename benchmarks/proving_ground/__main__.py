"""Which method to use: accuracy, retained attention and cost of every method on a small model that is trained for it.

    python -m benchmarks.proving_ground --work DIR [--train] [--quick] [--save benchmarks/results/proving_ground]

The model is trained on a CPU in minutes and kept in DIR, as are the rows that are measured already: a run that was
stopped goes on. `--quick` runs all of it in seconds on a model that has learned nothing, to see that it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.proving_ground.evaluation import answer, cost_of, layout_of
from benchmarks.proving_ground.finetuning import adapted
from benchmarks.proving_ground.model import Decoder, causal
from benchmarks.proving_ground.report import plot, table
from benchmarks.proving_ground.rows import Row, RowFile, write_csv
from benchmarks.proving_ground.sweep import LADDERS, SHARES, Ladder, Setting, choose
from benchmarks.proving_ground.tasks import TASKS, Batch, make
from benchmarks.proving_ground.training import QUICK, STAGES, trained
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.names import open_ops

TEST_SEED = 7_000_001
AT_ONCE = 4
TRAINED_SHARES = (0.25, 0.125)
"""For these, methods that were published as trained are also fine-tuned."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proving_ground", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and rows; made when missing")
    parser.add_argument("--train", action="store_true", help="train anew even if weights are there")
    parser.add_argument("--quick", action="store_true", help="untrained, short, in seconds")
    parser.add_argument("--length", type=int, help="tokens of a sequence; default 2048")
    parser.add_argument("--sequences", type=int, help="sequences of each task; default 8")
    parser.add_argument("--methods", nargs="+", help="only these, by name; default all")
    parser.add_argument("--no-finetuning", action="store_true", help="leave out training with the method in place")
    parser.add_argument("--save", type=Path, help="where to write .csv, .md and .svg, without the suffix")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work = asked.work / "quick" if asked.quick else asked.work
    model, seconds = trained(work, QUICK if asked.quick else STAGES, again=asked.train)
    length = asked.length or (256 if asked.quick else 2048)
    sequences = asked.sequences or (2 if asked.quick else 8)
    rows = RowFile(work / "rows.jsonl", fingerprint(model))
    ladders = [ladder for ladder in LADDERS if not asked.methods or ladder.method in asked.methods]
    for ladder in ladders:
        measure(model, ladder, length, sequences, rows, shares=SHARES[:1] if asked.quick else SHARES)
        if ladder.is_trained and not asked.no_finetuning and not asked.quick:
            for setting in choose(ladder, prompt_of(model, length), TRAINED_SHARES):
                tuned, told = adapted(model, setting, work)
                measure_setting(tuned, setting, length, sequences, rows, training=told)
    shown = in_order(row for row in rows.rows if row.length == length and row.sequences == sequences)
    text = page(shown, model, seconds, length, sequences)
    print("\n".join(text))
    if asked.save:
        write_csv(shown, asked.save.with_suffix(".csv"))
        plot(shown, asked.save.with_suffix(".svg"))
        asked.save.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By method as in `LADDERS`, as they are before trained, those that keep most first."""
    places = {ladder.label: place for place, ladder in enumerate(LADDERS)}
    return sorted(rows, key=lambda row: (places[row.method], row.training != "none", -row.kept_share, row.settings))


def fingerprint(model: Decoder) -> str:
    """16 hex digits of the weights: rows belong to the model they were measured on."""
    digest = hashlib.sha256()
    for weight in model.state_dict().values():
        digest.update(weight.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def prompt_of(model: Decoder, length: int) -> Prompt:
    """Queries, keys and values of the last layer on one sequence, dense attention before it: what costs are told of."""
    seen = []

    def dense(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        layout = layout_of(q.shape[2], model.size)
        seen.append(Prompt(q, k, v, layout, layer=layer, ops=open_ops("gather")))
        return causal(layer, q, k, v)

    with torch.no_grad():
        model(make("recall", length, 1, TEST_SEED).tokens, dense)
    return seen[-1]


def measure(
    model: Decoder, ladder: Ladder, length: int, sequences: int, rows: RowFile, *, shares: Sequence[float]
) -> None:
    for setting in choose(ladder, prompt_of(model, length), shares):
        measure_setting(model, setting, length, sequences, rows)


def measure_setting(
    model: Decoder, setting: Setting, length: int, sequences: int, rows: RowFile, *, training: str = "none"
) -> None:
    """Adds the rows of one setting that are not there yet."""
    keys = {task: (setting.ladder.label, training, setting.words, task, str(length), str(sequences)) for task in TASKS}
    missing = [task for task, key in keys.items() if not rows.has(key)]
    if not missing:
        return
    method = setting.open()
    cost = asdict(cost_of(method, prompt_of(model, length)))
    for task in missing:
        got = answer(model, method, open_ops("gather"), batches_of(task, length, sequences))
        row = Row(
            setting.ladder.label,
            training,
            setting.words,
            setting.target,
            task,
            length,
            sequences,
            **asdict(got),
            **cost,
        )
        rows.add(row)
        print(
            f"{row.method:32s} {training:12s} {row.settings:32s} {task:8s} pairs {row.kept_share:.3f} "
            f"right {row.in_prompt:.3f} last {row.last:.3f} later {row.later:.3f} retained {row.retained:.3f}",
            flush=True,
        )


def batches_of(task: str, length: int, sequences: int) -> list[Batch]:
    """The test's sequences, a few at once."""
    return [
        make(task, length, min(AT_ONCE, sequences - begin), TEST_SEED + begin) for begin in range(0, sequences, AT_ONCE)
    ]


def page(rows: Sequence[Row], model: Decoder, seconds: float, length: int, sequences: int) -> list[str]:
    """The results as a page of Markdown."""
    weights = sum(weight.numel() for weight in model.parameters())
    answers = {task: make(task, length, 1, TEST_SEED).answers[0].numel() * sequences for task in TASKS}
    counted = ", ".join(f"{count} of {task}" for task, count in answers.items())
    heads = f"{model.size.layers} layers, {model.size.heads_q} query and {model.size.heads_k} KV heads"
    return [
        "# Proving ground: sparse attention on a model that was trained to look far back",
        "",
        f"`python -m benchmarks.proving_ground`, torch {torch.__version__}, one thread of a {platform.machine()} CPU. "
        f"The model: {weights / 1e6:.2f} million weights, {heads} of {model.size.head_size}, trained in {seconds:.0f} "
        f"CPU seconds. {sequences} sequences of {length} tokens for each task; answers: {counted}.",
        "",
        "All but settings and `time` in per cent.",
        "",
        "- `pairs`: query–key pairs of the plan, of dense attention's; `planning`: its products as pairs, on top.",
        "- `time`: planning and attention of one layer on this CPU (back end `gather`), over PyTorch's dense path.",
        "- `cache`: entries that decoding keeps, over tokens. `retained`: the share of dense attention, in the rows",
        "  that answer, on tokens seen as they are.",
        "- `recall`, `needles`, `copy`, `mean`: right answers where the questions are in the prompt that is planned.",
        "- `last`: the same, of the last question alone, whose query is the last of the prompt; a mean of the tasks.",
        "- `later`: right answers where the context was planned without questions, and they came token by token over",
        "  the reduced cache; a mean of the tasks.",
        "",
        *table(rows),
    ]


if __name__ == "__main__":
    main()
