# Images: checked once, then decoded and resized once per resolution for all models and seeds.


# List, check and split the images; the report in results/data/check.md stays when this fails.
rule data:
    input:
        PLAN.images.sources,
    output:
        "results/data/manifest.json",
    log:
        "results/logs/data.log",
    conda:
        PLAN.environment
    threads: PLAN.images.cores()
    resources:
        **PLAN.cluster.job,
        mem_mb=4000,
        runtime=60,
    params:
        identity=PLAN.images.identity,
    shell:
        PLAN.command("data --workers {threads}")


# Decode and resize every image to one resolution (store.json is written last, beside the arrays).
rule images:
    input:
        PLAN.images.manifest,
    output:
        "results/data/{resolution}/store.json",
        PLAN.images.temporary_output,
    log:
        "results/logs/images/{resolution}.log",
    priority: PLAN.images.priority
    conda:
        PLAN.environment
    threads: PLAN.images.cores()
    resources:
        **PLAN.cluster.job,
        mem_mb=4000,
        runtime=60,
    params:
        identity=PLAN.images.identity,
        on_disk=PLAN.config.data.on_disk,
    shell:
        PLAN.command("images {wildcards.resolution} --workers {threads}")


# Mark the images of several resolutions as prepared by one file: thousands of evaluations that named each resolution
# would slow the plan down.
rule stores:
    input:
        PLAN.images.stores,
    output:
        temp(touch("results/data/{resolutions}.ready")),
    wildcard_constraints:
        resolutions="[0-9]+(-[0-9]+)+",
    localrule: True
