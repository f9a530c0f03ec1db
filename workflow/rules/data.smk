# Images: checked once, then decoded and resized once per resolution for all models and seeds.


# List, check and split the images; the report in results/data/check.md stays when this fails.
rule data:
    output:
        "results/data/manifest.json",
    threads: PLAN.cores()
    resources:
        **PLAN.cluster.place,
        mem_mb=4000,
        runtime=60,
    params:
        identity=PLAN.identity,
    shell:
        "{RESOMAP} data --study {STUDY} --workers {threads}"


# Decode and resize every image to one resolution (store.json is written last, beside the arrays).
rule images:
    input:
        ancient("results/data/manifest.json"),
    output:
        "results/data/{resolution}/store.json",
    priority: PLAN.images_priority
    threads: PLAN.cores()
    resources:
        **PLAN.cluster.place,
        mem_mb=4000,
        runtime=60,
    params:
        identity=PLAN.identity,
    shell:
        "{RESOMAP} images {wildcards.resolution} --study {STUDY} --workers {threads}"
