"""Run by test_processes.py in each of two processes: train each recipe named, keep its weights.

RANK in a recipe's name stands for the process's number. A run that has a state is resumed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from pix2color.config import load
from pix2color.training.checkpointing import list_checkpoints
from pix2color.training.setup import make_trainer


def main(out: Path, recipes: list[str]) -> None:
    """Each process writes NAME-RANK-of-WORLD.pt: the networks' weights after training."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    rank, world = accelerator.process_index, accelerator.num_processes
    for recipe in (name.replace("RANK", str(rank)) for name in recipes):
        config = load(recipe)
        resume = bool(list_checkpoints(Path(config.output, "state")))
        trainer = make_trainer(config, accelerator=accelerator, resume=resume)
        trainer.fit()
        state = {
            "generator": trainer.unwrapped_generator.state_dict(),
            "ema": trainer.ema.state_dict(),
        }
        if trainer.discriminator is not None:
            state["discriminator"] = accelerator.unwrap_model(trainer.discriminator).state_dict()
        torch.save(state, out / f"{Path(recipe).stem}-{rank}-of-{world}.pt")
        accelerator.free_memory()
    # Gloo aborts now and then when a process leaves while the other still talks to it.
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
