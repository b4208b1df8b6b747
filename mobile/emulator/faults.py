"""The one error of the emulated phone."""


class PhoneError(Exception):
    """What is missing or went wrong, and what to do next: one line for the user."""
