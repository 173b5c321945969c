"""The interface of each release of vLLM that was written down has what our adapters rely on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.kernels.plugs.vllm.plugin import ADAPTERS
from tools.vllm_contract import CONTRACTS, broken_needs, contract_of, written

FILES = sorted(CONTRACTS.glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_every_release_with_an_adapter_was_written_down() -> None:
    assert {tuple(map(int, path.stem.split("."))) for path in FILES} == set(ADAPTERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_release_has_what_the_adapters_use(path: Path) -> None:
    found = read(path)
    assert found["vllm"].startswith(f"{path.stem}.")
    assert broken_needs(found["contract"]) == []


def test_a_change_that_matters_is_noticed() -> None:
    contract = read(FILES[-1])["contract"]
    changes: tuple[Callable[[Any], object], ...] = (
        lambda new: new["CommonAttentionMetadata"]["members"].remove("slot_mapping"),
        lambda new: new["CommonAttentionMetadata"]["required"].append("block_size"),
        lambda new: new["AttentionBackendEnum"]["members"].remove("CUSTOM"),
        lambda new: new["AttentionImpl"]["methods"].update(forward="self, layer, query"),
        lambda new: new["CPUAttentionBackend"].update(values=["forward_includes_kv_cache_update=True"]),
        lambda new: new.pop("register_backend"),
    )
    for change in changes:
        changed = copy.deepcopy(contract)
        change(changed)
        assert len(broken_needs(changed)) == 1


def test_sources_are_read_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.vllm_contract.LOOKED_AT", {"a.py": ("Backend", "register")})
    (tmp_path / "a.py").write_text(
        "import nothing_like_this\n"
        "class Backend(Base):\n"
        "    name: str\n"
        "    is_ours: bool = False\n"
        "    def __init__(self, size, *rest, scale=1.0):\n"
        "        self.size = size\n"
        "        self.scale: float = scale\n"
        "@cache\n"
        "def register(name, path=None, **more): ...\n"
    )
    found = contract_of(tmp_path)
    assert found["Backend"] == {
        "bases": ["Base"], "members": ["is_ours", "name"], "required": ["name"], "values": ["is_ours=False"],
        "methods": {"__init__": "self, size, scale=1.0, *rest"}, "attributes": ["scale", "size"],
    }  # fmt: skip
    assert found["register"] == {"parameters": "name, path=None, **more", "decorators": ["cache"]}
    assert json.loads(written("1.2.3", found)) == {"vllm": "1.2.3", "contract": found}
