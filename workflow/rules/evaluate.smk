# Evaluation of a cell's best weights at every resolution of the configuration, each computed once.


rule evaluate:
    input:
        "results/{model}/{resolution}{suffix}.done",
        PLAN.fetch.record,
        PLAN.evaluate.images,
    output:
        "results/{model}/{resolution}{suffix}.evaluation.json",
    log:
        "results/logs/evaluate/{model}/{resolution}{suffix}.log",
    conda:
        PLAN.environment
    threads: PLAN.evaluate.threads()
    resources:
        **PLAN.cluster.gpu_job,
        gpu=1,
        mem_mb=8000,
        runtime=4 * 60,
    shell:
        PLAN.sharing(
            "evaluate {wildcards.model}@{wildcards.resolution}{wildcards.suffix} --threads {threads}"
        )


# Evaluate the whole grid at every resolution: `snakemake evaluations`
rule evaluations:
    input:
        PLAN.evaluate.records,
    localrule: True
