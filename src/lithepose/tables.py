"""Tables as text: in Markdown, and in columns."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table in Markdown, its last columns, so many as hold `numbers`, set to the right."""
    rule = ["---"] * (len(headings) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows))


def aligned(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Container[int]) -> str:
    """A table in columns, those whose indices are in `numbers` set to the right."""
    columns = []
    for index, texts in enumerate(zip(headings, *rows, strict=True)):
        width = max(map(len, texts))
        columns.append([t.rjust(width) if index in numbers else t.ljust(width) for t in texts])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))
