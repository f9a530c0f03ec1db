# Features of a frozen network (`trainable: head`), which the folds and seeds of a model at a resolution share.


# Compute them once, before the first of these trainings; each then takes seconds.
rule features:
    input:
        PLAN.features.inputs,
    output:
        "results/features/{model}/{resolution}.json",
    log:
        "results/logs/features/{model}/{resolution}.log",
    priority: PLAN.features.priority
    conda:
        PLAN.environment
    threads: PLAN.features.threads()
    resources:
        **PLAN.cluster.gpu_job,
        gpu=PLAN.features.gpu,
        mem_mb=PLAN.features.memory_mb,
        runtime=PLAN.config.slurm.max_runtime,
    params:
        settings=PLAN.features.settings,
    shell:
        PLAN.sharing(
            "features {wildcards.model} {wildcards.resolution} --threads {threads}"
        )
