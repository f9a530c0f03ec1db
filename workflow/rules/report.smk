# Report for a person: one HTML file without network, and its figures, which `snakemake --report` shows too.


# Write report and figures. For an incomplete grid run `resomap report`; its report names what is missing.
rule report:
    input:
        "results/summary.json",
        PLAN.map.check_report,
    output:
        report("results/report.html", caption="../report/report.rst", category="Report"),
        report(
            "results/figures/heatmap.svg",
            caption="../report/heatmap.rst",
            category="Map",
        ),
        report(
            "results/figures/curves.svg",
            caption="../report/curves.rst",
            category="Map",
        ),
        report(
            "results/figures/pareto.svg",
            caption="../report/pareto.rst",
            category="Map",
        ),
        report(
            "results/figures/transfer.svg",
            caption="../report/transfer.rst",
            category="Map",
        ),
        report(
            "results/figures/per-class.svg",
            caption="../report/per-class.rst",
            category="Classes",
        ),
        report(
            "results/figures/confusion.svg",
            caption="../report/confusion.rst",
            category="Classes",
        ),
        report(
            "results/figures/learning.svg",
            caption="../report/learning.rst",
            category="Training",
        ),
        report(
            "results/figures/class-distribution.svg",
            caption="../report/class-distribution.rst",
            category="Data",
        ),
        report(
            "results/figures/image-sizes.svg",
            caption="../report/image-sizes.rst",
            category="Data",
        ),
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        PLAN.environment
    shell:
        PLAN.command(f"report --device {PLAN.map.device_kind}")
