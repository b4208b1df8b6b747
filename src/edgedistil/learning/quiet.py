"""Keeping libraries' hints out of the log of a step."""

import logging
import warnings


def quiet() -> None:
    """Hints that say nothing to a user of these scripts."""
    for hint in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*Checkpoint directory.*exists.*",
        ".*num_workers.*",
        # It can't know that ours are placed anew (tasks/resumption.py).
        ".*dataloader is not resumable.*",
        ".*torch.jit.*",
        ".*isinstance.treespec.*",
    ):
        warnings.filterwarnings("ignore", hint)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
