"""Bench: measure one cell of the matrix, or with -m or sweep=NAME many of them.

Try: python bench.py --help
"""

import hydra
from omegaconf import DictConfig

from edgedistil.stages.app import job, launch


@hydra.main(version_base="1.3", config_path="conf", config_name="bench")
def main(cfg: DictConfig) -> None:
    """Compose the config, make what the stage is asked for, show it."""
    job("bench", cfg)


if __name__ == "__main__":
    launch(main)
