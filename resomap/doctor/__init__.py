"""`resomap doctor`: looks at what a grid needs before it starts, and says how to mend what is wrong.

Nothing is changed, created or sent, and no look takes long.

- `data_check`: findings about the images and their check
- `machine_check`: findings about the device and the disk
- `tracker_check`: findings about the tracker, its credentials and DagsHub
- `slurm_check`: findings about the Slurm cluster
- `finding`: one finding, with its remedy
- `examine`: all of them, in order
"""
