"""What may be changed in a file of ours: every place, and what would stand there instead.

A mutant is one expression replaced by another that a careless hand could have written: the
neighbouring comparison, the other sign, a number one too large, `or` for `and`, a missing `not`,
another returned value. Texts are left alone, for they are made for people, and so are annotations,
decorators and what only type checkers read. The text around the expression stays as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
RETURNS = {
    "int": "({}) + 1",
    "float": "({}) + 1",
    "bytes": "({})[:-1]",
    "str": '""',
    "bool": "not ({})",
}
EMPTY = {"tuple": "()", "list": "[]"}


@dataclass(frozen=True)
class Mutant:
    """One expression of one file, and what replaces it."""

    path: str  # from the root of the tree
    first: int  # lines of the statement that holds it, or of its head
    last: int
    start: int  # offsets of the expression, bytes
    end: int
    line: int
    text: str  # the line as it is, without the space around it
    old: str
    new: str
    names: tuple[str, ...]  # that a line done at import defines
    inside: bool  # of a function

    @property
    def change(self) -> str:
        """As it is shown and listed."""
        return f"{self.old} -> {self.new}"

    def apply(self, source: bytes) -> bytes:
        """The file's bytes with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def find_mutants(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a file, in the order of the text."""
    return list(_Finder(path, source).find())


@dataclass(frozen=True)
class _Place:
    """Where in a file an expression stands."""

    first: int
    last: int
    names: tuple[str, ...]
    function: ast.FunctionDef | None


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source
        self._lines = source.splitlines(keepends=True)
        self._tree = ast.parse(source)

    def find(self) -> Iterator[Mutant]:
        for statement in self._tree.body:
            yield from self._statement(statement, None)

    def _statement(self, node: ast.stmt, function: ast.FunctionDef | None) -> Iterator[Mutant]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        body: list[ast.AST] = getattr(node, "body", None) or getattr(node, "cases", None) or []
        last = max(node.lineno, _first_line(body[0]) - 1) if body else node.end_lineno
        place = _Place(node.lineno, last or node.lineno, _defined(node), function)
        if isinstance(node, ast.FunctionDef):
            inner = _Place(node.body[0].lineno, node.end_lineno or 0, (node.name,), node)
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    yield from self._expression(default, inner)
            function = node
        elif isinstance(node, ast.Return) and node.value is not None:
            yield from self._returned(node.value, place)
            yield from self._expression(node.value, place)
        else:
            if isinstance(node, ast.AugAssign):
                other = ast.AugAssign(node.target, OPERATORS[type(node.op)](), node.value)
                yield self._mutant(node, ast.unparse(other), place)
            for child in _expressions(node):
                yield from self._expression(child, place)
        for inside in _statements(node):
            yield from self._statement(inside, function)
        for case in getattr(node, "cases", ()):
            if case.guard is not None:
                line = case.pattern.lineno
                guard = _Place(line, case.guard.end_lineno or line, (), function)
                yield from self._expression(case.guard, guard)
            for inside in case.body:
                yield from self._statement(inside, function)

    def _expression(self, node: ast.expr, place: _Place) -> Iterator[Mutant]:
        if isinstance(node, ast.JoinedStr):
            return
        for new in _instead(node):
            text = ast.unparse(new)
            yield self._mutant(node, text if isinstance(new, ast.Constant) else f"({text})", place)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from self._expression(child, place)
            elif isinstance(child, ast.comprehension):
                for part in (child.iter, *child.ifs):
                    yield from self._expression(part, place)
            elif isinstance(child, ast.keyword):
                yield from self._expression(child.value, place)

    def _returned(self, node: ast.expr, place: _Place) -> Iterator[Mutant]:
        annotation = place.function.returns if place.function else None
        kind = ast.unparse(annotation) if annotation else ""
        name = kind.partition("[")[0]
        pattern = RETURNS.get(kind) or EMPTY.get(name, "None")
        old = ast.unparse(node)
        new = pattern.format(old)
        if new != old and not isinstance(node, ast.Constant):
            yield self._mutant(node, f"({new})", place)

    def _mutant(self, node: ast.expr | ast.stmt, new: str, place: _Place) -> Mutant:
        start = self._offset(node.lineno, node.col_offset)
        end = self._offset(node.end_lineno or 0, node.end_col_offset or 0)
        return Mutant(
            path=self._path,
            first=place.first,
            last=place.last,
            start=start,
            end=end,
            line=node.lineno,
            text=self._lines[node.lineno - 1].decode().strip(),
            old=ast.unparse(node),
            new=new,
            names=() if place.function else place.names,
            inside=place.function is not None,
        )

    def _offset(self, line: int, column: int) -> int:
        return sum(map(len, self._lines[: line - 1])) + column


def _first_line(node: ast.AST) -> int:
    if isinstance(node, ast.match_case):
        return node.pattern.lineno
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min(one.lineno for one in (node, *decorators) if isinstance(one, ast.stmt | ast.expr))


def _defined(node: ast.stmt) -> tuple[str, ...]:
    """The names that a statement gives a value."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return tuple(one.id for one in targets if isinstance(one, ast.Name))


def _expressions(node: ast.stmt) -> Iterator[ast.expr]:
    """What a statement computes itself: neither its annotation nor its body."""
    if isinstance(node, ast.ClassDef):
        return
    for name, value in ast.iter_fields(node):
        if name == "annotation":
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.expr):
                yield one
            elif isinstance(one, ast.withitem):
                yield one.context_expr


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler):
            yield from child.body


def _instead(node: ast.expr) -> Iterator[ast.expr]:
    """What could stand in the place of an expression."""
    match node:
        case ast.Compare(left, operators, others):
            for index, operator in enumerate(operators):
                for other in COMPARISONS[type(operator)]:
                    changed = [*operators[:index], other(), *operators[index + 1 :]]
                    yield ast.Compare(left, changed, others)
        case ast.BinOp(left, operator, right) if not _is_union(node) and not _is_text(node):
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(value):
            yield from map(ast.Constant, _other_values(value))


def _is_union(node: ast.BinOp) -> bool:
    """Whether this joins types."""
    sides = (node.left, node.right)
    return isinstance(node.op, ast.BitOr) and all(
        (isinstance(side, ast.BinOp) and _is_union(side))
        or (isinstance(side, ast.Constant) and side.value is None)
        or (isinstance(side, ast.Name) and side.id[:1].isupper() and not side.id.isupper())
        or isinstance(side, ast.Subscript)
        for side in sides
    )


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _other_values(value: object) -> list[bool | int | float | bytes]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [value * 2, value / 2] if value else [1.0]
        case bytes():
            return [bytes([value[0] ^ 1]) + value[1:] if value else b"x"]
    return []
