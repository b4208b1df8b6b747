"""The page cache of given files: dropped, and looked at whether it is gone."""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

# Pages that stay behind anyway (of a block that was being written, say) make a file no warm file.
_COLD = 0.02


def drop(files: Iterable[Path]) -> str | None:
    """Ask the kernel to forget the contents of ``files``; None when it has, else why they are still warm."""
    for file in files:
        if not hasattr(os, "posix_fadvise"):
            return "this system has no posix_fadvise"
        descriptor = os.open(file, os.O_RDONLY)
        try:
            # Pages that were not written out yet can't be dropped.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            return f"{file.name}: {error.strerror}"
        finally:
            os.close(descriptor)
        share = cached_share(file)
        if share is None:
            return f"{file.name}: the kernel doesn't say whether it is cached"
        if share > _COLD:
            return f"{share:.0%} of {file.name} stayed cached"
    return None


def warm(files: Iterable[Path]) -> None:
    """Read ``files`` once, so that their contents are in the page cache."""
    for file in files:
        with open(file, "rb") as stream:
            while stream.read(1 << 20):
                pass


def cached_share(file: Path) -> float | None:
    """Share of a file's pages that are in the page cache (``mincore``); None where the kernel doesn't say."""
    size = file.stat().st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mincore"):
        return None
    pages = -(-size // mmap.PAGESIZE)
    states = (ctypes.c_ubyte * pages)()
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY) as view:
        # Copy-on-write only because ctypes wants a writable buffer; nothing is written and no page is touched.
        start = ctypes.c_char.from_buffer(view)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), states)
        del start
    return None if failed else sum(state & 1 for state in states) / pages
