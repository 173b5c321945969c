"""Lines within a number of tokens: grouped, in pieces, shortened."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.prompts.writer import NumberedLine
from fdvs.records import Span
from fdvs.stories.budget import MAX_SECTIONS, Item, fits, sections, shortened


def item(node: int, text: str) -> Item:
    return Item(NumberedLine(Span(node * 1000, node * 1000 + 1000), "seen", text), (f"n{node}",))


def texts(items: list[Item]) -> list[str]:
    return [one.line.text for one in items]


LINES = st.lists(
    st.tuples(st.integers(0, 8), st.text('ab 语["', min_size=1, max_size=400).map(str.strip).filter(bool)), min_size=1
).map(lambda rows: [item(node, text) for node, text in sorted(rows, key=lambda row: row[0])])


@settings(deadline=None, max_examples=60)
@given(LINES, st.integers(120, 900))
def test_sections_hold_every_word_in_order_and_each_fits(items: list[Item], room: int) -> None:
    groups, cuts = sections(items, room)
    assert not cuts
    assert all(group and fits(group, room) for group in groups)
    for node in {one.nodes for one in items}:
        before = "".join(text for one in items if one.nodes == node for text in one.line.text.split())
        after = "".join(
            text for group in groups for one in group if one.nodes == node for text in one.line.text.split()
        )
        assert after == before
    order = [one.nodes for group in groups for one in group]
    assert order == sorted(order)


def test_sections_are_about_equal_and_end_with_a_node_where_they_can() -> None:
    items = [item(node, "a woman walks along the beach and waves") for node in range(12) for _ in range(3)]
    groups, _ = sections(items, 600)
    assert len(groups) == -(-sum(one.tokens for one in items) // 600)
    for before, after in pairwise(groups):
        assert before[-1].nodes != after[0].nodes
    sizes = [sum(one.tokens for one in group) for group in groups]
    assert max(sizes) <= 2 * min(sizes)


def test_lines_that_fit_are_not_touched() -> None:
    items = [item(0, "A dog runs."), item(1, "A cat sleeps.")]
    assert shortened(items, 100) == (items, [])
    assert sections(items, 100) == ([items], [])


def test_the_longest_lines_are_cut_first_and_what_is_cut_is_told() -> None:
    items = [item(0, "A dog runs."), item(1, "word " * 200 + "end"), item(2, "A cat sleeps.")]
    told, cuts = shortened(items, 150)
    assert fits(told, 150)
    assert texts(told)[::2] == ["A dog runs.", "A cat sleeps."]
    short = texts(told)[1]
    assert short.endswith("…")
    assert [(cut.nodes, cut.chars, cut.chars_left_out) for cut in cuts] == [(("n1",), 1003, 1003 - len(short) + 1)]


def test_where_even_short_lines_are_too_many_some_are_left_out_at_equal_distances() -> None:
    items = [item(node, f"line {node} says a little more than that") for node in range(100)]
    told, cuts = shortened(items, 400)
    assert fits(told, 400)
    kept = [int(one.nodes[0][1:]) for one in told]
    assert kept[0] == 0
    assert len({after - before for before, after in pairwise(kept)}) <= 2
    gone = [cut for cut in cuts if cut.chars == cut.chars_left_out]
    assert len(gone) + len(told) == 100


@settings(deadline=None, max_examples=60)
@given(LINES, st.integers(20, 400))
def test_shortened_lines_always_fit_and_every_loss_is_told(items: list[Item], room: int) -> None:
    told, cuts = shortened(items, room)
    assert fits(told, room)
    assert sum(len(one.line.text.rstrip("…")) for one in told) + sum(cut.chars_left_out for cut in cuts) == sum(
        len(one.line.text) for one in items
    )


def test_hostile_amounts_of_text_are_bounded() -> None:
    groups, cuts = sections([item(0, "word " * 60_000), item(1, "A dog runs.")], 120)
    assert len(groups) <= MAX_SECTIONS
    assert texts(groups[-1])[-1] == "A dog runs."
    assert cuts[0].chars_left_out > 200_000
