#!/usr/bin/env python3
"""Checks the loops along k of every register tile in the output of objdump, for ci/disassembly.sh.

    disassembly.py [-v] ISA=FILE...     FILE is of `objdump -d -C --no-show-raw-insn -w`; "avx512,avx2=FILE" reads both

A step of MR rows by NV vectors makes MR * NV * registers multiply-adds, loads NV * registers of B and MR elements of A,
and stores NV * registers if it packs, where `registers` is how many make a canonical vector. A tile of whose last vector
half is in use has half as many registers there, or one of half the width. A tile that turns B loads it in pieces, four elements
along k of one lane each (two of f64), LANES times in four steps. All that together any number of times, if the
compiler unrolled. A vector register that comes from the stack or goes there, a call, or a load
more is what makes a tile slow without making it wrong, so that no test sees it. -v prints the table of all tiles, not
only those that fail.
"""
import re
import sys

# Registers of a canonical vector, their names in a multiply-add, and the most rows by vectors: `tile_rows` in
# src/kernel/gemm/blocking.rs. A tile of another shape fails, so this follows.
ISAS = {
    "avx512": (1, "%zmm", {1: 12, 2: 12, 3: 8, 4: 6}),
    "avx2": (2, "%ymm", {1: 6}),
    "neon": (4, "v", {1: 6}),
}
WHOLE, CUT, HALF, PACK, TURN = "whole", "cut", "half", "pack", "turn"
KINDS = [WHOLE, CUT, HALF, PACK, TURN]
FLOATS = ["f32", "f64"]
# The loop that asks for cache lines and the one that does not. A tile that turns B has one.
LOOPS = 2
# Sets that have tiles which turn B: `turns_in_tile` there.
TURNING = ["avx512"]
# Loads of 128 bits that make up a vector of 512.
PIECES = 4

# What is known of (isa, float, rows, vectors, kind): the faults, and the most that a step may have of each. More fails,
# and so does a fault that is gone: then its line goes too.
EXCEPTIONS = {
    # 12 sums, 2 registers of B, their 2 masks and a factor are 17 of 16 registers: the masks are read from the stack.
    # Only products with a cut last vector run it, and only on their last panel.
    ("avx2", "f32", 6, 1, CUT): {"spills": 2},
    ("avx2", "f64", 6, 1, CUT): {"spills": 3},
}
for _rows in range(1, 7):
    # There are no masks: each register of B is loaded in branches by how many lanes it has, 0 to 4 or 0 to 2. All of
    # them are counted, up to 5 and 2 loads, but a step takes one branch.
    for _kind, _registers in (CUT, 4), (HALF, 2):
        EXCEPTIONS["neon", "f32", _rows, 1, _kind] = {"loads": 5 * _registers + _rows}
        EXCEPTIONS["neon", "f64", _rows, 1, _kind] = {"loads": 2 * _registers + _rows}
        if _rows >= 4:
            # C is written, once a tile, by a loop over rows that finds the sums on the stack: as many branches as above
            # would otherwise be there for each row.
            EXCEPTIONS["neon", "f32", _rows, 1, _kind]["rows"] = 0

NAME = re.compile(
    r"^[0-9a-f]+ <gemmule::simd::(\w+)::run::<gemmule::kernel::gemm::microkernel::"
    r"TileKernel<(f32|f64), (\d+), (\d+), (\d+)>>>:$"
)
LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S.*)$")
TARGET = re.compile(r"\b([0-9a-f]+) <")


class X86:
    """AT&T syntax: the destination is last, addresses stand in parentheses."""

    comment, call = "#", re.compile(r"^call")
    jump, always = re.compile(r"^j"), re.compile(r"^jmp")
    leaves = re.compile(r"^(ret|ud2|int3|hlt)|^jmp +\*")
    vector = re.compile(r"%(?:[xyz]mm|k)\d")

    @staticmethod
    def frame(text):
        """The registers that point to the stack all the time."""
        return {"%rsp"} | ({"%rbp"} if re.search(r"^mov +%rsp,%rbp$", text, re.M) else set())

    @staticmethod
    def multiply_add(code, isa, real):
        return re.match(rf"vfmadd\d+p{'s' if real == 'f32' else 'd'} .*{ISAS[isa][1]}\d+$", code) is not None

    @staticmethod
    def half(code, isa, real):
        """A multiply-add of half a canonical vector that is one register."""
        return isa == "avx512" and X86.multiply_add(code, "avx2", real)

    @classmethod
    def memory(cls, code, frame):
        """Loads, stores and stack accesses of vector registers."""
        address = re.search(r"\(([^)]*)\)", code)
        if not address or not cls.vector.search(code):
            return 0, 0, 0
        if address.group(1).split(",")[0] in frame:
            return 0, 0, 1
        store = re.search(r"\)(\{[^}]*\})*$", code)
        return (0, 1, 0) if store else (1, 0, 0)


