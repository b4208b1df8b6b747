"""Sending a folder to the model hub."""

import os
from pathlib import Path
from typing import Any

from ..errors import UserError
from .publishable import Publishable

# HTTP: it is there already.
_CONFLICT = 409


def check_repository(name: str) -> None:
    """See that a repository can be called so.

    Raises:
        UserError: it is no OWNER/NAME that the hub allows.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"the repository {name!r}: {str(error).splitlines()[0]}") from error
    if name.count("/") != 1:
        raise UserError(f"the repository {name!r} has no owner; give OWNER/NAME")


def upload(folder: Path, repository: str, found: Publishable, private: bool) -> str:
    """Make the repository if there is none and send the files; returns the commit's address.

    The key is the one that the hub's own tools use (``hf auth login`` or ``HF_TOKEN``); it is never an argument here.

    Raises:
        UserError: no key, no right to write there, or a hub that does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise UserError("HF_HUB_OFFLINE says that the hub is not to be asked; unset it to upload")
    api = HfApi()
    try:
        _make(api, repository, private)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"{folder.name}: {len(found.files)} files",
            allow_patterns=[name for name, _, _ in found.files],
        )
    except LocalTokenNotFoundError as error:
        raise UserError("no key for the hub: run hf auth login, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        hint = "run hf auth login, or set HF_TOKEN" if status in (401, 403) else _first(error)
        raise UserError(f"the hub refused {repository!r} (HTTP {status}): {hint}") from error
    except (OSError, RuntimeError, ValueError) as error:
        # What the client raises where it gets no answer, or one that it can't read.
        raise UserError(f"{repository!r} could not be sent to the hub ({_first(error)}); try again") from error
    return str(done.commit_url)


def _make(api: Any, repository: str, private: bool) -> None:
    """Make the repository; one that is there keeps its visibility, so a public one has to be asked for."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repository, repo_type="model", private=private)
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code != _CONFLICT:
            raise
        if private and not api.repo_info(repository).private:
            raise UserError(
                f"{repository!r} is there and public: give --public to send it where everybody reads it"
            ) from None


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
