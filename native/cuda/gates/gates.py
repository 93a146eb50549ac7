"""Holds what the compiler made of every kernel to table.txt, without a GPU.

    gates.py --library liblethe_cuda.so --launches LAUNCHES --tools CUDA/bin [--update]

Worse in a gated column, or spills and local memory at all: fails, naming the kernel and both values. Better, or a kernel more or
less: fails too, and asks for --update, so that the table stays true. Registers are said, not held: what they cost is occupancy. Where
another nvcc than the table's compiled, only spills, local memory and the list of kernels are held; the rest is said.

Registers, static shared memory and local memory are cuobjdump's; block sizes those of __launch_bounds__ (.maxntid in the PTX); dynamic
shared memory what the host code asks for at most (launches.cpp); instructions are counted in nvdisasm's listing, each once however often
it runs; FLOP/B is the formula's (roofline.py).
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import roofline

TABLE = pathlib.Path(__file__).with_name("table.txt")
UPDATE = "cmake --build native/cuda/target/cmake --target gates_update"

# ---- the table --------------------------------------------------------------------------------------------------------------

LESS, MORE, OTHER, NOTED = "less is worse", "more is worse", "gated", "noted"
COLUMNS = {
    "block": OTHER,  # threads
    "registers": NOTED,  # a thread; what they cost is occupancy
    "static": MORE,  # bytes of shared memory a block
    "dynamic": MORE,
    "occupancy": LESS,  # % of the warps that a multiprocessor can hold
    "local": MORE,  # bytes a thread, stack included; must be 0
    "spills": MORE,  # loads and stores of local memory; must be 0
    "ldg128": LESS,  # 128-bit loads from global memory
    "stg128": LESS,  # and stores
    "cp.async": LESS,  # 128-bit copies from global to shared memory
    "ldsm": LESS,  # ldmatrix
    "mma": LESS,  # tensor cores' products
    "FLOP/B": OTHER,  # of the formula; -: small
}
FORBIDDEN = ("local", "spills")


@dataclass
class Table:
    compiler: str
    rows: dict[tuple[str, str], dict[str, str]]  # (kernel, architecture) -> column -> value

    def text(self):
        names = ["kernel", "arch", *COLUMNS]
        cells = [[*key, *row.values()] for key, row in sorted(self.rows.items())]
        widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
        lines = [
            line[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
            for line in [names, *cells]
        ]
        return f"# Written by `{UPDATE}`; README.md says what the columns are.\n# compiler: {self.compiler}\n" + "\n".join(lines) + "\n"

    @staticmethod
    def parse(text):
        compiler = re.search(r"^# compiler: (.*)$", text, re.M).group(1)
        names, *lines = [re.split(r"  +", line) for line in text.splitlines() if not line.startswith("#")]
        if names != ["kernel", "arch", *COLUMNS]:
            raise SystemExit(f"{TABLE}: has the columns {names[2:]}, these gates {list(COLUMNS)}; write it anew: {UPDATE}")
        return Table(compiler, {(line[0], line[1]): dict(zip(COLUMNS, line[2:], strict=True)) for line in lines})


@dataclass
class Verdict:
    failures: list[str]
    notes: list[str]


def compare(committed, built):
    failures, notes = [], []
    same_compiler = committed.compiler == built.compiler
    if not same_compiler:
        notes.append(f"compiled by {built.compiler}, the table by {committed.compiler}: what differs is said, not failed")
    for key in sorted(committed.rows.keys() | built.rows.keys()):
        name = f"{key[0]} on {key[1]}"
        was, now = committed.rows.get(key), built.rows.get(key)
        if now is None:
            failures.append(f"{name}: in the table, not in the library; if it is gone for good, update")
            continue
        failures += [f"{name}: {column} is {now[column]}, must be 0" for column in FORBIDDEN if now[column] != "0"]
        if was is None:
            failures.append(f"{name}: in the library, not in the table; if it is new, update")
            continue
        for column, gate in COLUMNS.items():
            if was[column] == now[column] or column in FORBIDDEN:
                continue
            text = f"{name}: {column} was {was[column]}, is {now[column]}"
            if column == "occupancy":
                text += f" (registers were {was['registers']}, are {now['registers']})"
            if gate == NOTED or not same_compiler:
                notes.append(text)
            elif gate == OTHER:
                failures.append(f"{text}: changed; if it is meant, update")
            elif (float(now[column]) > float(was[column])) == (gate == MORE):
                failures.append(f"{text}: worse")
            else:
                failures.append(f"{text}: better; update, so that it stays so")
    return Verdict(failures, notes)


# ---- occupancy (NVIDIA's cuda_occupancy.h) ------------------------------------------------------------------------------------


SYSTEM_SHARED = 1024  # bytes of every block


@dataclass(frozen=True)
class Multiprocessor:
    shared: int  # bytes
    counted: int  # of them the system's, in what the compiler says of a kernel that uses any
    warps: int = 64
    blocks: int = 32
    registers: int = 65536


MULTIPROCESSORS = {"sm_80": Multiprocessor(164 * 1024, 0), "sm_90": Multiprocessor(228 * 1024, SYSTEM_SHARED)}


def round_up(x, unit):
    return -(-x // unit) * unit


def occupancy(arch, block, registers, shared):
    """The share of the multiprocessor's warps that can be there at once."""
    limits = MULTIPROCESSORS[arch]
    warps = round_up(block, 32) // 32
    per_quarter = limits.registers // 4 // round_up(registers * 32, 256)  # warps, in each of four parts
    by_registers = 4 * per_quarter // round_up(warps, 4)
    by_shared = limits.shared // round_up(shared + SYSTEM_SHARED, 128)
    return min(limits.blocks, limits.warps // warps, by_registers, by_shared) * warps / limits.warps


# ---- what was built -----------------------------------------------------------------------------------------------------------


def output(*command, folder=None):
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout


def short_names(mangled):
    """{mangled: its name and template arguments, without namespaces and parameters}."""
    names = {}
    for symbol, name in zip(mangled, subprocess.check_output(["c++filt"], input="\n".join(mangled), text=True).splitlines(), strict=True):
        names[symbol] = name.partition("(")[0].removeprefix("void ").replace("lethe::gpu::", "")
    if len(set(names.values())) != len(names):
        raise SystemExit(f"kernels of one name: {sorted(name for name, n in collections.Counter(names.values()).items() if n > 1)}")
    return names


def resources(text):
    """{(kernel, architecture): {what: number}}, cuobjdump -res-usage."""
    found, arch, kernel = {}, None, None
    for line in text.splitlines():
        if match := re.match(r"arch = (\w+)", line):
            arch = match.group(1)
        elif match := re.match(r"\s*Function (\S+):", line):
            kernel = match.group(1)
        elif line.lstrip().startswith("REG:"):
            found[kernel, arch] = {name: int(number) for name, number in re.findall(r"(\w+):(\d+)", line)}
    return found


def launch_bounds(ptx):
    """{kernel: (threads or None, whether it uses dynamic shared memory)}."""
    bounds = {}
    for entry in re.split(r"^(?=\.visible \.entry|\.entry)", ptx, flags=re.M)[1:]:
        entry = entry.partition("\n}\n")[0]
        name = re.search(r"\.entry\s+(\w+)", entry).group(1)
        threads = re.search(r"^\.maxntid (\d+), (\d+), (\d+)", entry, re.M)
        x, y, z = map(int, threads.groups()) if threads else (0, 0, 0)
        bounds[name] = (x * y * z or None, "lethe_dynamic_shared" in entry)
    return bounds


INSTRUCTIONS = {
    "spills": re.compile(r"(LDL|STL)\b"),
    "ldg128": re.compile(r"LDG\.\S*\b128\b"),
    "stg128": re.compile(r"STG\.\S*\b128\b"),
    "cp.async": re.compile(r"LDGSTS\.\S*\b128\b"),
    "ldsm": re.compile(r"LDSM\b"),
    "mma": re.compile(r"HG?MMA\b"),
}


def instructions(listing):
    """{kernel: {column: count}}, nvdisasm's listing."""
    counts, own = {}, None
    for line in listing.splitlines():
        if match := re.match(r"\.text\.(\w+):", line):
            own = counts[match.group(1)] = dict.fromkeys(INSTRUCTIONS, 0)
        elif match := re.match(r"\s+(?:/\*[0-9a-f]+\*/)?\s+(?:\{\s*)?(?:@!?\w+ )?([A-Z][\w.]+)", line):
            for column, pattern in INSTRUCTIONS.items():
                own[column] += bool(pattern.match(match.group(1)))
    return counts


def launched(text):
    """{kernel: (most threads, most bytes of dynamic shared memory)}, of launches.cpp."""
    most = {}
    for line in text.splitlines():
        kernel, threads, shared = line.split()
        most[kernel] = tuple(map(max, most.get(kernel, (0, 0)), (int(threads), int(shared))))
    return most


def build_table(library, launches, tools):
    cuobjdump, nvdisasm = tools / "cuobjdump", tools / "nvdisasm"
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        output(cuobjdump, "-xelf", "all", library.resolve(), folder=folder)
        cubins = sorted(pathlib.Path(folder).glob("*.cubin"), key=lambda cubin: -cubin.stat().st_size)
        listings = pool.map(lambda cubin: instructions(output(nvdisasm, "-c", "-ndf", cubin)), cubins)
        counts = {}
        for cubin, found in zip(cubins, listings):
            arch = re.search(r"\.(sm_\w+)\.cubin$", cubin.name).group(1)
            counts.update({(kernel, arch): count for kernel, count in found.items()})
    bounds, most = launch_bounds(output(cuobjdump, "-ptx", library)), launched(output(launches))
    used = resources(output(cuobjdump, "-res-usage", library))
    names = short_names(sorted({kernel for kernel, _ in used}))
    rows, faults = {}, []
    for (kernel, arch), use in used.items():
        name, (block, uses_dynamic) = names[kernel], bounds[kernel]
        threads, dynamic = most.get(kernel, (0, 0))
        if block is None:
            faults.append(f"{name}: declares no __launch_bounds__(threads)")
            continue
        if threads > block:
            faults.append(f"{name}: is launched with {threads} threads, __launch_bounds__ says {block}")
        if uses_dynamic and dynamic == 0:
            faults.append(f"{name}: uses dynamic shared memory; call its operation in launches.cpp")
        if arch not in MULTIPROCESSORS:
            faults.append(f"{name}: is compiled for {arch}, of which MULTIPROCESSORS in gates.py has no limits")
            continue
        try:
            work = roofline.work(name)
        except (KeyError, TypeError):
            faults.append(f"{name}: roofline.py has no formula of its operations and bytes")
            continue
        static = max(0, use["SHARED"] - MULTIPROCESSORS[arch].counted)
        rows[name, arch] = {
            "block": str(block),
            "registers": str(use["REG"]),
            "static": str(static),
            "dynamic": str(dynamic),
            "occupancy": f"{100 * occupancy(arch, block, use['REG'], use['SHARED'] + dynamic):.4g}",
            "local": str(use["STACK"] + use["LOCAL"]),
            **{column: str(count) for column, count in counts[kernel, arch].items()},
            "FLOP/B": "-" if work is None else f"{work.intensity:.3g}",
        }
    if faults:
        raise SystemExit("\n".join(sorted(set(faults))))
    if not rows:
        raise SystemExit(f"{library}: holds no kernel")
    compiler = re.search(r"V[\d.]+$", output(tools / "nvcc", "--version"), re.M).group(0)
    return Table(f"nvcc {compiler}", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=pathlib.Path, required=True)
    parser.add_argument("--launches", type=pathlib.Path, required=True, help="the program built of launches.cpp")
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="the folder of nvcc, cuobjdump, nvdisasm")
    parser.add_argument("--update", action="store_true", help=f"write {TABLE.name}")
    options = parser.parse_args()
    built = build_table(options.library, options.launches, options.tools)
    if options.update:
        forbidden = [f"{kernel} on {arch}: {column} is {row[column]}, must be 0; not written"
                     for (kernel, arch), row in built.rows.items() for column in FORBIDDEN if row[column] != "0"]  # fmt: skip
        if forbidden:
            raise SystemExit("\n".join(forbidden))
        TABLE.write_text(built.text())
        print(f"{TABLE}: {len(built.rows)} rows")
        return
    verdict = compare(Table.parse(TABLE.read_text()), built)
    for note in verdict.notes:
        print(f"noted: {note}")
    for failure in verdict.failures:
        print(failure)
    if verdict.failures:
        sys.exit(f"{len(verdict.failures)} differences to {TABLE}; a deliberate change updates it in the same commit: {UPDATE}")
    print(f"{len(built.rows)} rows hold")


if __name__ == "__main__":
    main()