class Arm:
    """The destination is first, addresses stand in brackets."""

    comment, call = "//", re.compile(r"^blr?\b(?!\.)")
    jump, always = re.compile(r"^(b|b\..*|cbn?z|tbn?z)\s"), re.compile(r"^b\s")
    leaves = re.compile(r"^(ret|brk|br|udf)\b")

    @staticmethod
    def frame(text):
        return {"sp"} | ({"x29"} if re.search(r"^(mov\s+x29, sp|add\s+x29, sp, )", text, re.M) else set())

    @staticmethod
    def multiply_add(code, _isa, real):
        return re.match(rf"fmla\s+v\d+\.{'4s' if real == 'f32' else '2d'}, ", code) is not None

    @staticmethod
    def half(_code, _isa, _real):
        return False

    @staticmethod
    def memory(code, frame):
        parts = re.match(r"(ld|st)\w*\s+(.*?), \[(\w+)", code)
        if not parts:
            return 0, 0, 0
        way, registers, base = parts.groups()
        count = len(re.findall(r"\b[qdsv]\d+", registers))
        block = re.search(r"v(\d+)\.\w+-v(\d+)\.", registers)
        if block:
            count = (int(block.group(2)) - int(block.group(1))) % 32 + 1
        if base in frame:
            return 0, 0, count
        return (count, 0, 0) if way == "ld" else (0, count, 0)


def functions(path):
    """The register tiles of a file: their key, and their code as (address, instruction)."""
    key, code = None, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            name = NAME.match(line)
            if name:
                isa, real, rows, vectors, kind = name.groups()
                key, code = (isa, real, int(rows), int(vectors), KINDS[int(kind)]), []
            elif key and line.strip():
                found = LINE.match(line)
                if found:
                    code.append((int(found.group(1), 16), found.group(2)))
            elif key:
                yield key, code
                key = None
    if key:
        yield key, code


def components(nodes, edges):
    """The strongly connected components that hold a cycle (Tarjan's algorithm, without recursion)."""
    index, low, stack, held, found = {}, {}, [], set(), []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        held.add(root)
        while work:
            node, rest = work[-1]
            for to in rest:
                if to not in nodes:
                    continue
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    held.add(to)
                    work.append((to, iter(edges[to])))
                    break
                if to in held:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = set()
                    while node not in group:
                        group.add(stack.pop())
                    held -= group
                    if len(group) > 1 or node in edges[node]:
                        found.append(group)
    return found


def innermost(nodes, edges):
    """The loops that hold no other: sets of instructions."""
    for group in components(nodes, edges):
        # Without the instructions that it is entered by, what still goes round is a loop inside.
        entries = {to for node in edges if node not in group for to in edges[node] if to in group}
        inner = list(innermost(group - (entries or {min(group)}), edges))
        yield from inner or [group]


def loops(code, machine):
    """The innermost loops with instructions as (address, text)."""
    clean = [text.split(machine.comment)[0].strip() for _, text in code]
    at = {address: i for i, (address, _) in enumerate(code)}
    edges = {}
    for i, text in enumerate(clean):
        edges[i] = set()
        target = TARGET.search(text) if machine.jump.search(text) else None
        if target and int(target.group(1), 16) in at:
            edges[i].add(at[int(target.group(1), 16)])
        if not machine.leaves.search(text) and not machine.always.search(text) and i + 1 < len(code):
            edges[i].add(i + 1)
    return [[clean[i] for i in sorted(group)] for group in innermost(set(edges), edges)]


