"""The offer index in C, as the lower limit of the time.

The index is tables of words with one row per segment. It is compiled when it is measured, if there is a compiler.
The rows for the values of a request are looked up in Python, as in Proffer. One call intersects the rows,
lists the remaining offers, and orders them by priority and tie-breaking hash.
"""

import ctypes
import shutil
import subprocess
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _library import NUMBERS, WORDS, Library, Profile, passes
from proffer.engine.index.tie_break import hash64
from proffer.model.ids import EntityKind
from proffer.testing.builders import id_of

SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>
typedef struct { uint32_t level; uint64_t lot; uint32_t at; } One;
static int before(const void *a, const void *b) {
  const One *x = a, *y = b;
  if (x->level != y->level) return x->level < y->level ? -1 : 1;
  if (x->lot != y->lot) return x->lot < y->lot ? -1 : 1;
  return 0;
}
int ask(const uint64_t *table, int words, const int *rows, int slots, const uint64_t *draws,
        const uint32_t *levels, uint64_t seed, One *found, int *order) {
  int count = 0;
  for (int w = 0; w < words; w++) {
    uint64_t left = ~(uint64_t)0;
    for (int s = 0; s < slots; s++) left &= table[(int64_t)rows[s] * words + w];
    while (left) {
      uint32_t at = (uint32_t)(w * 64 + __builtin_ctzll(left));
      uint64_t x = (seed ^ draws[at]) * 0x9E3779B97F4A7C15ull;
      x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
      x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
      found[count].level = levels[at]; found[count].lot = x ^ (x >> 31); found[count++].at = at;
      left &= left - 1;
    }
  }
  qsort(found, count, sizeof(One), before);
  for (int i = 0; i < count; i++) order[i] = (int)found[i].at;
  return count;
}
"""


def compile_kernel(into: Path) -> Any | None:
    """Compile the kernel and load it; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source, binary = into / "kernel.c", into / "kernel.so"
    source.write_text(SOURCE)
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(binary)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return None
    return ctypes.CDLL(str(binary)).ask


def kernel(library: Library, ask: Any, seed: int) -> Callable[[Profile], list[int]]:
    """Return a function from a profile to eligible offer numbers, best first; all tests must be indexable."""
    rules = library.rules
    size = len(rules)
    ranked = sorted(range(size), key=lambda at: (-library.priorities[at], _id(at)))
    words = (size + 63) // 64
    rows: list[bytes] = []

    def row(path: str, value: Any) -> int:
        bits = 0
        for position, at in enumerate(ranked):
            if all(passes(test, value) for test in rules[at] if test[0] == path):
                bits |= 1 << position
        rows.append(bits.to_bytes(words * 8, "little"))
        return len(rows) - 1

    by_word = {path: {word: row(path, word) for word in entries} for path, entries in WORDS.items()}
    by_number: dict[str, tuple[list[int], list[int]]] = {}
    for path in NUMBERS:
        bounds = sorted({test[2] for tests in rules for test in tests if test[0] == path})
        # Whole numbers: those below the first bound, and from each bound up to the next.
        segments = [row(path, bounds[0] - 1)] if bounds else [row(path, 0)]
        segments += [row(path, bound) for bound in bounds]
        by_number[path] = (bounds, segments)
    table = np.frombuffer(b"".join(rows), dtype=np.uint64).copy()
    draws = np.array([hash64(_id(at)) for at in ranked], dtype=np.uint64)
    distinct = sorted({-priority for priority in library.priorities})
    levels = np.array([distinct.index(-library.priorities[at]) for at in ranked], dtype=np.uint32)
    matches, order = np.zeros(size * 3, dtype=np.uint64), np.zeros(size, dtype=np.int32)
    slots: list[Any] = [(*path.split("."), "words", by_word[path]) for path in WORDS]
    slots += [(*path.split("."), "numbers", by_number[path]) for path in NUMBERS]
    picked = (ctypes.c_int * len(slots))()
    fixed = [
        ctypes.c_void_p(table.ctypes.data),
        ctypes.c_int(words),
        picked,
        ctypes.c_int(len(slots)),
        ctypes.c_void_p(draws.ctypes.data),
        ctypes.c_void_p(levels.ctypes.data),
        ctypes.c_uint64(seed),
        ctypes.c_void_p(matches.ctypes.data),
        ctypes.c_void_p(order.ctypes.data),
    ]
    entries: list[Any] = [(at, *slot) for at, slot in enumerate(slots)]

    def best_first(profile: Profile) -> list[int]:
        for at, group, name, kind, by_value in entries:
            value = profile[group][name]
            if kind == "words":
                picked[at] = by_value[value]
            else:
                bounds, segments = by_value
                picked[at] = segments[bisect_left(bounds, value + 1)]
        count = ask(*fixed)
        positions: list[int] = order[:count].tolist()
        return positions

    def by_offer(profile: Profile) -> list[int]:
        return [ranked[position] for position in best_first(profile)]

    # C looks at these for as long as the call lives.
    best_first.__dict__["by_offer"] = by_offer
    best_first.__dict__["kept"] = (table, draws, levels, matches, order)
    return best_first


def _id(number: int) -> str:
    return id_of(EntityKind.OFFER, f"offer {number}")
