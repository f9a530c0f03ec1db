# Train one cell to its done marker. Checkpoints are no outputs: Snakemake deletes outputs before a job starts.


rule train:
    input:
        PLAN.train.inputs,
    output:
        "results/{model}/{resolution}{suffix}.done",
    log:
        "results/logs/train/{model}/{resolution}{suffix}.log",
    priority: PLAN.train.priority
    retries: PLAN.train.retries
    conda:
        PLAN.environment
    threads: PLAN.train.threads
    resources:
        **PLAN.cluster.training,
        gpu=PLAN.train.gpu,
        mem_mb=PLAN.train.memory_mb,
        runtime=PLAN.cluster.runtime,
        attempt=PLAN.train.attempt,
    params:
        fingerprint=PLAN.train.fingerprint,
    shell:
        PLAN.sharing(
            "train {wildcards.model}@{wildcards.resolution}{wildcards.suffix} --fingerprint {params.fingerprint}"
            " --threads {threads} --attempt {resources.attempt}"
        )
