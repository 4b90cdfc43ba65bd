"""What starts the processes of runs: this machine, Ray, SLURM. Each is one class with three verbs."""
