"""Where things live on the user's machine; every place has an environment variable and a default in the cache."""

import os
from pathlib import Path


def cache_root() -> Path:
    """The user's cache folder for edgedistil (``$XDG_CACHE_HOME/edgedistil`` or ``~/.cache/edgedistil``)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgedistil"


def store_root(configured: str | None = None) -> Path:
    """The artifact store: ``store.root`` if set, else ``$EDGEDISTIL_STORE``, else a folder in the cache."""
    chosen = configured or os.environ.get("EDGEDISTIL_STORE") or cache_root() / "store"
    return Path(chosen).expanduser().absolute()


def data_root() -> Path | None:
    """``$EDGEDISTIL_DATA`` (one folder of Parquet files a task), or None when it is not set."""
    value = os.environ.get("EDGEDISTIL_DATA")
    return Path(value).expanduser().absolute() if value else None


def embedded_model_folder() -> Path:
    """Where ``make embedded-model`` unpacks the pretrained encoder."""
    return cache_root() / "models" / "all-MiniLM-L6-v2"
