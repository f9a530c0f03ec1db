# Microbatch (images per forward pass) where `training.microbatch` is `auto`: one for a model, at all
# resolutions and seeds.


# Find it at the model's largest resolution, on the device that trains it, before the first of its trainings.
rule microbatch:
    input:
        PLAN.microbatch.check,
    output:
        "results/microbatch/{model}.json",
    log:
        "results/logs/microbatch/{model}.log",
    priority: PLAN.microbatch.priority
    conda:
        PLAN.environment
    threads: PLAN.microbatch.threads()
    resources:
        **PLAN.cluster.gpu_job,
        gpu=PLAN.microbatch.gpu,
        mem_mb=PLAN.microbatch.memory_mb,
        runtime=60,
    params:
        classes=PLAN.cost.classes,
        settings=PLAN.microbatch.settings,
    shell:
        PLAN.sharing(
            "microbatch {wildcards.model} --classes {params.classes} --threads {threads}"
            " --memory-mb {resources.mem_mb}"
        )
