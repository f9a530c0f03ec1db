# What a model costs at a resolution: untrained weights, no images, alone on the device.
from resomap.planning.rules.cost import CostPlan

COSTS = CostPlan(PLAN)


# Figures of one model, resolution and kind of device; measured anew when `settings` change, never by a training.
rule cost:
    input:
        COSTS.check,
    output:
        "results/cost/{kind}/{model}/{resolution}.json",
    wildcard_constraints:
        kind="cpu|cuda",
    threads: COSTS.threads
    resources:
        **PLAN.cluster.gpu_place,
        gpu=lambda wildcards: int(wildcards.kind == "cuda"),
        mem_mb=8000,
        runtime=60,
    params:
        classes=COSTS.classes,
        settings=COSTS.settings,
    shell:
        PLAN.command(
            "cost {wildcards.model}@{wildcards.resolution} --device {wildcards.kind} --classes {params.classes}"
            " --threads {threads} --memory-mb {resources.mem_mb}"
        )


# The models of the configuration at its resolutions, without any training: `snakemake results/costs.csv`
rule costs:
    input:
        COSTS.grid,
    output:
        "results/costs.csv",
    localrule: True
    params:
        classes=COSTS.classes,
        settings=COSTS.grid_settings,
    shell:
        PLAN.command("costs --classes {params.classes} --output {output}")
