"""Any vision-language or language model of transformers, in this process, several requests at a time (`transformers`).

Models load by their type; which attention they use, or whether some of their layers use none, is left to them, unless
a sparse one is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.chat.batching import BatchedChat, OutOfRoomError, failed
from fdvs.chat.collate import UnlikeError, collate
from fdvs.chat.generation import Row, generate, is_out_of_memory
from fdvs.chat.local import named_model, refuse_own_code
from fdvs.chat.pictures import PictureError, as_images, as_video
from fdvs.chat.registry import Serving
from fdvs.chat.templates import has_place_for_video, messages, takes_system
from fdvs.encoders._local_models import device, loading, require
from fdvs.errors import BackendUnavailableError, FdvsError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice

_log = logging.getLogger(__name__)
BATCH_ON_GPU = 16
BATCH_ON_CPU = 4


class TransformersChat(BatchedChat):
    """`ChatModel` over a folder of this machine or a model in the local Hugging Face cache.

    Replies are the most likely ones, or drawn by the request's own seed, whatever else is in the batch. A JSON schema
    cannot be enforced here: what asked for one parses the reply.

    Attributes:
        frames_as: how frames reach the model: `video`, `images`, or `none` for one that only reads text.
        num_apart: requests that were answered alone since their pictures did not fit into one batch.
        notes: lines for people: which layers attend by which method.

    Raises:
        BackendUnavailableError: the packages are missing, the model is not here as safetensors, is of an unknown type,
            or has no chat template, or none of its layers can attend by the method that is asked for.
        UsageError: `serving.frames_as` is `video` for a model that takes none.
    """

    name = "transformers"

    def __init__(self, model: str, where: str = "", serving: Serving | None = None) -> None:
        serving = serving or Serving()
        transformers, self._torch = require("transformers", "models"), require("torch", "models")
        label, folder = named_model(model, where)
        refuse_own_code(label, folder, transformers.CONFIG_MAPPING)
        self._device = device(self._torch)
        self._plug: Any = None
        dtype = self._torch.bfloat16 if self._device == "cuda" else self._torch.float32
        options = {"local_files_only": True, "trust_remote_code": False}
        with loading(label), _named_packages(label):
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
            auto = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
            preparing = transformers.AutoProcessor if sees else transformers.AutoTokenizer
            self._processor = preparing.from_pretrained(folder, **options)
            network = auto.from_pretrained(folder, use_safetensors=True, dtype=dtype, **options)
        self.network: Any = network.to(self._device).eval()
        self.tokenizer = getattr(self._processor, "tokenizer", self._processor)
        self._eos = _eos_ids(self.network, self.tokenizer, label)
        self._pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else min(self._eos)
        # Defaults for sampling that come with a model would make its replies differ from those of a server.
        self.network.generation_config = transformers.GenerationConfig(
            eos_token_id=sorted(self._eos), pad_token_id=self._pad
        )
        self._template = _template(self._processor, self.tokenizer, label)
        self._has_system = takes_system(self._render, "images" if sees else "none")
        self.frames_as = self._choose_frames_as(serving.frames_as, label) if sees else "none"
        limit = BATCH_ON_GPU if self._device == "cuda" else BATCH_ON_CPU
        self.num_apart = 0
        self.notes = () if serving.attention is None else (self._attend_by(serving.attention, label),)
        context = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 0)
        super().__init__(label, min(limit, serving.requests), context)

    def _choose_frames_as(self, wanted: str, label: str) -> str:
        """`video` where the processor and the chat template both have a place for one, unless images are wanted."""
        token = getattr(self._processor, "video_token", None)
        takes_video = (
            getattr(self._processor, "video_processor", None) is not None
            and token is not None
            and has_place_for_video(self._render, str(token), self._has_system)
        )
        if wanted == "video" and not takes_video:
            raise UsageError(f"{label} takes no video; leave frames_as at auto, or set it to images")
        return "video" if takes_video and wanted != "images" else "images"

    def _attend_by(self, choice: AttentionChoice, label: str) -> str:
        """Puts a method into the network, for as long as it is there; says which layers it serves."""
        from fdvs.kernels.methods.budget_file import read_budgets
        from fdvs.kernels.plugs.transformers import enable

        settings: dict[str, Any] = {**dict(choice.settings), "dense_below": choice.dense_below, "sinks": choice.sinks}
        if "budgets" in settings:  # read here, where the model's name is known: those of another model are refused
            settings["budgets"] = read_budgets(settings["budgets"], model=label)
        self._plug = enable(self.network, choice.method, **settings)
        return f"attention {choice.words()} {self._plug.words()}; prompts below {choice.dense_below} tokens are dense"

    @property
    def summary(self) -> tuple[str, ...]:
        """Lines for people when the work is done: how many requests were attended by plan."""
        return () if self._plug is None else (f"attention {self._plug.method.name}: {self._plug.totals().words()}",)

    def _render(self, conversation: Sequence[Mapping[str, Any]]) -> str:
        extra = {"enable_thinking": False} if "enable_thinking" in self._template else {}
        rendered: str = self._processor.apply_chat_template(
            list(conversation), tokenize=False, add_generation_prompt=True, **extra
        )
        return rendered

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One batch. A request that cannot be prepared fails alone; the others go on."""
        replies: dict[int, ChatReply] = {}
        rows: dict[int, Row] = {}
        for i, request in enumerate(requests):
            try:
                rows[i] = self.prepared(request)
            except (PictureError, _RefusedError) as error:
                replies[i] = failed(str(error))
        if rows:
            replies |= dict(zip(rows, self._generated(list(rows.values())), strict=True))
        return [replies[i] for i in range(len(requests))]

    def prepared(self, request: ChatRequest) -> Row:
        """One request as the model's input, on the CPU: what it is given does not depend on the rest of the batch."""
        if request.num_pictures and self.frames_as == "none":
            raise _RefusedError(f"{self.model} reads text only and was given {request.num_pictures} pictures")
        prompt = self._render(messages(request, frames_as=self.frames_as, has_system=self._has_system))
        inputs = self._tokens(prompt, request)
        length = int(inputs["input_ids"].shape[1])
        if self.context_tokens and length + request.max_tokens > self.context_tokens:
            raise _RefusedError(
                f"the request has {length} tokens and the reply may have {request.max_tokens}; "
                f"{self.model} takes {self.context_tokens} together"
            )
        return Row(inputs, length, request.max_tokens, request.temperature, request.seed)

    def _tokens(self, prompt: str, request: ChatRequest) -> dict[str, Any]:
        bos = self.tokenizer.bos_token
        options: dict[str, Any] = {"return_tensors": "pt"}
        if bos and prompt.startswith(bos):
            options["add_special_tokens"] = False  # the template has written it already
        frames = [part for part in request.parts if isinstance(part, Frames) and part.pictures]
        if frames and self.frames_as == "video":
            pairs = int(getattr(self._processor.video_processor, "temporal_patch_size", 1) or 1)
            videos = [as_video(part, pairs) for part in frames]
            options |= {
                "videos": [[pixels for pixels, _ in videos]],  # a list for each request, as images
                "video_metadata": [[metadata for _, metadata in videos]],
                "do_sample_frames": False,
            }
        elif frames:
            options["images"] = [as_images(request)]
        return dict(self._processor(text=[prompt], **options))

    def _generated(self, rows: Sequence[Row]) -> list[ChatReply]:
        try:
            batch = collate([row.inputs for row in rows], self._pad)
        except UnlikeError as error:
            if not self.num_apart:
                _log.warning("%s answers requests one by one that do not fit into one batch: %s", self.model, error)
            self.num_apart += len(rows)
            return [reply for row in rows for reply in self._generated([row])]
        try:
            written = generate(self.network, batch, rows, self._eos, stop=self.is_closing)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                if self._device == "cuda":
                    self._torch.cuda.empty_cache()
                raise OutOfRoomError(str(error).splitlines()[0]) from error
            raise
        return [self._reply(row, tokens) for row, tokens in zip(rows, written, strict=True)]

    def _reply(self, row: Row, tokens: Sequence[int]) -> ChatReply:
        has_ended = bool(tokens) and tokens[-1] in self._eos
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        usage = Usage(tokens_in=row.length, tokens_out=len(tokens))
        return ChatReply(text, Finish.STOP if has_ended else Finish.LENGTH, usage=usage)

    def release(self) -> None:
        if self._plug is not None:
            self._plug.disable()
        self.network = self._plug = None
        if self._device == "cuda":
            self._torch.cuda.empty_cache()


class _RefusedError(ValueError):
    """A request that this model cannot take; the message says why."""


@contextmanager
def _named_packages(label: str) -> Iterator[None]:
    """Turns an import that fails while a model loads into an error that names the package."""
    try:
        yield
    except FdvsError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise BackendUnavailableError(f"{label} needs a package that is not here: {reason}") from error


def _eos_ids(network: Any, tokenizer: Any, label: str) -> frozenset[int]:
    """Tokens that end a reply, as the model's own settings say."""
    ids = network.generation_config.eos_token_id
    if ids is None:
        ids = tokenizer.eos_token_id
    found = frozenset(ids if isinstance(ids, list | tuple) else [ids]) - {None}
    if not found:
        raise BackendUnavailableError(f"{label} does not say which token ends a reply (eos_token_id)")
    return found


def _template(processor: Any, tokenizer: Any, label: str) -> str:
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if not template:
        raise BackendUnavailableError(f"{label} has no chat template: it was not trained to follow requests")
    return str(template)
