"""Any model that vLLM runs, in this process (`vllm`): requests join and leave its batch at every step.

vLLM is set up by environment variables as well. Those that the user has set stay; of the others, this module sets that
nothing is reported or downloaded, and on a CPU that the engine runs in this very process with a small cache:
`VLLM_CPU_KVCACHE_SPACE` (GiB), `VLLM_ENABLE_V1_MULTIPROCESSING`. On a GPU the engine runs in a process of its own, so
that pictures are prepared while it computes; scripts then need `if __name__ == "__main__"`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.chat.batching import MAX_REASON_CHARS, QueuedChat, Waiting, failed
from fdvs.chat.local import named_model, read_json
from fdvs.chat.pictures import PictureError, as_images, as_video
from fdvs.chat.registry import Serving
from fdvs.chat.templates import has_place_for_video, messages, takes_system
from fdvs.encoders._local_models import loading, require
from fdvs.errors import BackendUnavailableError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice
    from fdvs.kernels.plugs.vllm.asked import Asked

MAX_CONTEXT_TOKENS = 16384
MAX_IMAGES, MAX_VIDEOS = 64, 1
SEQUENCES_ON_GPU, SEQUENCES_ON_CPU = 256, 4
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
ON_CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "4",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}

_log = logging.getLogger(__name__)


class VllmChat(QueuedChat):
    """`ChatModel` over `vllm.LLM` (vLLM 0.26 or newer).

    Attributes:
        frames_as: how frames reach the model: `video`, `images`, or `none` for one that only reads text.
        notes: lines for people: which layers attend by which method.

    Raises:
        BackendUnavailableError: vLLM is missing or too old, or the model is not here, or vLLM cannot run it, or not
            with the attention that is asked for.
        UsageError: `serving.frames_as` is `video` for a model that takes none, or attention is asked for that no
            request would be long enough for.
    """

    name = "vllm"

    def __init__(self, model: str, where: str = "", serving: Serving | None = None) -> None:
        serving = serving or Serving()
        label, folder = named_model(model, where)
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        vllm = require("vllm", "serve")
        is_cpu = bool(require("vllm.platforms", "serve").current_platform.is_cpu())
        if is_cpu:
            for variable, value in ON_CPU.items():
                os.environ.setdefault(variable, value)
        self._params = require("vllm.sampling_params", "serve")
        if not hasattr(self._params, "StructuredOutputsParams"):
            raise BackendUnavailableError(f"vllm {vllm.__version__} is too old; pip install 'fdvs[serve]' for 0.26")
        config = read_json(folder / "config.json")
        marks = _marks(config)
        if serving.frames_as == "video" and "video" not in marks:
            raise _no_video(label)
        sequences = SEQUENCES_ON_CPU if is_cpu else SEQUENCES_ON_GPU
        wanted = _options(config, marks, sequences, is_cpu=is_cpu)
        if serving.attention is not None:
            wanted |= _whole_prompts(wanted["max_model_len"], sequences, is_cpu=is_cpu)
        wanted = _known(wanted, vllm)
        self._reports = ExitStack()
        self._asked: Asked | None = None
        try:
            with loading(label):
                self.llm: Any
                self.notes = self._load(vllm, {"model": str(folder), **wanted}, serving.attention)
        except (AssertionError, NotImplementedError, AttributeError) as error:
            raise BackendUnavailableError(f"vLLM cannot run {label}: {error}") from error
        self._tokenizer = self.llm.get_tokenizer()
        self._template = _template(folder, self._tokenizer, label)
        self._has_system = takes_system(self._render, "images" if marks else "none")
        self.frames_as = self._choose_frames_as(serving.frames_as, marks, label)
        self._num_begun = 0
        super().__init__(label, 2 * sequences, _context(config))

    def _load(self, vllm: Any, options: dict[str, Any], attention: AttentionChoice | None) -> tuple[str, ...]:
        """Starts the engine. Returns what it says of its attention, once that has been seen to run."""
        from fdvs.kernels.plugs.vllm.asked import Asked
        from fdvs.kernels.plugs.vllm.plugin import asking
        from fdvs.kernels.plugs.vllm.proof import length_of_proof, proven, reported

        if attention is None:
            with asking(None):
                self.llm = vllm.LLM(**options)
            return ()
        if length_of_proof(attention) + 2 > options["max_model_len"]:
            raise UsageError(
                f"prompts below {attention.dense_below} tokens are attended to in full, and a request has at most "
                f"{options['max_model_len']}: set a lower dense_below"
            )
        with ExitStack() as stack:
            asked = stack.enter_context(reported(Asked(attention)))
            with asking(asked):
                self.llm = vllm.LLM(**options)
            try:
                note = f"attention {proven(asked, self._attend)}; shorter than {attention.dense_below} are dense"
            except BackendUnavailableError:
                self.release()
                raise
            self._reports, self._asked = stack.pop_all(), asked
        return (note,)

    @property
    def summary(self) -> tuple[str, ...]:
        """Lines for people: how many prompts were planned so far, the one that proved it among them."""
        from fdvs.kernels.plugs.vllm.proof import read_reports

        if self._asked is None or self._asked.report is None:
            return ()
        return (f"attention {self._asked.choice.words()}: {read_reports(self._asked.report).total()}",)

    def _attend(self, length: int) -> None:
        """Lets the engine read a prompt of so many tokens."""
        token = self.llm.get_tokenizer().encode(" a", add_special_tokens=False)[-1]
        params = self._params.SamplingParams(temperature=0, max_tokens=2, ignore_eos=True)
        self.llm.generate([{"prompt_token_ids": [token] * length}], params, use_tqdm=False)

    def _choose_frames_as(self, wanted: str, marks: Mapping[str, int], label: str) -> str:
        takes_video = "video" in marks and has_place_for_video(
            self._render, str(self._tokenizer.convert_ids_to_tokens(marks["video"])), self._has_system
        )
        if wanted == "video" and not takes_video:
            self.release()
            raise _no_video(label)
        if takes_video and wanted != "images":
            return "video"
        return "images" if marks else "none"

    def _render(self, conversation: Sequence[Mapping[str, Any]]) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            list(conversation),
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return rendered

    def run(self) -> None:
        """Between two steps of the engine, whatever waits joins them, as far as `in_flight` allows."""
        at_work: dict[str, Waiting] = {}
        while not self.is_closing.is_set():
            for one in self.take(self.in_flight - len(at_work), wait=not at_work):
                self._begin(one, at_work)
            try:
                self._step(at_work)
            except Exception as error:  # noqa: BLE001 - the boundary: a dead engine fails its requests, not the build
                reason = f"vLLM stopped: {type(error).__name__}: {error}"[:MAX_REASON_CHARS]
                _log.warning("%s", reason)
                self._end_all(at_work, failed(reason))
        self._end_all(at_work, failed("given up: the model was closed while it answered", is_retryable=True))

    def _begin(self, one: Waiting, at_work: dict[str, Waiting]) -> None:
        one.attempts, one.seconds = 1, -time.perf_counter()
        try:
            prompt, params = self._prepared(one.request)
            key = self._enqueue(prompt, params)
        except Exception as error:  # noqa: BLE001 - the boundary: a request that vLLM refuses fails alone
            one.seconds += time.perf_counter()
            one.finish(failed(f"{error}"[:MAX_REASON_CHARS]))
            return
        at_work[key] = one

    def _enqueue(self, prompt: dict[str, Any], params: Any) -> str:
        """Let the engine begin a request; by which name it knows it."""
        if hasattr(self.llm, "enqueue"):
            (key,) = self.llm.enqueue(prompt, params, use_tqdm=False)
            return str(key)
        self._num_begun += 1  # releases without it take such prompts here
        key = f"fdvs-{self._num_begun}"
        self.llm.llm_engine.add_request(key, prompt, params)
        return key

    def _step(self, at_work: dict[str, Waiting]) -> None:
        if not at_work:
            return
        for output in self.llm.llm_engine.step():
            if not output.finished:
                continue
            # vLLM numbers requests, and from some release on adds random characters to what `enqueue` returns.
            key = next(key for key in at_work if key == output.request_id or key.startswith(f"{output.request_id}-"))
            one = at_work.pop(key)
            one.seconds += time.perf_counter()
            one.finish(_reply(output))

    def _end_all(self, at_work: dict[str, Waiting], reply: ChatReply) -> None:
        with suppress(Exception):  # an engine that is dead has nothing to give up
            self.llm.llm_engine.abort_request([name for key in at_work for name in (key, key.rpartition("-")[0])])
        for one in at_work.values():
            one.seconds += time.perf_counter()
            one.finish(reply)
        at_work.clear()

    def _prepared(self, request: ChatRequest) -> tuple[dict[str, Any], Any]:
        """The request as vLLM takes it: prompt with pictures, and how to write the reply."""
        frames = [part for part in request.parts if isinstance(part, Frames) and part.pictures]
        if frames and self.frames_as == "none":
            raise PictureError(f"{self.model} reads text only and was given {request.num_pictures} pictures")
        if self.frames_as == "images" and request.num_pictures > MAX_IMAGES:
            raise PictureError(f"at most {MAX_IMAGES} pictures in a request, got {request.num_pictures}")
        if self.frames_as == "video" and len(frames) > MAX_VIDEOS:
            raise PictureError(f"at most {MAX_VIDEOS} stretch of video in a request, got {len(frames)}")
        turns = messages(request, frames_as=self.frames_as, has_system=self._has_system)
        prompt: dict[str, Any] = {"prompt": self._render(turns)}
        if frames and self.frames_as == "video":
            pixels, metadata = as_video(frames[0], 2)
            prompt["multi_modal_data"] = {"video": [(pixels, {**metadata, "do_sample_frames": False})]}
        elif frames:
            from PIL import Image

            prompt["multi_modal_data"] = {"image": [Image.fromarray(pixels) for pixels in as_images(request)]}
        return prompt, self._sampling(request)

    def _sampling(self, request: ChatRequest) -> Any:
        bound: dict[str, Any] = {}
        if request.schema is not None:
            schema = json.loads(json.dumps(request.schema))
            bound["structured_outputs"] = self._params.StructuredOutputsParams(json=schema)
        if request.temperature > 0:
            bound["seed"] = request.seed
        return self._params.SamplingParams(temperature=request.temperature, max_tokens=request.max_tokens, **bound)

    def release(self) -> None:
        engine = self.llm.llm_engine
        self.llm = None
        with suppress(AttributeError):  # an engine in this process may have nothing to shut down
            engine.engine_core.shutdown()
        self._reports.close()
        self._asked = None


def _no_video(label: str) -> UsageError:
    return UsageError(f"{label} takes no video in vLLM; leave frames_as at auto, or set it to images")


def _reply(output: Any) -> ChatReply:
    written = output.outputs[0]
    usage = Usage(tokens_in=len(output.prompt_token_ids or ()), tokens_out=len(written.token_ids))
    if written.finish_reason in {"stop", "length"}:
        return ChatReply(written.text, Finish(written.finish_reason), usage=usage)
    return failed(f"vLLM ended the reply: {written.finish_reason}", is_retryable=True)


def _marks(config: Mapping[str, Any]) -> dict[str, int]:
    """{`image` or `video`: the token that stands for one}, as the model's settings say; empty for one without eyes."""
    found = {kind: config.get(f"{kind}_token_id", config.get(f"{kind}_token_index")) for kind in ("image", "video")}
    if found["image"] is None and "vision_config" in config:
        found["image"] = -1  # it sees, but its settings do not say how that is marked
    return {kind: token for kind, token in found.items() if isinstance(token, int)}


