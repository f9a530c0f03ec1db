# Cost of a model at a resolution, measured with untrained weights and without images, alone on the device.


# Measure one model at one resolution on one kind of device; again when `settings` change, never for a training.
rule cost:
    input:
        PLAN.cost.check,
    output:
        "results/cost/{kind}/{model}/{resolution}.json",
    log:
        "results/logs/cost/{kind}/{model}/{resolution}.log",
    wildcard_constraints:
        kind="cpu|cuda",
    conda:
        PLAN.environment
    threads: PLAN.cost.threads
    resources:
        **PLAN.cluster.gpu_job,
        gpu=PLAN.cost.gpu,
        mem_mb=8000,
        runtime=60,
    params:
        classes=PLAN.cost.classes,
        settings=PLAN.cost.settings,
    shell:
        PLAN.command(
            "cost {wildcards.model}@{wildcards.resolution} --device {wildcards.kind} --classes {params.classes}"
            " --threads {threads} --memory-mb {resources.mem_mb}"
        )


# Write the table of the costs of all configured models and resolutions, without any training:
# `snakemake results/costs.csv`
rule costs:
    input:
        PLAN.cost.grid,
    output:
        "results/costs.csv",
    log:
        "results/logs/costs.log",
    localrule: True
    conda:
        PLAN.environment
    params:
        classes=PLAN.cost.classes,
        settings=PLAN.cost.grid_settings,
    shell:
        PLAN.command("costs --classes {params.classes} --output {output}")
