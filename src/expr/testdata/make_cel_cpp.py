"""Writes cel_cpp.tsv: random well-typed expressions of the profile with what Google's cel-cpp makes of them.

    python3 -m venv /tmp/cel && /tmp/cel/bin/pip install cel-expr-python==0.1.3
    /tmp/cel/bin/python src/expr/testdata/make_cel_cpp.py > src/expr/testdata/cel_cpp.tsv

The same seed writes the same file. The names and their values stand in conformance_tests.rs too.
"""

import datetime
import random

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_strings

SEED = 20261125
CASES = 3000
DEPTH_MAX = 4

T = cel.Type
NAMES = {
    "i1": (T.INT, 6), "i0": (T.INT, 0), "imax": (T.INT, 9223372036854775807), "mi": (T.INT, None),
    "d1": (T.DOUBLE, 120.5), "d0": (T.DOUBLE, 0.0), "md": (T.DOUBLE, None),
    "s1": (T.STRING, "c_7"), "s0": (T.STRING, ""), "ms": (T.STRING, None),
    "b1": (T.BOOL, True), "b0": (T.BOOL, False), "mb": (T.BOOL, None),
    "t1": (T.TIMESTAMP, datetime.datetime(2026, 7, 1, 23, 30, 0, 250000, datetime.timezone.utc)),
    "mt": (T.TIMESTAMP, None),
}
LEAVES = {
    "int": ["i1", "i0", "imax", "mi", "0", "1", "7", "-3", "2", "3", "4"],
    "double": ["d1", "d0", "md", "0.5", "3.0", "1e10", "-2.5"],
    "string": ["s1", "s0", "ms", "'a'", "'ä'", "'c_7'", "'12'", "'1.5'", "' x '", "'€ab€'", "'true'"],
    "bool": ["b1", "b0", "mb", "true", "false"],
    "timestamp": ["t1", "mt", "timestamp('2026-01-31T12:00:00Z')", "timestamp('2024-02-29T00:00:00.5+01:00')"],
    "duration": ["duration('90m')", "duration('-1.5s')", "duration('24h')"],
}
MISSING = [name for name, (_, value) in NAMES.items() if value is None]
# Of the names and literals in a text; what is around a missing one is often missing too.
MISSING_SHARE = 0.1
COMPARED = ["==", "!=", "<", "<=", ">", ">="]
ZONES = ["'Europe/Berlin'", "'+02:00'", "'-05:30'", "'UTC'"]
TIME_PARTS = ["FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds", "Milliseconds"]


# The profile compares an int with a double as it stands; cel-cpp's type checker asks for dyn() around one of them.
MIXED = {"«": "dyn(", "»": ")"}


