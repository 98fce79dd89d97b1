#!/usr/bin/env bash
# A sweep as a SLURM array job: every job takes runs from one study until none is left. Stopped jobs can be resumed.
#     sbatch scripts/slurm_sweep.sh paper/sweeps/glue postgresql://user@host/sweeps
#SBATCH --array=0-15
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
set -euo pipefail
adapter-tune sweep "$1" --storage "$2" --output "${SWEEPS:-sweeps}" --workers 1
