"""Whether the device that a cell asks for is there, and what it is; decided before anything runs, without torch."""

from typing import Any

from ..errors import UserError
from . import android, cuda, host
from .adb import PhoneError


def why_missing(device: dict[str, Any]) -> str | None:
    """Why there is no such device, or None. One that is there and can't be used is an error, not an absence.

    Raises:
        UserError: adb itself fails.
    """
    if device["kind"] == "cuda":
        return cuda.why_no_gpu(device["engine"])
    if device["kind"] == "android":
        try:
            return android.why_missing(device["phone"])
        except PhoneError as error:
            raise UserError(str(error)) from error
    return None


def identify(device: dict[str, Any]) -> dict[str, Any] | None:
    """What of the device enters fingerprints beside its options; None for this machine's processor.

    Raises:
        UserError: a phone that can't be used as it is.
    """
    if device["kind"] == "cuda":
        return {"host": host.hostname(), **host.cpu_facts(), "gpu": cuda.used_gpu()}
    if device["kind"] == "android":
        try:
            return android.identify(device["phone"], device["threads"])
        except PhoneError as error:
            raise UserError(str(error)) from error
    return None
