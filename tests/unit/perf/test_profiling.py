"""Which code is what, in lines as perf and py-spy print them."""

from __future__ import annotations

import pytest
from perf.errors import Mistake
from perf.profiling import KINDS, classify, shares_of

PERF = """
# Samples: 1K of event 'cpu-clock'
#
# Overhead  Shared Object                      Symbol
     40.00%  libcrypto.so.3                           [.] 0x000000000029c2be
     30.00%  [kernel.kallsyms]                        [k] _copy_to_iter
     10.00%  libc.so.6                                [.] __memmove_avx512_unaligned_erms
     15.00%  libpython3.11.so.1.0                     [.] _PyEval_EvalFrameDefault
      5.00%  libcurl-7d98cf5e.so.4.8.0                [.] Curl_read
"""

PY_SPY = """\
main (run.py:1);send (libc.so.6) 30
main (run.py:1);Stream.receive (image_syncer/transfer/stream.py:178) 20
main (run.py:1);0x7fe62269c52c (libcrypto.so.3) 40
main (run.py:1);util_write_callback (easycb.c:125) 10
"""


def test_perfs_shares_are_those_of_its_lines() -> None:
    shares = shares_of(PERF, "perf")
    assert shares == {"hash": 0.4, "kernel": 0.3, "python": 0.15, "copy": 0.1, "libcurl": 0.05}
    assert list(shares) == sorted(shares, key=lambda kind: -shares[kind])


def test_py_spys_shares_are_those_of_the_leaves() -> None:
    assert shares_of(PY_SPY, "py-spy") == {"hash": 0.4, "kernel": 0.3, "python": 0.2, "libcurl": 0.1}


def test_an_empty_profile_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="has seen nothing"):
        shares_of("# nothing\n", "perf")


@pytest.mark.parametrize(
    ("place", "symbol", "kind"),
    [
        ("_hashlib.cpython-311-x86_64-linux-gnu.so", "EVP_hash", "python"),
        ("libcrypto.so.3", "sha256_block_data_order", "hash"),
        ("libcrypto-fa202293.so.3", "0x29c2be", "TLS"),
        ("libssl.so.3", "SSL_read", "TLS"),
        ("pycurl.cpython-311-x86_64-linux-gnu.so", "do_multi_socket_action", "libcurl"),
        ("loop.cpython-311-x86_64-linux-gnu.so", "__pyx_f_6uvloop_4loop", "python"),
        ("<frozen importlib._bootstrap>", "_call_with_frames_removed", "python"),
        ("libc.so.6", "epoll_pwait", "kernel"),
        ("libc.so.6", "_int_malloc", "other"),
        ("[vdso]", "__vdso_clock_gettime", "kernel"),
        ("libz.so.1", "inflate", "other"),
    ],
)
def test_code_is_known_by_its_file_and_name(place, symbol, kind) -> None:
    assert classify(place, symbol) == kind
    assert kind in KINDS
