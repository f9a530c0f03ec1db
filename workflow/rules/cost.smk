# What a model costs at a resolution: untrained weights, no images, alone on the device.


# Figures of one model, resolution and kind of device; measured anew when `settings` change, never by a training.
rule cost:
    input:
        PLAN.cost.check,
    output:
        "results/cost/{kind}/{model}/{resolution}.json",
    wildcard_constraints:
        kind="cpu|cuda",
    threads: PLAN.cost.threads
    resources:
        **PLAN.cluster.gpu_job,
        gpu=lambda wildcards: int(wildcards.kind == "cuda"),
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


# The models of the configuration at its resolutions, without any training: `snakemake results/costs.csv`
rule costs:
    input:
        PLAN.cost.grid,
    output:
        "results/costs.csv",
    localrule: True
    params:
        classes=PLAN.cost.classes,
        settings=PLAN.cost.grid_settings,
    shell:
        PLAN.command("costs --classes {params.classes} --output {output}")
