"""Compress: prune, recover, export and quantise a trained model; each step is kept in the store.

Try: python compress.py --help
"""

import hydra
from omegaconf import DictConfig

from edgedistil.stages.app import job, launch


@hydra.main(version_base="1.3", config_path="conf", config_name="compress")
def main(cfg: DictConfig) -> None:
    """Compose the config, make what the stage is asked for, show it."""
    job("compress", cfg)


if __name__ == "__main__":
    launch(main)
