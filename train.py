"""Train: a model and a task become a model folder in the store.

Try: python train.py --help
"""

import hydra
from omegaconf import DictConfig

from edgedistil.stages.app import job, launch


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    """Compose the config, make what the stage is asked for, show it."""
    job("train", cfg)


if __name__ == "__main__":
    launch(main)
