"""The two ways in which a run ends early: the user's input is wrong, or a step failed."""


class UserError(Exception):
    """Bad input, said in one line: what was wrong, the value, what is allowed, what to do next. Exit code 2."""


class StepError(Exception):
    """A step could not be finished; the cell is recorded as failed and the sweep goes on. Exit code 1.

    ``detail`` holds the child's traceback, for logs only.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