def registers(key):
    """Registers of a row of a tile, whole ones or of half the width."""
    isa, _, _, vectors, kind = key
    of_vector = ISAS[isa][0]
    return (vectors - 1) * of_vector + (max(of_vector // 2, 1) if kind == HALF else of_vector)


def measure(key, code):
    """The loops along k: how often unrolled, then multiply-adds, loads, stores, stack accesses, calls and multiply-adds of
    half a register of each."""
    isa, real, rows, _, _ = key
    machine = Arm if isa == "neon" else X86
    frame = machine.frame("\n".join(text for _, text in code))
    result = []
    for body in loops(code, machine):
        halves = sum(machine.half(text, isa, real) for text in body)
        adds = halves + sum(machine.multiply_add(text, isa, real) for text in body)
        if any(re.match(r"vfn?m(add|sub)|fml[as]\b|fn?m(add|sub)\b", text) for text in body):
            memory = [machine.memory(text, frame) for text in body]
            sums = [sum(part) for part in zip(*memory)]
            calls = sum(machine.call.search(text) is not None for text in body)
            steps = max(1, adds // (rows * registers(key)))
            result.append((steps, adds, *sums, calls, halves))
    return result


def faults(key, measured):
    """What is wrong with a tile: a word, and how much a step has of it."""
    isa, _, rows, _, kind = key
    wide = registers(key)
    # A loop over some of the rows, with the sums in memory, is none along k.
    whole = [one for one in measured if 2 * one[1] > rows * wide]
    wrong = {"rows": 0} if len(whole) < len(measured) else {}
    if len(whole) < (1 if kind == TURN else LOOPS):
        wrong["loops"] = len(whole)
    for steps, adds, loads, stores, spills, calls, halves in whole:
        half = steps * rows if kind == HALF and ISAS[isa][0] == 1 else 0
        for word, count, fine in [
            ("FMAs", adds, adds == steps * rows * wide),
            ("halves", halves, halves == half),
            ("loads", loads, loads <= steps * ((PIECES if kind == TURN else wide) + rows)),
            ("stores", stores, stores == (steps * wide if kind == PACK else 0)),
            ("spills", spills, spills == 0),
            ("calls", calls, calls == 0),
        ]:
            if not fine:
                wrong[word] = max(wrong.get(word, 0), -(-count // steps))
    return wrong


def expected(isas):
    """Every tile that there must be."""
    for isa in isas:
        for real in FLOATS:
            for vectors, most in ISAS[isa][2].items():
                for rows in range(1, most + 1):
                    yield from ((isa, real, rows, vectors, kind) for kind in (WHOLE, CUT, HALF))
                yield (isa, real, most, vectors, PACK)
                if vectors == 1 and isa in TURNING:
                    yield from ((isa, real, rows, 1, TURN) for rows in range(1, most + 1))


FORM = "%-7s %-5s %5s %-6s %5s %5s %7s %7s %7s %7s  %s"
HEAD = FORM % ("isa", "float", "tile", "kind", "loops", "steps", "FMAs", "loads", "stores", "spills", "result")


def row(key, measured, result):
    """A line of the table. Loops that differ are separated by /."""
    isa, real, rows, vectors, kind = key
    distinct = sorted({one[:5] for one in measured})
    columns = ["/".join(str(one[i]) for one in distinct) for i in range(5)] if distinct else ["-"] * 5
    return FORM % (isa, real, f"{rows}x{vectors}", kind, len(measured), *columns, result)


def check(tiles, isas):
    """For each tile whether it fails, and its line of the table."""
    lines = []
    for key in expected(isas):
        known = EXCEPTIONS.get(key, {})
        measured = measure(key, tiles[key]) if key in tiles else []
        wrong = faults(key, measured) if key in tiles else {"missing": 0}
        new = sorted(word for word in wrong if word not in known or wrong[word] > known[word])
        gone = sorted(set(known) - set(wrong))
        result = [f"FAILS: {word}" for word in new] + [f"FAILS: no {word}, though listed" for word in gone]
        result += [f"known: {word}" for word in sorted(set(wrong) - set(new))]
        lines.append((bool(new or gone), row(key, measured, ", ".join(result) or "ok")))
    for key in sorted(set(tiles) - set(expected(isas))):
        # Those that are not compiled say so, without a loop.
        if measure(key, tiles[key]):
            lines.append((True, row(key, measure(key, tiles[key]), "FAILS: of a shape that is not in ISAS")))
    return lines


def main(arguments):
    verbose = "-v" in arguments
    tiles, isas = {}, []
    for argument in arguments:
        if argument != "-v":
            names, path = argument.split("=", 1)
            isas += names.split(",")
            tiles.update((key, code) for key, code in functions(path) if key[0] in names.split(","))
    if not isas:
        sys.exit(__doc__)
    lines = check(tiles, isas)
    bad = sum(failed for failed, _ in lines)
    shown = [text for failed, text in lines if failed or verbose]
    if shown:
        print("\n".join([HEAD] + shown))
    known = sum(key[0] in isas for key in EXCEPTIONS)
    print(f"{len(lines)} register tiles on {', '.join(isas)}: {bad} fail, {known} have known exceptions")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
