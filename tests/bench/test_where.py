from __future__ import annotations

from bench.where import OTHER, shares

REPORT = """
# Overhead  Shared Object
    53.57%  [kernel.kallsyms]
    30.48%  libpython3.11.so.1.0
    10.00%  python3.11
     3.56%  libc.so.6
     2.13%  loop.cpython-311-x86_64-linux-gnu.so
     0.15%  [vdso]
"""


def test_the_shares_are_added_up_by_part() -> None:
    found = {part: round(share, 4) for part, share in shares(REPORT).items()}
    assert found == {
        "system calls, in the kernel": 0.5357,
        "Python": 0.4048,
        "uvloop and libuv": 0.0213,
        OTHER: 0.0371,
    }
