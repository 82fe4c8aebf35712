"""`python -m models.train RECIPE`: `--help` lists its options, `models.train.recipes` the recipes.

Many processes: `torchrun --nproc-per-node N -m models.train RECIPE ...`; the batch stays the whole step's.
"""

from models.train.recipes import command, train

if __name__ == "__main__":
    command(train)
