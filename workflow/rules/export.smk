# A trained cell as a file for ONNX Runtime, verified on its validation images: `snakemake results/vgg11/320.onnx`


rule export:
    input:
        "results/{model}/{resolution}{suffix}.done",
        PLAN.fetch.record,
        PLAN.export.images,
    output:
        "results/{model}/{resolution}{suffix}{precision}.onnx",
        "results/{model}/{resolution}{suffix}{precision}.export.json",
    log:
        "results/logs/export/{model}/{resolution}{suffix}{precision}.log",
    wildcard_constraints:
        suffix=PLAN.export.suffix,
        precision=PLAN.export.precision,
    conda:
        PLAN.environment
    threads: PLAN.evaluate.threads()
    resources:
        **PLAN.cluster.job,
        mem_mb=8000,
        runtime=4 * 60,
    params:
        precision=PLAN.export.precision_of,
    shell:
        PLAN.command(
            "export --cell {wildcards.model}@{wildcards.resolution}{wildcards.suffix}"
            " --precision {params.precision} --threads {threads}"
        )
