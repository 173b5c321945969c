"""Every error fdvs raises on purpose: safe to show, with an exit code and whether a retry can help."""

from __future__ import annotations


class FdvsError(Exception):
    """Base of all errors whose message is written for the user.

    Attributes:
        exit_code: what the command line exits with when this error ends the command.
        retryable: True when the same call may succeed later without any change.
    """

    exit_code: int = 1
    retryable: bool = False


class InputError(FdvsError, ValueError):
    """The caller asked for something that cannot be: a bad value, a bad file format, a bad combination."""


class UsageError(InputError):
    """The command line was used wrongly (exit code 2)."""

    exit_code = 2


class ShapeError(InputError):
    """An array has another shape than the one documented; the message shows wanted and got."""


class UnknownBackendError(UsageError):
    """A back end was named that does not exist; the message lists the known names."""

    def __init__(self, role: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {role} {name!r}; known: {', '.join(sorted(known))}")


class MediaError(FdvsError):
    """A video could not be used. `code` is one of the status codes of the contract."""

    def __init__(self, message: str, *, code: str = "damaged") -> None:
        super().__init__(message)
        self.code = code


class OpenError(MediaError):
    """The file could not be opened as a video at all."""


class DecodeError(MediaError):
    """Decoding failed; `at_ms` is the time on the published time line, where known."""

    def __init__(self, message: str, *, code: str = "damaged", at_ms: int | None = None) -> None:
        super().__init__(message, code=code)
        self.at_ms = at_ms


class LimitError(MediaError):
    """A limit on frames, pixels, duration or time was exceeded before or while decoding."""

    def __init__(self, message: str, *, code: str = "limit") -> None:
        super().__init__(message, code=code)


class BackendUnavailableError(FdvsError, ImportError):
    """A named back end cannot run here; the message says which extra to install."""


class ServerError(FdvsError):
    """A model's server does not answer, or not as one does; the message says which server and what to do."""

    retryable = True


class ConsentError(UsageError):
    """Something would leave this machine and nobody has agreed to it; the message says what, where to, and how to."""


class IndexMismatchError(FdvsError):
    """A vector index or a query vector belongs to another model, dimension or metric."""


class StoreError(FdvsError):
    """The library on disk cannot be used."""


class SchemaTooNewError(StoreError):
    """The library was written by a newer fdvs."""


class NotFoundError(StoreError, KeyError):
    """Something named does not exist in the library."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class AmbiguousError(StoreError):
    """A name fits several videos; the message lists the candidates."""
