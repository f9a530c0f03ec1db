"""The report that a person looks at: one HTML file without network, and the same figures as SVG and PNG.

`step` writes it; `page` puts it together from chapters. A module a chapter or family of figures: `quality`, `pareto`,
`transfer`, `classes`, `learning`, `costs`, `images`, `pictures`, `study_facts`. They read the map and the evidence
behind it (`resomap.map`) and compute no statistics of their own. What cannot be drawn says why in its place.
"""
