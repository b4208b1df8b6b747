"""Where things live on the user's machine; every place has an environment variable and a default in the cache."""

import errno
import os
from pathlib import Path

from ..errors import UserError


def cache_root() -> Path:
    """The user's cache folder for edgedistil (``$XDG_CACHE_HOME/edgedistil`` or ``~/.cache/edgedistil``)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgedistil"


def store_root(configured: str | None = None) -> Path:
    """The artifact store: ``store.root`` if set, else ``$EDGEDISTIL_STORE``, else a folder in the cache."""
    chosen = configured or os.environ.get("EDGEDISTIL_STORE") or cache_root() / "store"
    return user_path(chosen, "store.root" if configured else "EDGEDISTIL_STORE")


def user_path(text: str | Path, option: str) -> Path:
    """The absolute path that a user typed; nothing need be there.

    Args:
        option: what the message calls it.

    Raises:
        UserError: no file can have this name.
    """
    if not str(text):
        raise UserError(f"{option} is empty; give a path")
    try:
        path = Path(text).expanduser().absolute()
        path.exists()
    except RuntimeError as error:
        raise UserError(f"{option}={str(text)!r}: there is no such user; write the path out") from error
    except (OSError, ValueError) as error:
        why = "the name is too long" if getattr(error, "errno", None) == errno.ENAMETOOLONG else str(error)
        raise UserError(f"{option}={_short(str(text))!r} can't be a path: {why}") from error
    return path


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:40]}...{text[-36:]}"


def data_root() -> Path | None:
    """``$EDGEDISTIL_DATA`` (one folder of Parquet files a task), or None when it is not set."""
    value = os.environ.get("EDGEDISTIL_DATA")
    return user_path(value, "EDGEDISTIL_DATA") if value else None


def embedded_model_folder() -> Path:
    """Where ``make embedded-model`` unpacks the pretrained encoder."""
    return cache_root() / "models" / "all-MiniLM-L6-v2"
