# The best weights of a cell at every resolution of the configuration, each computed once.


rule evaluate:
    input:
        "results/{model}/{resolution}{suffix}.done",
        FETCH.record,
        PLAN.evaluation_images,
    output:
        "results/{model}/{resolution}{suffix}.evaluation.json",
    threads: PLAN.threads()
    resources:
        **PLAN.cluster.gpu_place,
        gpu=1,
        mem_mb=8000,
        runtime=4 * 60,
    shell:
        PLAN.command(
            "evaluate {wildcards.model}@{wildcards.resolution}{wildcards.suffix} --threads {threads}"
        )


# The whole grid at every resolution: `snakemake evaluations`
rule evaluations:
    input:
        PLAN.evaluations,
    localrule: True
