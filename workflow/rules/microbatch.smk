# Images a forward pass, where `training.microbatch` is `auto`: one number for a model at all resolutions and seeds.
from resomap.planning.rules.microbatch import MicrobatchPlan

MICROBATCHES = MicrobatchPlan(PLAN)


# Tried at the model's largest resolution, on the device that trains it, before the first of its trainings.
rule microbatch:
    input:
        MICROBATCHES.check,
    output:
        "results/microbatch/{model}.json",
    priority: PLAN.microbatch_priority
    threads: PLAN.threads()
    resources:
        **PLAN.cluster.gpu_place,
        gpu=1,
        mem_mb=PLAN.memory_mb,
        runtime=60,
    params:
        classes=COSTS.classes,
        settings=MICROBATCHES.settings,
    shell:
        PLAN.command(
            "microbatch {wildcards.model} --classes {params.classes} --threads {threads}"
            " --memory-mb {resources.mem_mb}"
        )