def _context(config: Mapping[str, Any]) -> int:
    text = config.get("text_config") or config.get("llm_config") or config
    known = text.get("max_position_embeddings") or config.get("max_position_embeddings")
    return min(MAX_CONTEXT_TOKENS, int(known)) if known else MAX_CONTEXT_TOKENS


def _options(config: Mapping[str, Any], marks: Mapping[str, int], sequences: int, *, is_cpu: bool) -> dict[str, Any]:
    """How the engine is started for this work."""
    limits = {"image": MAX_IMAGES, "video": MAX_VIDEOS} if "video" in marks else {"image": MAX_IMAGES}
    return {
        "load_format": "safetensors",
        "trust_remote_code": False,
        "max_model_len": _context(config),
        "max_num_seqs": sequences,
        "enable_prefix_caching": True,  # a video that was seen is not computed again for the next question
        "enable_chunked_prefill": True,  # a long video does not hold up the replies of others
        "enforce_eager": is_cpu,
        "generation_config": "vllm",  # the model's own sampling defaults would make replies differ
        "seed": 0,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **({"limit_mm_per_prompt": limits, "mm_processor_cache_gb": 1 if is_cpu else 4} if marks else {}),
    }


def _whole_prompts(longest: int, sequences: int, *, is_cpu: bool) -> dict[str, Any]:
    """What planned attention asks of vLLM: each prompt whole, and nothing of one in another."""
    whole = {
        "enable_prefix_caching": False,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(longest, sequences),
    }
    return whole if is_cpu else {**whole, "attention_backend": "CUSTOM"}


def _known(options: Mapping[str, Any], vllm: Any) -> dict[str, Any]:
    """Those of our options that this release of vLLM has; the others are said and left out."""
    names = {one.name for one in fields(vllm.EngineArgs)}
    if unknown := sorted(options.keys() - names):
        _log.warning("vllm %s has no setting %s; it runs without", vllm.__version__, ", ".join(unknown))
    return {name: value for name, value in options.items() if name in names}


def _template(folder: Path, tokenizer: Any, label: str) -> str:
    """The model's chat template: the tokenizer's, or the file beside it where older models keep it."""
    older = folder / "chat_template.json"
    template = getattr(tokenizer, "chat_template", None)
    if not template and older.is_file():
        template = read_json(older).get("chat_template")
    if not template:
        raise BackendUnavailableError(f"{label} has no chat template: it was not trained to follow requests")
    return str(template)