def written(source, around):
    return "".join(around.get(letter, letter) for letter in source)


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, options):
        return options[self.random.randrange(len(options))]

    def of(self, kind, depth):
        """An expression of that type, at most `depth` deep."""
        if depth == 0 or self.random.random() < 0.15:
            missing = self.random.random() < MISSING_SHARE
            return self.one([leaf for leaf in LEAVES[kind] if (leaf in MISSING) == missing] or LEAVES[kind])
        of = lambda other: self.of(other, depth - 1)
        if self.random.random() < 0.12:
            return f"({of('bool')} ? {of(kind)} : {of(kind)})"
        return self.one(getattr(self, "of_" + kind))(self, of)

    of_bool = [
        lambda s, of: f"({of('bool')} && {of('bool')})",
        lambda s, of: f"({of('bool')} || {of('bool')})",
        lambda s, of: f"({of('bool')} && {of('bool')} && {of('bool')})",
        lambda s, of: f"({of('bool')} || {of('bool')} || {of('bool')})",
        lambda s, of: f"!({of('bool')})",
        lambda s, of: f"({of('int')} {s.one(COMPARED)} {of('int')})",
        lambda s, of: f"({of('double')} {s.one(COMPARED)} {of('double')})",
        lambda s, of: f"(«{of('int')}» {s.one(COMPARED)} {of('double')})",
        lambda s, of: f"({of('double')} {s.one(COMPARED)} «{of('int')}»)",
        lambda s, of: f"({of('string')} {s.one(COMPARED)} {of('string')})",
        lambda s, of: f"({of('bool')} {s.one(COMPARED)} {of('bool')})",
        lambda s, of: f"({of('timestamp')} {s.one(COMPARED)} {of('timestamp')})",
        lambda s, of: f"({of('duration')} {s.one(COMPARED)} {of('duration')})",
        lambda s, of: f"({of('int')} in [0, 6, 7])",
        lambda s, of: f"({of('string')} in ['a', 'c_7', ''])",
        lambda s, of: f"{of('string')}.startsWith({of('string')})",
        lambda s, of: f"{of('string')}.endsWith({of('string')})",
        lambda s, of: f"{of('string')}.contains({of('string')})",
        lambda s, of: f"{of('string')}.matches('^[a-c]_?[0-9]+$')",
        lambda s, of: f"bool({of('string')})",
        lambda s, of: f"math.isNaN({of('double')})",
        lambda s, of: f"math.isInf({of('double')})",
        lambda s, of: f"math.isFinite({of('double')})",
    ]
    of_int = [
        lambda s, of: f"({of('int')} {s.one(['+', '-', '*', '/', '%'])} {of('int')})",
        lambda s, of: f"-({of('int')})",
        lambda s, of: f"size({of('string')})",
        lambda s, of: f"int({of('double')})",
        lambda s, of: f"int({of('string')})",
        lambda s, of: f"int({of('timestamp')})",
        lambda s, of: f"{of('string')}.indexOf({of('string')})",
        lambda s, of: f"{of('string')}.indexOf({of('string')}, {of('int')})",
        lambda s, of: f"{of('string')}.lastIndexOf({of('string')})",
        lambda s, of: f"{of('string')}.lastIndexOf({of('string')}, {of('int')})",
        lambda s, of: f"math.abs({of('int')})",
        lambda s, of: f"math.sign({of('int')})",
        lambda s, of: f"math.greatest({of('int')}, {of('int')})",
        lambda s, of: f"math.least({of('int')}, {of('int')}, {of('int')})",
        lambda s, of: f"{of('timestamp')}.get{s.one(TIME_PARTS)}()",
        lambda s, of: f"{of('timestamp')}.get{s.one(TIME_PARTS)}({s.one(ZONES)})",
        lambda s, of: f"{of('duration')}.get{s.one(TIME_PARTS[-4:])}()",
    ]
    of_double = [
        lambda s, of: f"({of('double')} {s.one(['+', '-', '*', '/'])} {of('double')})",
        lambda s, of: f"-({of('double')})",
        lambda s, of: f"double({of('int')})",
        lambda s, of: f"double({of('string')})",
        lambda s, of: f"math.{s.one(['abs', 'ceil', 'floor', 'round', 'trunc', 'sign'])}({of('double')})",
        lambda s, of: f"math.{s.one(['greatest', 'least'])}({of('double')}, {of('double')})",
    ]
    of_string = [
        lambda s, of: f"({of('string')} + {of('string')})",
        lambda s, of: f"string({of(s.one(['int', 'double', 'bool', 'timestamp', 'duration']))})",
        lambda s, of: f"{of('string')}.{s.one(['lowerAscii', 'upperAscii', 'trim'])}()",
        lambda s, of: f"{of('string')}.charAt({of('int')})",
        lambda s, of: f"{of('string')}.substring({of('int')})",
        lambda s, of: f"{of('string')}.substring({of('int')}, {of('int')})",
        lambda s, of: f"{of('string')}.replace({of('string')}, {of('string')})",
        lambda s, of: f"{of('string')}.replace({of('string')}, {of('string')}, {of('int')})",
    ]
    of_timestamp = [
        lambda s, of: f"({of('timestamp')} {s.one(['+', '-'])} {of('duration')})",
        lambda s, of: f"timestamp({s.one(['0', '1', '-3', 'i1', 'mi', '86400'])})",
    ]
    of_duration = [
        lambda s, of: f"({of('duration')} {s.one(['+', '-'])} {of('duration')})",
        lambda s, of: f"({of('timestamp')} - {of('timestamp')})",
    ]


def shown(value):
    """The result as conformance_tests.rs writes it; None for what two implementations may show differently."""
    kind, plain = value.type(), value.plain_value()
    if kind == T.ERROR:
        return "missing"
    if kind == T.BOOL:
        return f"bool {str(plain).lower()}"
    if kind == T.INT:
        return f"int {plain}"
    if kind == T.DOUBLE:
        return f"double {plain!r}"
    if kind == T.STRING:
        return f"string {plain}" if "\n" not in plain and "\t" not in plain else None
    return None


def main():
    env = cel.NewEnv(
        variables={name: kind for name, (kind, _) in NAMES.items()},
        extensions=[ext_math.ExtMath(), ext_strings.ExtStrings()],
    )
    data = {name: value for name, (_, value) in NAMES.items() if value is not None}
    maker, found, tried = Maker(SEED), {}, 0
    while len(found) < CASES:
        tried += 1
        depth = 1 + tried % DEPTH_MAX
        source = maker.of(maker.one(["bool", "bool", "int", "double", "string", "timestamp", "duration"]), depth)
        if len(source) > 160:
            continue
        # A moment or a duration is compared as the text that CEL makes of it.
        expression = env.compile(written(source, MIXED))
        if expression.return_type() in (T.TIMESTAMP, T.DURATION):
            source = f"string({source})"
            expression = env.compile(written(source, MIXED))
        try:
            result = shown(expression.eval(data=data))
        except Exception:
            result = "missing"
        source = written(source, dict.fromkeys(MIXED, ""))
        if result is not None and source not in found:
            found[source] = result
    print(f"# {len(found)} expressions with what cel-cpp (PyPI: cel-expr-python 0.1.3) makes of them; an error there is `missing` here.")
    print("# Written by make_cel_cpp.py, which says how. One case a line: expression, tab, type and value.")
    for source, result in found.items():
        print(f"{source}\t{result}")


main()
