"""What the kernel says about this process's memory. Standard library only; MB are 10⁶ bytes."""

from pathlib import Path

_STATUS = {"VmHWM": "peak_rss_mb", "VmRSS": "rss_mb", "RssAnon": "rss_anonymous_mb", "RssFile": "rss_file_mb"}


def memory(folder: Path | None = None) -> dict[str, float]:
    """Peak (the kernel's high-water mark), resident now, anonymous, file-backed, in MB.

    Args:
        folder: when given, ``rss_model_files_mb`` says how much of the files in it is mapped and resident: a part of
            the file-backed pages, which the kernel can take back without writing (proc(5), ``smaps``).
    """
    found = {}
    with open("/proc/self/status") as status:
        for line in status:
            key, _, value = line.partition(":")
            if key in _STATUS:
                found[_STATUS[key]] = round(int(value.split()[0]) * 1024 / 1e6, 3)
    if folder is not None:
        found["rss_model_files_mb"] = _mapped_mb(folder)
    return found


def reset_peak() -> bool:
    """Set the kernel's high-water mark back to the present size (``clear_refs`` 5); False where that is forbidden."""
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")
    except OSError:
        return False
    return True


def _mapped_mb(folder: Path) -> float:
    # The kernel names the file itself, wherever links led to it.
    names = {str(p.resolve()) for p in folder.iterdir() if p.is_file()} if folder.is_dir() else set()
    total, ours = 0, False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            head = line.split(maxsplit=5)
            if head[0].endswith(":"):
                total += int(head[1]) if ours and head[0] == "Rss:" else 0
            else:
                ours = len(head) == 6 and head[5].rstrip("\n") in names
    return round(total * 1024 / 1e6, 3)
