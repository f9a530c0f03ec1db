# The best weights of a cell at every resolution of the configuration, each computed once.


rule evaluate:
    input:
        "results/{model}/{resolution}{suffix}.done",
        FETCH.record,
        PLAN.evaluation_stores,
    output:
        "results/{model}/{resolution}{suffix}.evaluation.json",
    threads: PLAN.threads()
    resources:
        **PLAN.cluster.gpu_place,
        gpu=1,
        mem_mb=8000,
        runtime=4 * 60,
    params:
        fingerprint=PLAN.fingerprint,
    shell:
        "{RESOMAP} evaluate {wildcards.model}@{wildcards.resolution}{wildcards.suffix} --study {STUDY}"
        " --threads {threads}"


# The whole grid at every resolution: `snakemake evaluations`
rule evaluations:
    input:
        PLAN.evaluations,
    localrule: True
