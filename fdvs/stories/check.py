"""What must hold in every story tree, checked after each build and each load."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fdvs.errors import InputError
from fdvs.records import Level, Span, StoryNode

MAX_CHILDREN = 24
_BELOW = {
    Level.CLIP: (),
    Level.SCENE: (Level.CLIP,),
    Level.CHAPTER: (Level.SCENE, Level.CLIP),
    Level.PART: (Level.CHAPTER, Level.PART),
    Level.VIDEO: (Level.CHAPTER, Level.PART),
}


def validate_tree(nodes: Sequence[StoryNode], duration_ms: int, *, max_children: int = MAX_CHILDREN) -> None:
    """Check that `nodes` are one story tree in pre-order.

    Clips partition [0, duration_ms), a parent's span is the union of its children's, children stand in time order,
    levels go down, nobody has more than `max_children` children, ids are unique, links agree in both directions, and
    every sentence names a source.

    Raises:
        InputError: names the first node that breaks a rule.
    """
    by_id = {node.id: node for node in nodes}
    if len(by_id) != len(nodes):
        raise InputError("two nodes of the story tree have the same id")
    if not nodes or nodes[0].level is not Level.VIDEO or nodes[0].parent is not None:
        raise InputError("the first node of a story tree must be its one video node, without a parent")
    order: list[str] = []
    todo = [nodes[0].id]
    while todo:
        node = by_id[todo.pop()]
        order.append(node.id)
        _check_node(node, by_id, max_children)
        todo += reversed(node.children)
    if order != [node.id for node in nodes]:
        raise InputError("the nodes of the story tree are not in pre-order, or some hang from no parent")
    _check_tiling([node.span for node in nodes if node.level is Level.CLIP], duration_ms)


def _check_node(node: StoryNode, by_id: dict[str, StoryNode], max_children: int) -> None:
    name = f"node {node.id} ({node.level})"
    if bool(node.children) == (node.level is Level.CLIP):
        raise InputError(f"{name}: clips have no children, every other node has some; got {len(node.children)}")
    if len(node.children) > max_children:
        raise InputError(f"{name} has {len(node.children)} children, at most {max_children} are allowed")
    unknown = [child for child in node.children if child not in by_id]
    if unknown:
        raise InputError(f"{name} names a child that does not exist: {unknown[0]}")
    children = [by_id[child] for child in node.children]
    for child in children:
        if child.parent != node.id:
            raise InputError(f"{name} names {child.id} as child, which names {child.parent} as parent")
        if child.level not in _BELOW[node.level]:
            raise InputError(f"{name} cannot have a {child.level} as child")
    if children and (node.span.start_ms, node.span.end_ms) != (children[0].span.start_ms, children[-1].span.end_ms):
        raise InputError(f"{name}: its span is not the union of its children's")
    for sentence in node.sentences:
        if not sentence.text.strip() or not sentence.sources:
            raise InputError(f"{name}: a sentence without text or without a source")


def _check_tiling(clips: Sequence[Span], duration_ms: int) -> None:
    at = 0
    for span in clips:
        if span.start_ms != at:
            raise InputError(f"clips must follow one another: one begins at {span.start_ms} ms instead of {at} ms")
        at = span.end_ms
    if at != duration_ms:
        raise InputError(f"clips must end with the video: {at} ms instead of {duration_ms} ms")


def validate_sources(nodes: Sequence[StoryNode], caption_ids: Collection[str]) -> None:
    """Check that every source of every sentence is a caption or a node of this story.

    Raises:
        InputError: names the node and the id that does not exist.
    """
    known = set(caption_ids) | {node.id for node in nodes}
    for node in nodes:
        for sentence in node.sentences:
            for source in sentence.sources:
                if source not in known:
                    raise InputError(f"node {node.id}: a sentence has the source {source}, which does not exist")
