"""`resomap bench --gpu`: does this GPU train right, and how fast? In minutes, without a network, on images it draws.

Each part is a process of its own, which may fail, hang or crash without the others, and is ended when its time is over.

- `gpu_suite`: the run over the parts
- `gpu_settings`: what is trained, on a GPU and in a rehearsal on the CPU
- `gpu_record`: rows of the table, and the JSON file
- `part_table`: the parts, and how long each may take
- `part_process`: the process of one part
- `packages_here`: packages that are missing, and what is done without each
- `drawn_images`: images that need no data set
- `machine_facts`: the device, its driver and the libraries
- `exact_resume`: a training killed and resumed, beside one that was left alone
- `memory_limit`, `limited_trainer`: a training that gets less memory than it needs
- `gpu_rates`: images a second of the training loop, beside the same steps on the device and timm's loader
- `shared_rates`: images a second of several trainings at a time
- `gpu_timings`: start, checkpoints, and the whole process beside timm's train.py
- `gpu_load`: what the driver says of a GPU meanwhile
- `device_wait`, `device_user`: a process that waits for a device that another one holds
"""
