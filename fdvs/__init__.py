"""fdvs: hours of video as a story that people can read, search and question, with the exact time behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdvs.api import Library
    from fdvs.retrieval.story_file import Story

__version__ = "0.1.0"
__all__ = ["Library", "Story", "__version__"]


def __getattr__(name: str) -> Any:
    """`Library` and `Story` are imported when first used: `import fdvs` stays instant."""
    if name == "Library":
        from fdvs.api import Library

        return Library
    if name == "Story":
        from fdvs.retrieval.story_file import Story

        return Story
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
