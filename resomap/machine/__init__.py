"""The machine that a process runs on, told without torch: CPU cores, GPUs and the Slurm job.

- `cgroups`: the CPU and memory limits of the container or batch job around this process
- `cpus`: the cores that this process may use
- `gpus`: the GPUs that this process may see
- `gpu_lock`, `lock_folder`: locks of GPUs, so that each job has one, or a share of one, to itself; their folder
- `mps`: the daemon by which several trainings compute on one GPU at the same time
- `nvidia`: the GPUs, their load and the version, as the NVIDIA driver tells them
- `nvml_calls`: calls of the driver's library, where the package that makes them is not installed
- `processes`: a test whether a process that was noted down earlier still lives
- `slurm`: the id, time limit and requeue of the job around this process
"""
