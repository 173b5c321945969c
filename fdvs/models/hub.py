"""The model hub: which files a repository has at one revision, and fetching some of them.

The only module that goes to the hub, and only when `fdvs models get` is told to.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.errors import BackendUnavailableError, InputError, ServerError

LISTING_TIMEOUT_S = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at one revision (40 hex digits): {path: size in bytes}, and its licence where known."""

    name: str
    revision: str
    files: Mapping[str, int]
    licence: str


class UnreachableError(ServerError):
    """No model hub can be reached from this machine."""


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise BackendUnavailableError(
            f"huggingface_hub cannot be imported ({error}); pip install 'fdvs[models]'"
        ) from error
    return huggingface_hub


def hub_address() -> str:
    """Where the hub is, by the variable that its own tools read."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@contextmanager
def _talking(name: str) -> Iterator[None]:
    """Turns what the hub's client raises into errors for people; answers that nobody gave are `UnreachableError`."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise InputError(f"the hub has no model {name!r} at that revision, or it is not public") from error
    except errors.HfHubHTTPError as error:
        raise ServerError(f"the hub at {hub_address()} refused to give {name}: {_first_line(error)}") from error
    except _nobody_answered() as error:
        raise UnreachableError(f"the hub at {hub_address()} cannot be reached: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _nobody_answered() -> tuple[type[Exception], ...]:
    """What lost connections raise: it depends on which HTTP library this release of the client uses."""
    from huggingface_hub import errors

    named = (("httpx2", "HTTPError"), ("httpx", "HTTPError"), ("requests", "RequestException"))
    found = [getattr(sys.modules[module], attribute) for module, attribute in named if module in sys.modules]
    return (ConnectionError, TimeoutError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, *found)


def listing(name: str, revision: str) -> Listing:
    """The files of a model at a revision; an empty one means the head of its main branch, now.

    Raises:
        UnreachableError: no hub answers, or none is allowed (`HF_HUB_OFFLINE`); within `LISTING_TIMEOUT_S` of silence.
        InputError: there is no such model or revision.
    """
    hub = _hub()
    with _talking(name):
        info = hub.HfApi(endpoint=hub_address()).model_info(
            name, revision=revision or None, files_metadata=True, timeout=LISTING_TIMEOUT_S
        )
    if not _COMMIT.fullmatch(info.sha or "") or (revision and info.sha != revision):
        raise ServerError(f"the hub at {hub_address()} answered for {name} with another revision than {revision}")
    card = info.card_data.to_dict() if info.card_data is not None else {}
    licence = str(card.get("license_name") or card.get("license") or "")
    return Listing(name, info.sha, {one.rfilename: int(one.size or 0) for one in info.siblings or ()}, licence)


def fetch(name: str, revision: str, files: list[str], cache: Path) -> Path:
    """Bring these files of a model into the Hugging Face cache; goes on where an earlier try stopped.

    Progress goes to stderr. Returns the folder with the files.

    Raises:
        UnreachableError, ServerError: the hub went away; what came is kept for the next try.
    """
    hub = _hub()
    with _talking(name):
        folder = hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=[glob.escape(path) for path in files],
            cache_dir=cache,
            endpoint=hub_address(),
            max_workers=4,
        )
    return Path(folder)
